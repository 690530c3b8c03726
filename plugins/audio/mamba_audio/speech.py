"""Windows of speech from files of many speakers."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torchaudio
from torch import Tensor

from mamba_audio.audio_files import SUFFIXES, Recordings, Wave

LibriSpeechPart = Literal[
    "dev-clean",
    "dev-other",
    "test-clean",
    "test-other",
    "train-clean-100",
    "train-clean-360",
    "train-other-500",
]
"""What torchaudio can fetch."""

MIN_RMS = 0.005
"""A window below this (-46 dBFS) is a pause; another one is drawn."""
_TRIES = 20


class SpeechWindows:
    """Draws stretches of speech of one length.

    :param recordings: reads the files.
    :param seconds: length of a window; shorter recordings are padded with silence.
    :param speeds: one of these is drawn for each window.
    """

    def __init__(self, recordings: Recordings, seconds: float, speeds: tuple[float, ...]) -> None:
        self.recordings, self.speeds = recordings, speeds
        self.samples = round(seconds * recordings.sample_rate)

    def draw(self, files: list[Path], rng: np.random.Generator) -> Tensor:
        """Return a window of one of the files, ``(samples,)``; the last try may be a pause."""
        window = torch.zeros(self.samples)
        for _ in range(_TRIES):
            wave = self.recordings.read(files[rng.integers(len(files))])
            percent = round(100 * self.speeds[rng.integers(len(self.speeds))])
            needed = -(-self.samples * percent // 100)
            window = torch.from_numpy(cut(wave, needed, rng))
            if percent != 100:
                window = torchaudio.functional.resample(window, percent, 100)
            window = torch.nn.functional.pad(window, (0, self.samples))[: self.samples]
            if rms(window) >= MIN_RMS:
                break
        return window


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a csv file with a header.

    :raises FileNotFoundError: when there is none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: check root, and the name of the csv file")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def speech_place(root: Path, speakers: Path, part: LibriSpeechPart | None) -> Path:
    """Return where recordings of speakers are named or lie, for :func:`speaker_files`.

    :param speakers: relative to ``root``.
    :param part: of LibriSpeech, which is taken instead; what is not there is downloaded.
    """
    if part is None:
        return root / speakers
    missing = not (root / "LibriSpeech" / part).is_dir()
    torchaudio.datasets.LIBRISPEECH(root, url=part, download=missing)
    return root / "LibriSpeech" / part


def speaker_files(path: Path) -> dict[str, list[Path]]:
    """Return the files of each speaker.

    :param path: a csv file with columns ``speaker`` and ``files`` (relative to it), or a folder
        with a sub-folder per speaker.
    :raises FileNotFoundError: when it is neither, or a folder without speakers.
    :raises ValueError: for a csv file without rows or these columns.
    """
    if not path.is_dir():
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist: speakers is a csv file with the columns speaker and "
                "files, or a folder with a sub-folder per speaker ('.' is root itself)"
            )
        rows = read_csv(path)
        if not rows or not {"speaker", "files"} <= rows[0].keys():
            raise ValueError(
                f"{path} has the columns {', '.join(rows[0]) if rows else 'of an empty file'}: a "
                "list of speakers has speaker and files"
            )
        return {r["speaker"]: [path.parent / f for f in r["files"].split()] for r in rows}
    folders = sorted(p for p in path.iterdir() if p.is_dir())
    found = {p.name: sorted(f for f in p.rglob("*") if f.suffix in SUFFIXES) for p in folders}
    speakers = {name: files for name, files in found.items() if files}
    if not speakers:
        raise FileNotFoundError(
            f"{path} has no sub-folder with {', '.join(SUFFIXES)} files: one per speaker is needed"
        )
    return speakers


def cut(wave: Wave, samples: int, rng: np.random.Generator) -> Wave:
    """Return a random stretch along the last axis; what is too short is padded with silence."""
    missing = samples - wave.shape[-1]
    if missing > 0:
        return np.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(0, missing)])
    start = int(rng.integers(-missing + 1))
    return wave[..., start : start + samples]


def rms(wave: Tensor) -> float:
    """Return the root mean square."""
    return wave.square().mean().sqrt().item()
