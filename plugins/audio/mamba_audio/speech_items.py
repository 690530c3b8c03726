"""Items made on the fly from recordings of single speakers: what their configs and data share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, Generic, Protocol, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_audio.speech import LibriSpeechPart
from mamba_core.config import STRICT

Seconds = Annotated[float, Field(gt=0)]
_HELD_OUT_SEED = 1
"""Of validation and test items, whatever the seed of the training."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SpeechItems:
    """Where single speakers are heard, and how many stretches of what length are taken."""

    speakers: Path = Path(".")
    """A csv file with columns ``speaker`` and ``files`` (paths separated by blanks), or a folder
    with one sub-folder per speaker, at any depth; relative to ``root``. Files of other rates
    are converted."""
    download: LibriSpeechPart | None = None
    """A part of LibriSpeech that torchaudio fetches into ``root`` when it is not there yet; its
    speakers are then used."""
    items: Annotated[int, Field(ge=1)] = 2000
    """Items per epoch."""
    seconds: Seconds = 2.0
    """Length of an item; shorter recordings are padded with silence."""
    speeds: tuple[Annotated[float, Field(gt=0.5, lt=2)], ...] = (1.0,)
    """Speech is played at one of these speeds; 0.95, 1, 1.05 is the usual augmentation."""
    fresh: bool = True
    """New items in every epoch; False keeps those of the first."""


class HasParts(Protocol):
    """A data config of three parts under one folder."""

    @property
    def root(self) -> Path:
        """Folder that relative paths start from."""
        ...

    @property
    def train(self) -> Any:
        """To learn from."""
        ...

    @property
    def val(self) -> Any:
        """To choose a model by."""
        ...

    @property
    def test(self) -> Any:
        """To report."""
        ...


Split = TypeVar("Split")


class SpeechDataset(ABC, Generic[Split]):
    """Training, validation and test items.

    :param data: where they come from.
    :param layouts: what may lie in its root, for the message that it is no folder.
    :raises FileNotFoundError: when it is none.
    """

    def __init__(self, data: HasParts, layouts: str) -> None:
        self.data = data
        if not data.root.is_dir():
            raise FileNotFoundError(
                f"data root {str(data.root)!r} is no folder: give the one that the lists of "
                f"speakers or {layouts} lie in"
            )

    @abstractmethod
    def split(self, config: Any, seed: int) -> Split:
        """Return one part, drawn from ``seed``."""

    def train(self, *, seed: int) -> Split:
        """Return the items to learn from."""
        return self.split(self.data.train, seed)

    def val(self, *, seed: int) -> Split:
        """Return the items to choose a model by: the same ones for every ``seed``."""
        return self.split(self.data.val, _HELD_OUT_SEED)

    def test(self, *, seed: int) -> Split:
        """Return the items to report: the same ones for every ``seed``."""
        return self.split(self.data.test, _HELD_OUT_SEED)
