"""Tokens per second beside transformers and ggml, on the same random weights, once they agree.

    python -m mamba_language.lm.benchmark --preset mamba_130m --threads 1

All take turns within one process, and the median over the rounds is reported. transformers is
called as its own ``generate`` calls it (one forward per token with its cache), without the cost
of that function's bookkeeping. ggml takes part where ``llama-cpp-python`` and ``gguf`` are
installed, with a Mamba-1 model in float32.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from mamba_core import registry
from mamba_kernels import ops
from mamba_language.lm import ggml
from mamba_language.lm.convert import convert_checkpoint

TOLERANCE = 1e-4
_GREEDY = 8
_BEGINNING = 16
"""Tokens before those that are decoded."""


def peer(preset: str) -> Any:
    """Return transformers' model of a preset's size, random weights, in eval mode."""
    import transformers

    config = registry.config("language-lm", preset=preset)
    fields: dict[str, Any] = {
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layer,
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": True,
    }
    if config.mixer.name == "mamba1":
        model: Any = transformers.MambaForCausalLM(transformers.MambaConfig(**fields))
    else:
        mixer = {"headdim": 64, "ngroups": 1, "d_state": 128, "expand": 2} | config.mixer.fields
        fields |= {"n_groups": mixer["ngroups"], "head_dim": mixer["headdim"]}
        fields |= {"state_size": mixer["d_state"], "expand": mixer["expand"]}
        fields["num_heads"] = config.d_model * mixer["expand"] // mixer["headdim"]
        model = transformers.Mamba2ForCausalLM(transformers.Mamba2Config(**fields))
    return model.eval()


def pair(preset: str) -> tuple[Any, Any]:
    """Return transformers' model and ours with the same random weights.

    The weights are ours: with the ones that transformers draws (std 0.1 everywhere) logits of
    this size move by several 1e-3 from fp32 rounding alone, in both models.
    """
    theirs = peer(preset)
    ours = registry.build("language-lm", preset=preset)
    state = theirs.state_dict()
    names: Any = convert_checkpoint({key: key for key in state}, "transformers")  # type: ignore[misc]
    mine = ours.state_dict()
    theirs.load_state_dict({key: mine[name] for name, key in names.items()})
    return theirs, ours.eval()


@dataclass(frozen=True)
class Contender:
    """One implementation of the same model."""

    logits: Callable[[Tensor], Tensor]
    """From a prompt ``(1, length)`` to logits ``(1, length, vocab_size)``."""
    decode: Callable[[Tensor, int], tuple[list[int], float]]
    """From a prompt and a number of tokens to these, greedy, and the seconds per token."""


def check(contenders: Mapping[str, Contender], prompt: Tensor) -> dict[str, float]:
    """Return the largest difference of each one's logits to ours.

    :raises AssertionError: when one is above :data:`TOLERANCE`, or greedy tokens differ.
    """
    ours, errors = contenders["ours"], {}
    logits, tokens = ours.logits(prompt), ours.decode(prompt, _GREEDY)[0]
    for name, other in contenders.items():
        if other is ours:
            continue
        errors[name] = error = (other.logits(prompt) - logits).abs().max().item()
        assert error <= TOLERANCE, f"{name}: logits differ by {error:.3g}: nothing to time"
        theirs = other.decode(prompt, _GREEDY)[0]
        assert theirs == tokens, f"{name}: greedy tokens differ: {theirs} and {tokens}"
    return errors


def decode_ours(model: Any, prompt: Tensor, tokens: int) -> tuple[list[int], float]:
    """Return greedy tokens and the seconds per token after the first."""
    logits, state = model.prefill(prompt, model.init_state(1))
    chosen = [int(logits[0, -1].argmax())]
    start = time.perf_counter()
    for _ in range(tokens - 1):
        logits, state = model.step(torch.tensor(chosen[-1:]), state)
        chosen.append(int(logits[0].argmax()))
    return chosen, (time.perf_counter() - start) / (tokens - 1)


def decode_theirs(model: Any, prompt: Tensor, tokens: int) -> tuple[list[int], float]:
    """The same for transformers."""
    out = model(prompt, use_cache=True)
    chosen = [int(out.logits[0, -1].argmax())]
    start = time.perf_counter()
    for _ in range(tokens - 1):
        out = model(torch.tensor([chosen[-1:]]), cache=out.cache, use_cache=True)
        chosen.append(int(out.logits[0, -1].argmax()))
    return chosen, (time.perf_counter() - start) / (tokens - 1)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _contenders(preset: str, folder: Path, context: int, threads: int) -> dict[str, Contender]:
    """Ours, transformers, and ggml where it is installed; ``folder`` is for its file."""
    theirs, ours = pair(preset)
    found = {
        "ours": Contender(
            lambda prompt: ours(prompt)["logits"], lambda p, n: decode_ours(ours, p, n)
        ),
        "transformers": Contender(
            lambda prompt: theirs(prompt).logits, lambda p, n: decode_theirs(theirs, p, n)
        ),
    }
    if ggml.why_not(ours) is None:
        ggml.write(ours, folder / "model.gguf")
        other = ggml.Ggml(folder / "model.gguf", context=context, threads=threads)
        found["ggml"] = Contender(other.logits, other.decode)
    return found


@torch.inference_mode()
def measure(preset: str, *, prompt_length: int, tokens: int, rounds: int) -> dict[str, Any]:
    """Return tokens per second of all, prefill and decode, and the ratios of their times to ours.

    Ratios are medians over the rounds.
    """
    torch.manual_seed(0)
    vocab_size = registry.config("language-lm", preset=preset).vocab_size
    prompt = torch.randint(vocab_size, (1, prompt_length))
    with TemporaryDirectory() as folder:
        context = max(prompt_length, 32 + _GREEDY, _BEGINNING + tokens)
        contenders = _contenders(preset, Path(folder), context, torch.get_num_threads())
        row: dict[str, Any] = {"preset": preset, "logit_errors": check(contenders, prompt[:, :32])}
        times: dict[str, dict[str, list[float]]] = {
            name: {"prefill": [], "step": []} for name in contenders
        }
        for _ in range(rounds):
            for name, one in contenders.items():
                times[name]["prefill"].append(_seconds(partial(one.logits, prompt)))
                times[name]["step"].append(one.decode(prompt[:, :_BEGINNING], tokens)[1])
    for phase, count in (("prefill", prompt_length), ("step", 1)):
        ours = times["ours"][phase]
        for name, found in times.items():
            row[f"{phase}_tokens_per_s_{name}"] = count / statistics.median(found[phase])
            ratios = [theirs / own for theirs, own in zip(found[phase], ours, strict=True)]
            row[f"{phase}_ratio_{name}"] = statistics.median(ratios)
    return row


def main() -> None:
    """Measure and print one JSON object."""
    import transformers

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="mamba_130m")
    parser.add_argument("--prompt-length", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    row = measure(
        given.preset,
        prompt_length=given.prompt_length,
        tokens=given.tokens,
        rounds=given.rounds,
    )
    row |= {
        "prompt_length": given.prompt_length,
        "threads": given.threads,
        "backends": {r["name"]: r["chosen"] for r in ops.backends() if r["chosen"]},
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    main()
