"""Tokens per second beside transformers, on random weights of one size, after checking both agree.

    python -m mamba_language.lm.benchmark --preset mamba_130m --threads 1

The two take turns within one process, and the median over the rounds is reported. transformers is
called as its own ``generate`` calls it (one forward per token with its cache), without the cost
of that function's bookkeeping.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from mamba_core import registry
from mamba_kernels import ops
from mamba_language.lm.convert import convert_checkpoint

TOLERANCE = 1e-4
_GREEDY = 8


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


def check(theirs: Any, ours: Any, prompt: Tensor) -> float:
    """Return the largest difference of logits.

    :raises AssertionError: when it is above :data:`TOLERANCE`, or greedy tokens differ.
    """
    error = (theirs(prompt).logits - ours(prompt)["logits"]).abs().max().item()
    assert error <= TOLERANCE, f"logits differ by {error:.3g}: nothing to time"
    mine, other = decode_ours(ours, prompt, _GREEDY), decode_theirs(theirs, prompt, _GREEDY)
    assert mine[0] == other[0], f"greedy tokens differ: {mine[0]} and {other[0]}"
    return error


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


@torch.inference_mode()
def measure(preset: str, *, prompt_length: int, tokens: int, rounds: int) -> dict[str, Any]:
    """Return tokens per second of both, prefill and decode, and the ratio of each."""
    torch.manual_seed(0)
    theirs, ours = pair(preset)
    prompt = torch.randint(theirs.config.vocab_size, (1, prompt_length))
    row: dict[str, Any] = {"preset": preset, "logit_error": check(theirs, ours, prompt[:, :32])}
    times: dict[str, list[float]] = {"prefill": [], "prefill_peer": [], "step": [], "step_peer": []}
    for _ in range(rounds):
        times["prefill"].append(_seconds(lambda: ours(prompt)))
        times["prefill_peer"].append(_seconds(lambda: theirs(prompt)))
        times["step"].append(decode_ours(ours, prompt[:, :16], tokens)[1])
        times["step_peer"].append(decode_theirs(theirs, prompt[:, :16], tokens)[1])
    median = {name: statistics.median(values) for name, values in times.items()}
    for name, count in (("prefill", prompt_length), ("step", 1)):
        row[f"{name}_tokens_per_s"] = count / median[name]
        row[f"{name}_tokens_per_s_transformers"] = count / median[f"{name}_peer"]
        row[f"{name}_ratio"] = median[f"{name}_peer"] / median[name]
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
