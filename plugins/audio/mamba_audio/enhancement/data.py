"""Noisy speech and the clean speech in it: made on the fly, or from two folders."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_audio.audio_files import SUFFIXES, Recordings
from mamba_audio.enhancement.config import (
    EnhancementData,
    EnhancerConfig,
    NoisyFolders,
    NoisySpeech,
    SplitConfig,
)
from mamba_audio.enhancement.noises import BABBLE_VOICES, Noise, NoiseKind, make_noise
from mamba_audio.speech import SpeechWindows, cut, rms, speaker_files, speech_place
from mamba_audio.speech_items import SpeechDataset

Sample = dict[str, Tensor]

SPEECH_RMS = 0.05
"""Level of the clean speech (-26 dBFS), before either is scaled down to stay below full scale."""


class Split(Protocol):
    """One part of the data."""

    def __len__(self) -> int: ...

    def sample(self, epoch: int, index: int) -> Sample:
        """Return ``noisy`` and ``clean``, float32 ``(samples,)``, and ``rate``, int64 ``()``."""
        ...


class EnhancementDataset(SpeechDataset[Split]):
    """Training, validation and test items of ``audio-enhance``.

    :param data: where the speech comes from.
    :param model: says at which rate.
    """

    def __init__(self, data: EnhancementData, model: EnhancerConfig) -> None:
        super().__init__(data, "the noisy and clean folders")
        self.recordings = Recordings(model.sample_rate, convert=True)

    def split(self, config: SplitConfig, seed: int) -> Split:
        """See :meth:`SpeechDataset.split`."""
        kind = MadeNoisy if isinstance(config, NoisySpeech) else PairedFolders
        return kind(config, self.data.root, self.recordings, seed)  # type: ignore[arg-type]


class MadeNoisy:
    """Windows of speech with noise; item ``k`` has the noise ``k`` modulo the kinds.

    Babble is the speech of other speakers of the same list.
    """

    def __init__(self, config: NoisySpeech, root: Path, recordings: Recordings, seed: int) -> None:
        self.config, self.seed, self.rate = config, seed, recordings.sample_rate
        self.windows = SpeechWindows(recordings, config.seconds, config.speeds)
        place = speech_place(root, config.speakers, config.download)
        self.speakers = list(speaker_files(place).values())
        if "babble" in config.noises and len(self.speakers) <= BABBLE_VOICES:
            raise ValueError(
                f"{place} has {len(self.speakers)} speakers: babble takes {BABBLE_VOICES} beside "
                "the one who is heard; leave babble out of noises"
            )

    def __len__(self) -> int:
        return self.config.items

    def kind(self, index: int) -> NoiseKind:
        """Return the kind of noise of an item."""
        return self.config.noises[index % len(self.config.noises)]

    def sample(self, epoch: int, index: int) -> Sample:
        """See :meth:`Split.sample`."""
        rng = np.random.default_rng([self.seed, epoch if self.config.fresh else 0, index])
        order = rng.permutation(len(self.speakers))
        clean = self.windows.draw(self.speakers[order[0]], rng)
        clean = clean * (SPEECH_RMS / (rms(clean) + 1e-8))
        snr = rng.uniform(*self.config.snr_db)
        noise = torch.from_numpy(self._noise(self.kind(index), order[1:], rng)).float()
        noisy = clean + noise * (SPEECH_RMS * 10 ** (-snr / 20))
        scale = min(1.0, 0.99 / float(noisy.abs().max()))
        return {
            "noisy": noisy * scale,
            "clean": clean * scale,
            "rate": torch.tensor(self.rate),
        }

    def _noise(self, kind: NoiseKind, others: NDArray[np.int64], rng: np.random.Generator) -> Noise:
        if kind != "babble":
            return make_noise(kind, self.windows.samples, self.rate, rng)
        voices = [self.windows.draw(self.speakers[k], rng) for k in others[:BABBLE_VOICES]]
        babble = torch.stack([voice / (rms(voice) + 1e-8) for voice in voices]).sum(0)
        return (babble / (rms(babble) + 1e-8)).double().numpy()


class PairedFolders:
    """Noisy and clean files of equal names."""

    def __init__(self, config: NoisyFolders, root: Path, recordings: Recordings, seed: int) -> None:
        self.config, self.recordings, self.seed = config, recordings, seed
        self.folders = {"noisy": root / config.noisy, "clean": root / config.clean}
        for folder in self.folders.values():
            if not folder.is_dir():
                raise FileNotFoundError(f"{folder} is no folder: noisy and clean are needed")
        names = {
            part: {p.name for p in folder.iterdir() if p.suffix in SUFFIXES}
            for part, folder in self.folders.items()
        }
        alone = sorted(names["noisy"] ^ names["clean"])
        if alone or not names["noisy"]:
            raise ValueError(
                f"{config.noisy} and {config.clean} must hold {', '.join(SUFFIXES)} files of the "
                f"same names; only in one of them: {', '.join(alone[:3]) or 'no files at all'}"
            )
        self.names = sorted(names["noisy"])

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, epoch: int, index: int) -> Sample:
        """See :meth:`Split.sample`.

        :raises ValueError: when the two files differ in length.
        """
        name = self.names[index]
        waves = [self.recordings.read(folder / name) for folder in self.folders.values()]
        if len(waves[0]) != len(waves[1]):
            raise ValueError(f"{name}: noisy has {len(waves[0])} samples, clean {len(waves[1])}")
        pair = np.stack(waves)
        if self.config.seconds is not None:
            rng = np.random.default_rng([self.seed, epoch, index])
            pair = cut(pair, round(self.config.seconds * self.recordings.sample_rate), rng)
        noisy, clean = torch.from_numpy(pair.copy())
        return {"noisy": noisy, "clean": clean, "rate": torch.tensor(self.recordings.sample_rate)}
