"""Typed configs of ``audio-sep``: the model, its data, its training and its use on files."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mamba_audio.files.config import FilePredict
from mamba_audio.separation.networks import UNUSED, NetworkConfig, SinglePath
from mamba_audio.speech_items import Seconds, SpeechItems
from mamba_core.config import STRICT
from mamba_core.mixers import Merge, MixerChoice


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SeparatorConfig:
    """Everything the model is built from."""

    sources: Annotated[int, Field(ge=2, le=8)] = 2
    """Voices in the mixture."""
    sample_rate: Annotated[int, Field(ge=1000)] = 8000
    """Of the mixture, in Hz; the predictor resamples other files to it and back."""
    kernel_size: Annotated[int, Field(ge=2)] = 16
    """Samples per frame; for ``time_frequency`` the window of the spectra."""
    stride: Annotated[int, Field(ge=1)] = 8
    """Samples from frame to frame."""
    network: NetworkConfig = SinglePath()
    """What makes the frames of every source from those of the mixture."""
    causal: bool = False
    """No output depends on later frames: the network reads forward only, with norms to match."""
    mixer: MixerChoice = MixerChoice("mamba1")
    """A registered mixer and its fields."""
    scan_order: str = "bidirectional"
    """A registered order for one dimension; its paths are the directions of reading. A causal
    model has one path, forward."""
    merge: Merge = "mean"
    """How the paths become one."""

    @model_validator(mode="after")
    def _frames_overlap(self) -> SeparatorConfig:
        if self.stride > self.kernel_size:
            raise ValueError(
                f"stride = {self.stride} leaves samples between frames of kernel_size = "
                f"{self.kernel_size} unread: choose a stride up to kernel_size"
            )
        return self

    @model_validator(mode="after")
    def _fields_are_used(self) -> SeparatorConfig:
        if self.causal and self.scan_order not in ("bidirectional", "raster"):
            raise ValueError(
                f"scan_order = {self.scan_order!r} and causal = True: a causal model reads "
                "forward only, leave scan_order out"
            )
        defaults = {field.name: field.default for field in fields(SeparatorConfig)}
        unused = UNUSED.get(type(self.network), ())
        changed = [name for name in unused if getattr(self, name) != defaults[name]]
        if changed:
            raise ValueError(
                f"network {self.network.kind!r} does not use {', '.join(changed)}: leave it out, "
                "and start from a preset of that network"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Speakers(SpeechItems):
    """Mixtures made on the fly from recordings of single speakers."""

    kind: Literal["speakers"] = "speakers"
    """Which form of data this is."""
    level_db: Annotated[float, Field(ge=0)] = 5.0
    """Sources differ in level by up to this, uniformly."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LibriMix:
    """A folder in LibriMix's layout: ``mix_clean/``, ``s1/``, ``s2/`` with files of equal names.

    LibriMix's own tree has such folders as ``Libri2Mix/wav8k/min/train-100``.
    """

    kind: Literal["librimix"] = "librimix"
    """Which form of data this is."""
    folder: Path
    """Holds those sub-folders; relative to ``root``."""
    mixture: str = "mix_clean"
    """Name of the mixtures' sub-folder."""
    seconds: Seconds | None = None
    """Length of a random cut; None takes whole files, which then train one by one."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Wsj0Mix:
    """The tree of wsj0-mix: ``2speakers/wav8k/min/tr/`` with ``mix/``, ``s1/``, ``s2/``."""

    kind: Literal["wsj0mix"] = "wsj0mix"
    """Which form of data this is."""
    folder: Path
    """Holds ``2speakers/`` or ``3speakers/``; relative to ``root``."""
    part: Literal["tr", "cv", "tt"]
    """Training, validation or test."""
    mode: Literal["min", "max"] = "min"
    """Cut to the shorter source, or padded to the longer."""
    seconds: Seconds | None = None
    """Length of a random cut; None takes whole files, which then train one by one."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Wham:
    """The tree of WHAM!: ``wav8k/min/tr/`` with ``mix_clean/``, ``mix_both/``, ``s1/``, ..."""

    kind: Literal["wham"] = "wham"
    """Which form of data this is."""
    folder: Path
    """Holds ``wav8k/`` or ``wav16k/``; relative to ``root``."""
    part: Literal["tr", "cv", "tt"]
    """Training, validation or test."""
    mode: Literal["min", "max"] = "min"
    """Cut to the shorter source, or padded to the longer."""
    mixture: Literal["mix_clean", "mix_both"] = "mix_clean"
    """Without noise, or with it: then the voices are to be cleaned too."""
    seconds: Seconds | None = None
    """Length of a random cut; None takes whole files, which then train one by one."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Manifest:
    """Frozen mixtures: a csv that names files, starts and gains, with hashes of the results."""

    kind: Literal["manifest"] = "manifest"
    """Which form of data this is."""
    file: Path
    """Columns ``id, speaker1, speaker2, file1, start1, gain1, file2, start2, gain2, sha256``;
    relative to ``root``."""
    seconds: Seconds = 4.0
    """Length of every window."""
    check: bool = True
    """Compare each mixture (rounded to 16 bits) with its sha256."""


SplitConfig = Annotated[
    Speakers | LibriMix | Wsj0Mix | Wham | Manifest, Field(discriminator="kind")
]
"""One part of the data, in one of several forms."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SeparationData:
    """Where mixtures come from; the defaults are the layout of ``libri8k``."""

    root: Path
    """Folder that relative paths start from."""
    train: SplitConfig = Speakers(
        speakers=Path("speakers_train.csv"), speeds=(0.9, 0.95, 1.0, 1.05, 1.1)
    )
    """To learn from."""
    val: SplitConfig = Speakers(
        speakers=Path("speakers_val.csv"), items=32, seconds=4.0, fresh=False
    )
    """To choose a model by."""
    test: SplitConfig = Manifest(file=Path("test_mixtures.csv"))
    """To report."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SeparatorPredict(FilePredict):
    """How files are separated."""

    stems: tuple[str, ...] = ()
    """Names of the outputs, one per source; empty is s1, s2, ..."""
