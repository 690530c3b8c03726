"""Continue texts token by token with a state of constant size.

Prompts of unequal length are read packed, without padding; then all texts take one step at a
time, and a text that has ended leaves the batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mamba_core.mixers import MixerState
from mamba_language.lm.config import Sampling
from mamba_language.lm.model import MambaLM

PREFILL_TOKENS = 4096
"""Tokens that are read at once, over all prompts: bounds the memory of a long prompt."""


def generate(
    model: MambaLM,
    prompts: Sequence[Tensor | Sequence[int]],
    *,
    max_tokens: int,
    sampling: Sampling | None = None,
    stop: Collection[int] = (),
    generator: torch.Generator | None = None,
    seeds: Sequence[int] | None = None,
) -> list[Tensor]:
    """Return the continuations of prompts, int64 ``(tokens,)`` each, on the CPU.

    The arguments are those of :func:`stream`. A token of ``stop`` is part of the continuation.
    """
    texts: list[list[int]] = [[] for _ in prompts]
    for step in stream(
        model,
        prompts,
        max_tokens=max_tokens,
        sampling=sampling,
        stop=stop,
        generator=generator,
        seeds=seeds,
    ):
        for row, token in step.items():
            texts[row].append(token)
    return [torch.tensor(text, dtype=torch.int64) for text in texts]


@torch.inference_mode()
def stream(
    model: MambaLM,
    prompts: Sequence[Tensor | Sequence[int]],
    *,
    max_tokens: int,
    sampling: Sampling | None = None,
    stop: Collection[int] = (),
    generator: torch.Generator | None = None,
    seeds: Sequence[int] | None = None,
) -> Iterator[dict[int, int]]:
    """Yield the next token of every text that has not ended: ``{row: token}``.

    :param model: in eval mode.
    :param prompts: ids, any lengths from 1.
    :param max_tokens: longest continuation.
    :param sampling: how tokens are drawn; None takes the most probable one.
    :param stop: ids that end a text.
    :param generator: makes ``seeds`` where they are not given; None takes torch's global one.
    :param seeds: of the draws, one per prompt. Every text has draws of its own, so it does not
        depend on the texts beside it (but for rounding).
    :raises ValueError: for an empty prompt, or seeds that are not one per prompt.
    """
    rows = list(range(len(prompts)))
    if not rows or max_tokens < 1:
        return
    draws = None if sampling is None else _draws(len(rows), generator, seeds)
    logits, state = prefill(model, prompts)
    for left in reversed(range(max_tokens)):
        if sampling is None or draws is None:
            tokens = logits.argmax(-1)
        else:
            uniform = torch.cat([torch.rand(1, generator=draws[row]) for row in rows])
            tokens = sample(logits, sampling, uniform.to(logits.device))
        chosen = tokens.tolist()
        yield dict(zip(rows, chosen, strict=True))
        going = [place for place, token in enumerate(chosen) if token not in stop]
        if not going or not left:
            return
        if len(going) < len(rows):
            kept = torch.tensor(going, device=tokens.device)
            rows = [rows[place] for place in going]
            tokens, state = tokens[kept], state.select(kept)
        logits, state = model.step(tokens, state)


def prefill(
    model: MambaLM, prompts: Sequence[Tensor | Sequence[int]], *, at_once: int = PREFILL_TOKENS
) -> tuple[Tensor, MixerState]:
    """Read prompts of any lengths, packed.

    :param at_once: about how many tokens one pass reads, over all prompts.
    :returns: logits ``(prompts, vocab_size)`` of what follows each, and the state after them.
    :raises ValueError: for an empty prompt.
    """
    device = model.embedding.weight.device
    ids = [torch.as_tensor(p, dtype=torch.int64, device=device) for p in prompts]
    lengths = [len(p) for p in ids]
    if not all(lengths):
        raise ValueError(
            f"prompt {lengths.index(0)} is empty: begin it with the document mark (config.eos)"
        )
    state = model.init_state(len(ids))
    logits = model.lm_head.weight.new_zeros(len(ids), model.config.vocab_size)
    width = max(at_once // len(ids), 1)
    for start in range(0, max(lengths), width):
        pieces = [p[start : start + width] for p in ids]  # empty where a prompt is at its end
        sizes = torch.tensor([len(piece) for piece in pieces], device=device)
        edges = F.pad(sizes.cumsum(0), (1, 0))
        some, state = model.read(torch.cat(pieces)[None], state, cu_seqlens=edges)
        logits = some.where(sizes[:, None] > 0, logits)
    return logits, state


def sample(logits: Tensor, sampling: Sampling, uniform: Tensor) -> Tensor:
    """Draw tokens by inverting the cumulative distribution, most probable token first.

    :param logits: ``(batch, vocab_size)``.
    :param uniform: float ``(batch,)`` in [0, 1).
    :returns: int64 ``(batch,)``.
    """
    k = min(sampling.top_k or logits.shape[-1], logits.shape[-1])
    best, ids = (logits.float() / sampling.temperature).topk(k, dim=-1)
    odds = best.softmax(-1)
    before = odds.cumsum(-1) - odds
    odds = odds.where(before < sampling.top_p, 0)  # the first one is always kept
    total = odds.cumsum(-1)
    place = torch.searchsorted(total, (uniform.float() * total[:, -1])[:, None], right=True)
    last = (odds > 0).sum(-1, keepdim=True) - 1  # rounding may push the draw past the last one
    return ids.gather(1, place.minimum(last))[:, 0]


def _draws(
    texts: int, generator: torch.Generator | None, seeds: Sequence[int] | None
) -> list[torch.Generator]:
    """A stream of random numbers per text, on the CPU."""
    if seeds is None:
        device = generator.device if generator is not None else torch.device("cpu")
        seeds = torch.randint(2**31, (texts,), generator=generator, device=device).tolist()
    if len(seeds) != texts:
        raise ValueError(f"{len(seeds)} seeds for {texts} prompts: give one each")
    return [torch.Generator().manual_seed(seed) for seed in seeds]
