"""Cross-entropy over the pixels that are not ignored."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mamba_vision.segmentation.config import IGNORE


def loss(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Return the mean over the counted pixels of the batch, in nats; computed in fp32 at least.

    A batch without one counted pixel has the loss 0.

    :param outputs: ``logits (batch, num_classes, height, width)``.
    :param batch: ``masks (batch, height, width)``, classes or :data:`IGNORE`.
    """
    logits, masks = outputs["logits"], batch["masks"]
    wide = logits if logits.element_size() >= 4 else logits.float()
    total = F.cross_entropy(wide, masks, ignore_index=IGNORE, reduction="sum")
    return total / (masks != IGNORE).sum().clamp(min=1)
