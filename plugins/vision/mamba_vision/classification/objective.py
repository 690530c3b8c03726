"""Cross-entropy with soft targets: mixed images and smoothed labels are shares of classes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def loss(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Return the mean cross-entropy over the batch, in nats; computed in fp32 at least.

    :param outputs: ``logits (batch, num_classes)``.
    :param batch: ``targets (batch, num_classes)``, shares that add up to 1.
    """
    logits = outputs["logits"]
    wide = logits if logits.element_size() >= 4 else logits.float()
    return F.cross_entropy(wide, batch["targets"].to(wide.dtype))
