"""Recordings and their tags: from csv files, or Google's speech commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torchaudio
from torch import Tensor

from mamba_audio.audio_files import Recordings
from mamba_audio.speech import cut, read_csv
from mamba_audio.tagging.config import (
    SpeechCommands,
    SplitConfig,
    TagCsv,
    TaggerConfig,
    TaggingData,
)

Sample = dict[str, Tensor]
Item = tuple[Path, tuple[str, ...]]
"""A recording and its tags."""


class TaggingDataset:
    """Training, validation and test recordings of ``audio-tag``.

    :param data: where they come from.
    :param model: says which labels, at which rate, of which length.
    """

    def __init__(self, data: TaggingData, model: TaggerConfig) -> None:
        self.data, self.model = data, model
        if not data.root.is_dir():
            raise FileNotFoundError(
                f"data root {str(data.root)!r} is no folder: give the one that the csv files lie in"
            )
        self.recordings = Recordings(model.sample_rate, convert=True)

    def train(self, *, seed: int) -> Tagged:
        """Return the recordings to learn from, cut at random."""
        return self._split(self.data.train, seed)

    def val(self, *, seed: int) -> Tagged:
        """Return the recordings to choose a model by, cut from their middle."""
        return self._split(self.data.val, None)

    def test(self, *, seed: int) -> Tagged:
        """Return the recordings to report, cut from their middle."""
        return self._split(self.data.test, None)

    def _split(self, config: SplitConfig, seed: int | None) -> Tagged:
        if isinstance(config, TagCsv):
            items = csv_items(config, self.data.root)
        else:
            items = speech_commands(config, self.data.root, self.model.labels)
        return Tagged(items, self.model, self.recordings, seed)


class Tagged:
    """One part of the data.

    :param items: recordings with their tags.
    :param model: says which labels, and how long a sample is.
    :param recordings: reads the files.
    :param seed: of random cuts; None cuts from the middle.
    :raises ValueError: for a tag that the model does not have.
    """

    def __init__(
        self,
        items: Sequence[Item],
        model: TaggerConfig,
        recordings: Recordings,
        seed: int | None,
    ) -> None:
        self.items, self.recordings, self.seed = items, recordings, seed
        self.samples, self.labels = model.samples, model.labels
        unknown = sorted({tag for _, tags in items for tag in tags} - set(model.labels))
        if unknown:
            raise ValueError(
                f"the data has tags that the model does not: {', '.join(unknown[:5])}; its labels "
                f"are {', '.join(model.labels[:10])}: build it with labels=..., or take those "
                "rows out"
            )

    def __len__(self) -> int:
        return len(self.items)

    def sample(self, epoch: int, index: int) -> Sample:
        """Return ``wave`` float32 ``(samples,)``, padded with silence behind where it is short,
        and ``targets`` ``(labels,)``, 1 where a tag applies."""
        path, tags = self.items[index]
        wave = self.recordings.read(path)
        if self.seed is None:
            start = max((len(wave) - self.samples) // 2, 0)
            wave = wave[start : start + self.samples]
        window = cut(wave, self.samples, np.random.default_rng([self.seed or 0, epoch, index]))
        targets = torch.tensor([float(label in tags) for label in self.labels])
        return {"wave": torch.from_numpy(window.copy()), "targets": targets}


def csv_items(config: TagCsv, root: Path) -> list[Item]:
    """Read the rows of a csv file.

    :raises ValueError: when it lacks a column or has no rows.
    """
    path = root / config.file
    rows = read_csv(path)
    needed = (config.files_column, config.labels_column)
    if not rows or any(column not in rows[0] for column in needed):
        raise ValueError(
            f"{path} has the columns {', '.join(rows[0]) if rows else 'of an empty file'}: "
            f"{' and '.join(needed)} are needed, or name others in the data config"
        )
    return [
        (path.parent / name, tuple(t.strip() for t in row[needed[1]].split(";") if t.strip()))
        for row in rows
        for name in row[needed[0]].split()
    ]


def speech_commands(config: SpeechCommands, root: Path, labels: Sequence[str]) -> list[Item]:
    """Return the recordings of the words that the model knows."""
    dataset = torchaudio.datasets.SPEECHCOMMANDS(root, subset=config.part, download=config.download)
    found = [dataset.get_metadata(index) for index in range(len(dataset))]
    return [(root / path, (word,)) for path, _, word, *_ in found if word in labels]
