"""One independent question per label, as AudioSet's tags are learned."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def loss(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Return the binary cross entropy, mean over items and labels.

    :param outputs: ``logits`` ``(batch, labels)``.
    :param batch: ``targets`` like them, 0 to 1.
    """
    return F.binary_cross_entropy_with_logits(outputs["logits"], batch["targets"])
