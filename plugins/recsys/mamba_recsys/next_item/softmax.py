"""Cross-entropy over a catalogue in chunks of positions: no table of all logits is ever held.

The logits of a chunk are made, turned into their own gradient and thrown away, so that memory is
that of one chunk and the chunk stays in a cache (the idea of Liger's fused linear cross-entropy,
2410.10989, in plain PyTorch).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 1 << 19
"""Most logits at once; a chunk has at least :data:`ROWS` positions."""
ROWS = 16


def chunk_rows(items: int) -> int:
    """Return how many positions are scored at once against ``items`` vectors."""
    return max(CHUNK // max(items, 1), ROWS)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of the cross-entropies; gradients are made on the way, of float32 logits or wider.

    Under autocast the products are made in its type and summed in float32.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, items: Tensor, targets: Tensor) -> Tensor:
        device = hidden.device.type
        wide = torch.promote_types(hidden.dtype, torch.float32)
        narrow = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else wide
        table = items.to(narrow)
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        d_hidden = torch.empty_like(hidden) if wanted else None
        d_items = torch.zeros(items.shape, dtype=wide, device=items.device) if wanted else None
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        rows = chunk_rows(len(items))
        with torch.autocast(device, enabled=False):
            for start in range(0, len(hidden), rows):
                h, t = hidden[start : start + rows].to(narrow), targets[start : start + rows, None]
                logits = (h @ table.T).to(wide)
                own, top = logits.gather(1, t), logits.amax(1, keepdim=True)
                p = logits.softmax(1)
                # the largest probability is never too small for its logarithm
                norm = top - p.amax(1, keepdim=True).log()
                total += (norm - own).sum(dtype=torch.float64)
                if d_hidden is not None and d_items is not None:
                    p.scatter_add_(1, t, -torch.ones_like(own))
                    slope = p.to(narrow)
                    d_hidden[start : start + rows] = (slope @ table).to(hidden.dtype)
                    d_items += (slope.T @ h).to(wide)
        ctx.save_for_backward(*(x for x in (d_hidden, d_items) if x is not None))
        ctx.item_dtype = items.dtype
        return total.to(wide)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        d_hidden, d_items = ctx.saved_tensors
        return d_hidden * grad.to(d_hidden.dtype), (d_items * grad).to(ctx.item_dtype), None


def chunked_cross_entropy(hidden: Tensor, items: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over positions of ``logsumexp(h E') - h e_target``, a scalar.

    :param hidden: ``(positions, d)``.
    :param items: ``(items, d)``.
    :param targets: int64 ``(positions,)``, each in ``0 .. items - 1``.
    """
    return _ChunkedCrossEntropy.apply(hidden, items, targets)


def sampled_cross_entropy(
    hidden: Tensor, items: Tensor, targets: Tensor, negatives: Tensor, log_expected: Tensor
) -> Tensor:
    """Return the sum of cross-entropies over the target and drawn items, corrected for the draws.

    Each drawn item counts ``1 / expected`` times, and one equal to the target not at all; the
    target itself is in the sum with certainty and is not corrected. The sum inside the logarithm
    is then unbiased (2507.09331 says why correcting the target too is not), and equals the full
    one when every item is drawn once with an expected count of 1.

    :param negatives: int64 ``(n,)``, shared by all positions.
    :param log_expected: float ``(n,)``, the log of how often each was to be drawn.
    """
    own = (hidden * items[targets]).sum(-1, keepdim=True)
    drawn = items[negatives]
    rows = chunk_rows(len(negatives))
    total = hidden.new_zeros(())
    for start in range(0, len(hidden), rows):
        part = slice(start, start + rows)
        logits = hidden[part] @ drawn.T - log_expected.to(hidden.dtype)
        logits = logits.masked_fill(negatives == targets[part, None], -torch.inf)
        total = total + (torch.cat([own[part], logits], 1).logsumexp(1) - own[part, 0]).sum()
    return total
