"""Continue texts with a trained model: strings in memory, files, a stream of characters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from mamba_core.atomic import new_file, refuse_taken
from mamba_language.lm.config import Sampling, TextPredict
from mamba_language.lm.generate import stream
from mamba_language.lm.model import MambaLM
from mamba_language.lm.tokenizers import load_tokenizer
from mamba_registry import TaskSpec

Progress = Callable[[str, int, int], None]
"""``(name, tokens done, tokens at most)``."""


class TextGenerator:
    """A trained language model for daily use: strings with :meth:`generate` and :meth:`stream`,
    files with :meth:`run`.

    The same prompt, seed and model give the same text, whatever prompts stand beside it.

    :param model: in eval mode, on ``device``.
    :param config: see :class:`~mamba_language.lm.config.TextPredict`.
    :param spec: the task's record.
    :param device: where the model is.
    """

    def __init__(
        self,
        model: MambaLM,
        config: TextPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model, self.spec, self.device = model, spec, torch.device(device)
        self.config = config or TextPredict()
        self.tokenizer = load_tokenizer(self.config.tokenizer or model.config.tokenizer)

    def generate(self, prompts: Sequence[str], *, progress: Progress | None = None) -> list[str]:
        """Return the continuation of each prompt, without the prompt.

        :param prompts: any texts; an empty one is answered with a document of the model's own.
        :param progress: called after every token with ``("text", done, in all)``.
        """
        size = self.config.batch_size
        texts: list[str] = []
        total = len(prompts) * self.config.max_tokens
        for start in range(0, len(prompts), size):
            group = prompts[start : start + size]
            ids: list[list[int]] = [[] for _ in group]
            for count, step in enumerate(self._steps(group), start=1):
                for row, token in step.items():
                    ids[row].append(token)
                if progress is not None:
                    done = start * self.config.max_tokens + count * len(group)
                    progress("text", done, total)
            texts += [self.tokenizer.decode(self._without_mark(text)) for text in ids]
        if progress is not None and prompts:
            progress("text", total, total)
        return texts

    def stream(self, prompt: str) -> Iterator[str]:
        """Yield the continuation of one prompt in pieces, as soon as each is certain."""
        emit = self.tokenizer.stream()
        for step in self._steps([prompt]):
            if step[0] != self.model.config.eos:
                yield emit(step[0])
        yield emit(None)

    def run(
        self,
        inputs: Sequence[Path],
        out: Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Continue the text of each file, written as ``out/<file name>.txt``.

        :param inputs: UTF-8 text files, a prompt each; a line break at the end is kept.
        :param overwrite: replace outputs that are there.
        :returns: per file ``file, output, prompt_characters, characters``.
        :raises FileNotFoundError: when there is no such file.
        :raises FileExistsError: when an output is there and ``overwrite`` is not set.
        :raises ValueError: for a file that is no UTF-8, or two inputs of one name.
        """
        paths = [Path(path) for path in inputs]
        prompts = [_read(path) for path in paths]
        targets = _targets(paths, Path(out), overwrite)
        texts = self.generate(prompts, progress=progress)
        rows = []
        for path, prompt, target, text in zip(paths, prompts, targets, texts, strict=True):
            with new_file(target) as temporary:
                temporary.write_bytes(text.encode())
            rows.append(
                {
                    "file": str(path),
                    "output": str(target),
                    "prompt_characters": len(prompt),
                    "characters": len(text),
                }
            )
        return rows

    def _steps(self, prompts: Sequence[str]) -> Iterator[dict[int, int]]:
        config, eos = self.config, self.model.config.eos
        begin = [eos] if config.begin else []
        ids = [begin + self.tokenizer.encode(prompt) or [eos] for prompt in prompts]
        sampling: Sampling | None = None if config.greedy else config.sampling
        return stream(
            self.model,
            ids,
            max_tokens=config.max_tokens,
            sampling=sampling,
            stop={eos} if config.stop_at_end else (),
            seeds=[_seed(config.seed, prompt) for prompt in prompts],
        )

    def _without_mark(self, ids: list[int]) -> list[int]:
        return [token for token in ids if token != self.model.config.eos]


def _seed(seed: int, prompt: str) -> int:
    """A seed of its own for each prompt, so that its text does not depend on its place."""
    digest = hashlib.blake2b(f"{seed}:{prompt}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def _read(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give text files that hold prompts")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text ({error}): convert it first") from error


def _targets(paths: Sequence[Path], out: Path, overwrite: bool) -> list[Path]:
    targets = [out / f"{path.stem}.txt" for path in paths]
    own = {path.resolve() for path in paths}
    for target in targets:
        if target.resolve() in own:
            raise ValueError(f"{target} is an input: choose another folder for the results")
    refuse_taken(targets, overwrite=overwrite)
    return targets
