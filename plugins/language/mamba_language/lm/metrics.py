"""How well text is predicted: bits per byte, perplexity per token."""

from __future__ import annotations

import math
from typing import Any

import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import text

from mamba_language.lm.objective import IGNORE


class BitsPerByte(torchmetrics.Metric):
    """Cross-entropy in bits, over the bytes of the text: comparable across tokenizers.

    The ends of documents are predicted too and count as bits, but have no bytes.
    """

    higher_is_better = False
    nats: Tensor
    bytes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("nats", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("bytes", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> None:
        """Add a batch: ``logits (batch, length, vocab_size)``, ``targets``, ``bytes (batch,)``."""
        each = F.cross_entropy(
            outputs["logits"].detach().flatten(0, 1),
            batch["targets"].flatten(),
            ignore_index=IGNORE,
            reduction="none",
        )
        self.nats += each.sum(dtype=torch.float64)
        self.bytes += batch["bytes"].sum(dtype=torch.float64)

    def compute(self) -> Tensor:
        """Return bits per byte, a float32 scalar."""
        return (self.nats / self.bytes / math.log(2)).float()


class Perplexity(text.Perplexity):
    """exp of the mean cross-entropy per token."""

    def __init__(self) -> None:
        super().__init__(ignore_index=IGNORE)

    def update(self, outputs: Any, batch: Any) -> None:  # type: ignore[override]
        """Add a batch: ``logits (batch, length, vocab_size)`` and ``targets``."""
        super().update(outputs["logits"].detach(), batch["targets"])


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    return {"bits_per_byte": BitsPerByte(), "perplexity": Perplexity()}
