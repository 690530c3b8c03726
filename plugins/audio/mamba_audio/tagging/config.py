"""Typed configs of ``audio-tag``: the model, its data and its use on files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_core.mixers import Merge, MixerChoice, Share

Seconds = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TaggerConfig:
    """Everything the model is built from; the defaults are those of Audio-Mamba's base."""

    labels: tuple[str, ...] = ("F", "M")
    """Names of the tags; the defaults are the sexes of LibriSpeech's speakers."""
    sample_rate: Annotated[int, Field(ge=1000)] = 16_000
    """Of the recording, in Hz; the predictor resamples other files to it."""
    seconds: Seconds = 10.24
    """What the model hears at once."""
    mels: Annotated[int, Field(ge=1)] = 128
    """Bands of the mel spectrogram."""
    window_ms: Annotated[float, Field(gt=0)] = 25.0
    """Of a spectrum."""
    hop_ms: Annotated[float, Field(gt=0)] = 10.0
    """From spectrum to spectrum."""
    patch: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (16, 16)
    """Bands and spectra of a patch, which is one token."""
    d_model: Annotated[int, Field(ge=1)] = 768
    """Channels of the tokens."""
    depth: Annotated[int, Field(ge=1)] = 24
    """Mixer layers."""
    mixer: MixerChoice = MixerChoice("mamba1")
    """A registered mixer and its fields."""
    scan_order: str = "bidirectional"
    """A registered order for one dimension: of the patches row by row, with the class token in
    their middle."""
    merge: Merge = "mean"
    """How the paths become one."""
    share: Share | None = None
    """What the paths have in common; None takes ``projections`` where the mixer allows it."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> TaggerConfig:
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:
            raise ValueError(f"labels = {self.labels}: at least two different ones are needed")
        if min(self.grid) < 1:
            raise ValueError(
                f"mels = {self.mels} and seconds = {self.seconds} give {self.grid} patches of "
                f"{self.patch}: make the patch smaller"
            )
        return self

    @property
    def samples(self) -> int:
        """What the model hears at once."""
        return round(self.seconds * self.sample_rate)

    @property
    def hop(self) -> int:
        """Samples from spectrum to spectrum."""
        return round(self.hop_ms * self.sample_rate / 1000)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along frequency and along time."""
        return self.mels // self.patch[0], self.samples // self.hop // self.patch[1]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TagCsv:
    """A csv file with one row per recording, or per person with several."""

    kind: Literal["csv"] = "csv"
    """Which form of data this is."""
    file: Path
    """The csv file; relative to ``root``."""
    files_column: str = "file"
    """Paths of recordings, separated by blanks, relative to the csv file."""
    labels_column: str = "labels"
    """Tags, separated by ``;``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SpeechCommands:
    """Google's speech commands, as torchaudio fetches them; the model's labels choose words."""

    kind: Literal["speech_commands"] = "speech_commands"
    """Which form of data this is."""
    part: Literal["training", "validation", "testing"]
    """Of its official split."""
    download: bool = False
    """Fetch it into ``root`` (2.3 GB) when it is not there yet."""


SplitConfig = Annotated[TagCsv | SpeechCommands, Field(discriminator="kind")]
"""One part of the data."""


def _sexes(part: str) -> TagCsv:
    return TagCsv(file=Path(f"speakers_{part}.csv"), files_column="files", labels_column="sex")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TaggingData:
    """Where recordings and tags come from; the defaults are the layout of ``libri8k``."""

    root: Path
    """Folder that relative paths start from."""
    train: SplitConfig = _sexes("train")
    """To learn from: random cuts."""
    val: SplitConfig = _sexes("val")
    """To choose a model by: cuts from the middle."""
    test: SplitConfig = _sexes("val")
    """To report. Of libri8k's test speakers the sex is not known, so these are the validation
    speakers again."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TaggerPredict:
    """How files are tagged."""

    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Part of what the model hears at once that it hears again with the next."""
    channels: Literal["mono", "first"] = "mono"
    """``mono`` averages the channels, ``first`` reads the first only."""
    top: Annotated[int, Field(ge=1)] = 5
    """Tags to name, the most likely first."""
