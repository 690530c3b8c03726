"""Mixtures with their sources: made on the fly, from folders, or frozen in a manifest.

A sample is a function of (seed, epoch, index) only, so that a resumed training sees what an
uninterrupted one sees, and any number of workers gives the same data.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_audio.audio_files import SUFFIXES, Recordings
from mamba_audio.separation.config import (
    LibriMix,
    Manifest,
    SeparationData,
    SeparatorConfig,
    Speakers,
    SplitConfig,
    Wham,
    Wsj0Mix,
)
from mamba_audio.speech import SpeechWindows, cut, read_csv, rms, speaker_files, speech_place
from mamba_audio.speech_items import SpeechDataset

Sample = dict[str, Tensor]

SOURCE_RMS = 0.025
"""Geometric mean of the sources' levels (-32 dBFS): loud peaks of two voices stay below 1."""


class Split(Protocol):
    """One part of the data."""

    def __len__(self) -> int: ...

    def sample(self, epoch: int, index: int) -> Sample:
        """Return ``mixture`` float32 ``(samples,)``, ``sources`` ``(sources, samples)``."""
        ...


class SeparationDataset(SpeechDataset[Split]):
    """Training, validation and test mixtures of ``audio-sep``.

    :param data: where mixtures come from.
    :param model: says how many sources, at which rate.
    """

    def __init__(self, data: SeparationData, model: SeparatorConfig) -> None:
        super().__init__(data, "the LibriMix folders")
        self.model = model
        self.recordings = Recordings(model.sample_rate)
        self.converted = Recordings(model.sample_rate, convert=True)

    def split(self, config: SplitConfig, seed: int) -> Split:
        """See :meth:`SpeechDataset.split`."""
        root, sources = self.data.root, self.model.sources
        if isinstance(config, Speakers):
            return MixedSpeakers(config, root, self.converted, sources, seed)
        if isinstance(config, Manifest):
            return FrozenMixtures(config, root, self.recordings, sources)
        return MixtureFolders(config, root, self.recordings, sources, seed)


class MixedSpeakers:
    """Windows of different speakers, levelled and added: dynamic mixing."""

    def __init__(
        self, config: Speakers, root: Path, recordings: Recordings, sources: int, seed: int
    ) -> None:
        self.config, self.sources, self.seed = config, sources, seed
        self.windows = SpeechWindows(recordings, config.seconds, config.speeds)
        place = speech_place(root, config.speakers, config.download)
        self.speakers = list(speaker_files(place).values())
        if len(self.speakers) < sources:
            raise ValueError(
                f"{place} has recordings of {len(self.speakers)} speaker(s), a mixture needs "
                f"{sources} different ones: add those of others, a sub-folder or row each"
            )

    def __len__(self) -> int:
        return self.config.items

    def sample(self, epoch: int, index: int) -> Sample:
        """See :meth:`Split.sample`."""
        rng = np.random.default_rng([self.seed, epoch if self.config.fresh else 0, index])
        chosen = rng.choice(len(self.speakers), self.sources, replace=False)
        levels = np.append(0.0, rng.uniform(-1, 1, self.sources - 1)) * self.config.level_db
        gains = SOURCE_RMS * 10 ** ((levels - levels.mean()) / 20)
        windows = [self.windows.draw(self.speakers[who], rng) for who in chosen]
        sources = torch.stack(
            [w * (g / (rms(w) + 1e-8)) for w, g in zip(windows, gains.tolist(), strict=True)]
        )
        return {"mixture": sources.sum(0), "sources": sources}


class MixtureFolders:
    """Ready mixtures and their sources, files of equal names in sub-folders."""

    def __init__(
        self,
        config: LibriMix | Wsj0Mix | Wham,
        root: Path,
        recordings: Recordings,
        sources: int,
        seed: int,
    ) -> None:
        self.config, self.recordings, self.seed = config, recordings, seed
        self.folders = mixture_folders(config, root, sources, recordings.sample_rate)
        for needed in self.folders:
            if not needed.is_dir():
                names = ", ".join(f"{folder.name}/" for folder in self.folders)
                raise FileNotFoundError(
                    f"{needed} is no folder: the layout {config.kind} has {names} side by side in "
                    f"{needed.parent}"
                )
        self.names = sorted(p.name for p in self.folders[0].iterdir() if p.suffix in SUFFIXES)
        if not self.names:
            raise FileNotFoundError(f"{self.folders[0]} holds no {', '.join(SUFFIXES)} files")

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, epoch: int, index: int) -> Sample:
        """See :meth:`Split.sample`.

        :raises ValueError: when a mixture and its sources differ in length.
        """
        waves = [self.recordings.read(folder / self.names[index]) for folder in self.folders]
        lengths = [len(wave) for wave in waves]
        if len(set(lengths)) > 1:
            raise ValueError(f"{self.names[index]}: mixture and sources have lengths {lengths}")
        stacked = np.stack(waves)
        if self.config.seconds is not None:
            rng = np.random.default_rng([self.seed, epoch, index])
            stacked = cut(stacked, round(self.config.seconds * self.recordings.sample_rate), rng)
        return {
            "mixture": torch.from_numpy(stacked[0].copy()),
            "sources": torch.from_numpy(stacked[1:].copy()),
        }


def mixture_folders(
    config: LibriMix | Wsj0Mix | Wham, root: Path, sources: int, rate: int
) -> list[Path]:
    """Return the folders of the mixtures and of each source."""
    folder, mixture = root / config.folder, "mix"
    if isinstance(config, Wsj0Mix):
        folder = folder / f"{sources}speakers"
    else:
        mixture = config.mixture
    if not isinstance(config, LibriMix):
        folder = folder / f"wav{rate // 1000}k" / config.mode / config.part
    return [folder / mixture, *(folder / f"s{k + 1}" for k in range(sources))]


class FrozenMixtures:
    """Mixtures that a manifest defines sample by sample.

    ``rows`` holds the manifest; other columns (speakers, say) are there to group results by.
    """

    def __init__(self, config: Manifest, root: Path, recordings: Recordings, sources: int) -> None:
        self.config, self.root, self.recordings = config, root, recordings
        self.sources = range(1, sources + 1)
        self.samples = round(config.seconds * recordings.sample_rate)
        self.rows = read_csv(root / config.file)
        needed = [f"{name}{k}" for k in self.sources for name in ("file", "start", "gain")]
        missing = sorted({"id", "sha256", *needed} - set(self.rows[0] if self.rows else ()))
        if missing:
            raise ValueError(
                f"{root / config.file} defines no mixtures of {sources} sources: it needs rows, "
                f"and the columns {', '.join(missing)}"
            )
        if f"file{sources + 1}" in self.rows[0]:
            raise ValueError(
                f"{root / config.file} has more than {sources} sources: build the model for them"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, epoch: int, index: int) -> Sample:
        """See :meth:`Split.sample`; the epoch does not matter.

        :raises ValueError: when the mixture's hash is not the recorded one.
        """
        row = self.rows[index]
        sources = np.stack([self._source(row, k) for k in self.sources])
        mixture = sources.sum(0)
        if self.config.check and mixture_hash(mixture) != row["sha256"]:
            raise ValueError(
                f"mixture {row['id']} of {self.config.file} differs from the frozen one (sha256 "
                f"{row['sha256'][:8]}...): the audio files are others, or damaged; get them again, "
                "or set check to false to use them as they are, which is another test set then"
            )
        return {
            "mixture": torch.from_numpy(mixture.astype(np.float32)),
            "sources": torch.from_numpy(sources.astype(np.float32)),
        }

    def _source(self, row: dict[str, str], k: int) -> NDArray[np.float64]:
        start = int(row[f"start{k}"])
        path = self.root / row[f"file{k}"]
        wave = self.recordings.read(path)[start : start + self.samples]
        if len(wave) < self.samples:
            raise ValueError(
                f"mixture {row['id']} of {self.config.file}: {path} has {len(wave)} samples from "
                f"{start} on, {self.samples} are needed; is seconds the manifest's?"
            )
        return wave.astype(np.float64) * float(row[f"gain{k}"])


def mixture_hash(mixture: NDArray[np.float64]) -> str:
    """Return the sha256 of a mixture rounded to 16-bit integers, little-endian."""
    return hashlib.sha256(np.round(mixture * 32768.0).astype("<i2").tobytes()).hexdigest()
