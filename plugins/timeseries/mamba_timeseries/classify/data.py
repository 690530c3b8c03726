"""Series with labels, from .ts files of the UCR and UEA archive or from tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_timeseries.classify.config import ClassifierConfig, ClassifyData
from mamba_timeseries.errors import FrameError
from mamba_timeseries.frame import read_file

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Labelled:
    """One series: its name, values ``(length, channels)`` and class, None where not known."""

    name: str
    values: NDArray[np.float32]
    label: str | None


def read_ts(path: Path) -> list[Labelled]:
    """Read a .ts file: channels separated by ``:``, values by ``,``, the class in the end.

    :raises FrameError: naming the line of a series that cannot be read.
    """
    labelled, found, data = False, [], False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not data:
            words = text.lower().split()
            if words[0] == "@classlabel":
                labelled = len(words) > 1 and words[1] == "true"
            data = words[0] == "@data"
            continue
        parts = text.split(":")
        label = parts.pop().strip() if labelled else None
        try:
            channels = [np.array(part.split(","), dtype=np.float32) for part in parts]
            values = np.stack(channels, axis=1)
        except ValueError as error:
            raise FrameError(f"{path}, line {number}: {error}") from error
        found.append(_checked(Labelled(f"line {number}", values, label), path))
    if not found:
        raise FrameError(f"{path} has no series after a line @data")
    return found


def read_table(
    path: Path, id_column: str, values: Sequence[str], label: str | None
) -> list[Labelled]:
    """Read a long table; the rows of a series follow each other in time.

    :param label: column with the class, None when there is none.
    :raises FrameError: for missing columns, and a series with several classes.
    """
    return from_frame(read_file(path), id_column, values, label, path)


def from_frame(
    frame: pd.DataFrame, id_column: str, values: Sequence[str], label: str | None, where: object
) -> list[Labelled]:
    """:func:`read_table` of a table in memory; ``where`` is for its errors."""
    for name in (id_column, *values, *([label] if label else [])):
        if name not in frame:
            raise FrameError(f"{where} has no column {name!r}; there are {list(frame)}")
    found = []
    for name, rows in frame.groupby(id_column, sort=False):
        own = None
        if label is not None:
            every = rows[label].astype(str).unique()
            if len(every) != 1:
                raise FrameError(f"{where}, series {name!r}: has the classes {list(every)}")
            own = str(every[0])
        one = Labelled(str(name), rows[list(values)].to_numpy(dtype=np.float32), own)
        found.append(_checked(one, where))
    return found


def _checked(one: Labelled, where: object) -> Labelled:
    bad = ~np.isfinite(one.values)
    if bad.any():
        step = int(np.argwhere(bad)[0, 0])
        raise FrameError(f"{where}, series {one.name!r}, step {step}: missing or infinite")
    return one


class LabelledSeries:
    """Series of one part; a batch is padded behind to its longest."""

    def __init__(self, series: Sequence[Labelled], labels: Sequence[str]) -> None:
        self.series, self.labels = series, list(labels)

    def __len__(self) -> int:
        return len(self.series)

    def sample(self, epoch: int, index: int) -> Batch:
        """Return ``series`` ``(length, channels)``, ``lengths`` and ``label`` int64 ``()``."""
        one = self.series[index]
        label = -1 if one.label is None else self.labels.index(one.label)
        return {
            "series": torch.from_numpy(one.values.copy()),
            "lengths": torch.tensor(len(one.values)),
            "label": torch.tensor(label),
        }

    def collate(self, samples: Sequence[Batch]) -> Batch:
        """Stack, with zeros behind shorter series."""
        padded = torch.nn.utils.rnn.pad_sequence([s["series"] for s in samples], batch_first=True)
        others = {n: torch.stack([s[n] for s in samples]) for n in ("lengths", "label")}
        return {"series": padded, **others}


class ClassifyDataset:
    """The parts of two files; see :class:`~mamba_timeseries.classify.config.ClassifyData`.

    :raises FrameError: for classes or channels that do not fit the model.
    """

    def __init__(self, data: ClassifyData, model: ClassifierConfig) -> None:
        self.data, self.model = data, model
        self.known = self._read(data.train)
        self.labels = list(model.labels) or sorted({str(s.label) for s in self.known})
        if len(self.labels) != model.classes:
            raise FrameError(
                f"{data.train} has {len(self.labels)} classes ({', '.join(self.labels)}), the "
                f"model classes = {model.classes}: set --model.classes {len(self.labels)}"
            )
        self._check(self.known, data.train)

    def _read(self, path: Path) -> list[Labelled]:
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: give a .ts, .csv or .parquet file")
        if path.suffix == ".ts":
            return read_ts(path)
        return read_table(path, self.data.id, self.data.values, self.data.label)

    def _check(self, series: Sequence[Labelled], path: Path) -> None:
        for one in series:
            if one.values.shape[1] != self.model.channels:
                raise FrameError(
                    f"{path}, series {one.name!r}: {one.values.shape[1]} channels, the model reads "
                    f"channels = {self.model.channels}"
                )
            if one.label not in self.labels:
                raise FrameError(
                    f"{path}, series {one.name!r}: class {one.label!r} is none of "
                    f"{', '.join(self.labels)}"
                )

    def _held_out(self) -> set[int]:
        """Validation series: of every class the last ones in a fixed random order."""
        chosen: set[int] = set()
        order = np.random.default_rng(0).permutation(len(self.known))
        for label in self.labels:
            own = [int(k) for k in order if self.known[k].label == label]
            chosen |= set(own[: round(len(own) * self.data.val_share)])
        return chosen

    def train(self, *, seed: int) -> LabelledSeries:
        """Return the series to learn from."""
        held = self._held_out()
        return LabelledSeries([s for k, s in enumerate(self.known) if k not in held], self.labels)

    def val(self, *, seed: int) -> LabelledSeries:
        """Return the series to choose a model by: the same ones for every ``seed``."""
        held = self._held_out()
        return LabelledSeries([s for k, s in enumerate(self.known) if k in held], self.labels)

    def test(self, *, seed: int) -> LabelledSeries:
        """Return the series to report."""
        series = self._read(self.data.test)
        self._check(series, self.data.test)
        return LabelledSeries(series, self.labels)
