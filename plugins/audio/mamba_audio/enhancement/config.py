"""Typed configs of ``audio-enhance``: the model, its data and its use on files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mamba_audio.enhancement.noises import NoiseKind
from mamba_audio.files.config import FilePredict
from mamba_audio.speech_items import Seconds, SpeechItems
from mamba_core.config import STRICT
from mamba_core.mixers import Merge, MixerChoice


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EnhancerConfig:
    """Everything the model is built from; the defaults are SEMamba's."""

    sample_rate: Annotated[int, Field(ge=1000)] = 16_000
    """Of the recording, in Hz; the predictor resamples other files to it and back."""
    n_fft: Annotated[int, Field(ge=4, multiple_of=4)] = 400
    """Samples per spectrum."""
    hop: Annotated[int, Field(ge=1)] = 100
    """Samples from spectrum to spectrum."""
    compression: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Exponent of the magnitudes, so that soft sounds count too."""
    channels: Annotated[int, Field(ge=1)] = 64
    """Of every bin of the spectrogram."""
    dilations: Annotated[int, Field(ge=1)] = 4
    """Convolutions of a dense block; they reach 1, 2, 4, ... frames."""
    depth: Annotated[int, Field(ge=1)] = 4
    """Layers, each along time, then along frequency."""
    phase: Literal["free", "turned"] = "free"
    """``free``: predicted whatever it was. ``turned``: by how much the noisy one is off, which
    is learned in far fewer steps."""
    mixer: MixerChoice = MixerChoice("mamba1", expand=4)
    """A registered mixer and its fields."""
    scan_order: str = "bidirectional"
    """A registered order for one dimension, for both axes."""
    merge: Merge = "concat"
    """How the paths become one; every path has weights of its own."""

    @model_validator(mode="after")
    def _spectra_overlap(self) -> EnhancerConfig:
        if self.hop > self.n_fft // 2:
            raise ValueError(
                f"hop = {self.hop} with n_fft = {self.n_fft} cannot be inverted: choose a hop up "
                "to half of n_fft"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NoisySpeech(SpeechItems):
    """Noise of stated kinds, made from a seed, on recordings of single speakers."""

    kind: Literal["speech"] = "speech"
    """Which form of data this is."""
    noises: tuple[NoiseKind, ...] = ("white", "pink", "hum", "modulated", "clicks", "babble")
    """Kinds of noise; the items take turns."""
    snr_db: tuple[float, float] = (-5.0, 15.0)
    """Speech over noise, drawn uniformly from this range."""

    @model_validator(mode="after")
    def _range(self) -> NoisySpeech:
        if not self.noises or self.snr_db[0] > self.snr_db[1]:
            raise ValueError(
                f"noises = {self.noises} must not be empty, and snr_db = {self.snr_db} must rise"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NoisyFolders:
    """Ready pairs: two folders with files of equal names, as in VoiceBank-DEMAND."""

    kind: Literal["folders"] = "folders"
    """Which form of data this is."""
    noisy: Path
    """For instance ``noisy_trainset_28spk_wav``; relative to ``root``."""
    clean: Path
    """For instance ``clean_trainset_28spk_wav``; relative to ``root``."""
    seconds: Seconds | None = None
    """Length of a random cut; None takes whole files, which then train one by one."""


SplitConfig = Annotated[NoisySpeech | NoisyFolders, Field(discriminator="kind")]
"""One part of the data."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EnhancementData:
    """Where noisy speech comes from; the defaults are the layout of ``libri8k``."""

    root: Path
    """Folder that relative paths start from."""
    train: SplitConfig = NoisySpeech(speakers=Path("speakers_train.csv"))
    """To learn from."""
    val: SplitConfig = NoisySpeech(
        speakers=Path("speakers_val.csv"), items=36, seconds=4.0, fresh=False
    )
    """To choose a model by."""
    test: SplitConfig = NoisySpeech(
        speakers=Path("speakers_test.csv"), items=120, seconds=4.0, fresh=False
    )
    """To report."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EnhancerPredict(FilePredict):
    """How files are enhanced."""
