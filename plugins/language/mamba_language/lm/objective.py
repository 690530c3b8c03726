"""Cross-entropy of the next token."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

IGNORE = -100
"""A target that is not there: padding behind the end of the text."""


def loss(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Return the mean cross-entropy of the targets, in nats per token.

    :param outputs: ``logits`` ``(batch, length, vocab_size)``; computed in fp32 at least.
    :param batch: ``targets`` int64 ``(batch, length)``, :data:`IGNORE` where there is none.
    """
    logits = outputs["logits"].flatten(0, 1)
    wide = logits if logits.element_size() >= 4 else logits.float()
    return F.cross_entropy(wide, batch["targets"].flatten(), ignore_index=IGNORE)
