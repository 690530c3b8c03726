"""Text as windows of one long row of tokens, each document behind a mark.

A sample is a function of (seed, epoch, index) only. An epoch of training cuts the row at another
place, so that windows differ from epoch to epoch while every token is a target once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_language.lm.config import BYTES, LanguageModelConfig, TextData
from mamba_language.lm.objective import IGNORE
from mamba_language.lm.tokenizers import load_tokenizer

Sample = dict[str, Tensor]
Row = NDArray[np.int32]


class Split(Protocol):
    """One part of the data."""

    def __len__(self) -> int: ...

    def sample(self, epoch: int, index: int) -> Sample:
        """Return ``tokens``, ``targets`` int64 and ``starts`` bool ``(window,)``, ``bytes`` ``()``.

        ``bytes`` is how much text the targets are, by the average of all the text.
        """
        ...


class TextDataset:
    """Training, validation and test text of ``language-lm``.

    :param data: which text, and how it is cut.
    :param model: says how text becomes tokens.
    :raises FileNotFoundError: for a path without text.
    :raises ValueError: for text that is no UTF-8 where the tokenizer needs it.
    """

    def __init__(self, data: TextData, model: LanguageModelConfig) -> None:
        self.data, self.model = data, model
        row, self._bytes_per_token = self._row(data.path)
        test = 0 if data.test is not None else round(len(row) * data.test_share)
        val = 0 if data.val is not None else round(len(row) * data.val_share)
        cuts = [len(row) - test - val, len(row) - test]
        self._train, self._val, self._test = np.split(row, cuts)

    def train(self, *, seed: int) -> Split:
        """Return the windows to learn from."""
        return Windows(self._train, self.data, self.model.eos, self._bytes_per_token, seed=seed)

    def val(self, *, seed: int) -> Split:
        """Return the windows to choose a model by: the same ones for every ``seed``."""
        return self._held_out(self.data.val, self._val)

    def test(self, *, seed: int) -> Split:
        """Return the windows to report: the same ones for every ``seed``."""
        return self._held_out(self.data.test, self._test)

    def _held_out(self, path: Path | None, cut: Row) -> Split:
        row, per_token = (cut, self._bytes_per_token) if path is None else self._row(path)
        return Windows(row, self.data, self.model.eos, per_token, seed=None)

    def _row(self, path: Path) -> tuple[Row, float]:
        """All documents of a path, each behind the mark, and the bytes per token of it."""
        parts: list[Row] = []
        size = 0
        mark = np.array([self.model.eos], dtype=np.int32)
        encode = _encoder(self.model.tokenizer, path)
        for document in documents(path, self.data.files, self.data.separator):
            size += len(document)
            parts += [mark, encode(document)]
        row = np.concatenate(parts)
        if row.max() >= self.model.vocab_size:
            raise ValueError(
                f"{path} has tokens up to {row.max()}, the model's vocab_size is "
                f"{self.model.vocab_size}: give the model its tokenizer's size"
            )
        return row, size / len(row)


def _encoder(tokenizer: str, path: Path) -> Callable[[bytes], Row]:
    """A function from a document's bytes to its tokens; ``path`` is for its errors."""
    if tokenizer == BYTES:
        return lambda document: np.frombuffer(document, dtype=np.uint8).astype(np.int32)
    loaded = load_tokenizer(tokenizer)

    def encode(document: bytes) -> Row:
        try:
            text = document.decode()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} holds text that is no UTF-8 ({error}): convert it, or use "
                "tokenizer='bytes'"
            ) from error
        return np.array(loaded.encode(text), dtype=np.int32)

    return encode


class Windows:
    """Windows of a row of tokens.

    :param row: int32 ``(tokens,)``.
    :param per_token: bytes of text per token.
    :param seed: moves the windows in every epoch, the row then being read as a ring; None cuts
        at the same places always, and the last window is padded.
    """

    def __init__(
        self, row: Row, data: TextData, eos: int, per_token: float, *, seed: int | None
    ) -> None:
        self.row, self.window, self.reset = row, data.window, data.reset
        self.eos, self.per_token, self.seed = eos, per_token, seed

    def __len__(self) -> int:
        targets = len(self.row) - (1 if self.seed is None else 0)
        return max(-(-targets // self.window), 0)

    def sample(self, epoch: int, index: int) -> Sample:
        """See :meth:`Split.sample`."""
        start = index * self.window
        if self.seed is not None:
            start += int(np.random.default_rng([self.seed, epoch]).integers(self.window))
        places = np.arange(start, start + self.window + 1)
        piece = torch.from_numpy(self.row[places % len(self.row)].astype(np.int64))
        tokens, targets = piece[:-1], piece[1:].clone()
        if self.seed is None:
            targets[torch.from_numpy(places[1:] >= len(self.row))] = IGNORE
        starts = tokens == self.eos
        return {
            "tokens": tokens,
            "starts": starts if self.reset else torch.zeros_like(starts),
            "targets": targets,
            "bytes": (targets != IGNORE).sum() * torch.tensor(self.per_token),
        }


def documents(path: Path, pattern: str, separator: str | None) -> Iterator[bytes]:
    """Yield the documents of a file or folder, empty ones left out.

    :param pattern: which files of a folder, read in the order of their names.
    :param separator: text between documents of one file; None takes files whole.
    :raises FileNotFoundError: when there is no file, or no text in any.
    """
    files = sorted(p for p in path.glob(pattern) if p.is_file()) if path.is_dir() else [path]
    found = False
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist: give a text file or a folder of them")
        content = file.read_bytes()
        for document in content.split(separator.encode()) if separator else [content]:
            if document:
                found = True
                yield document
    if not found:
        raise FileNotFoundError(f"{path} holds no text in files that match {pattern!r}")
