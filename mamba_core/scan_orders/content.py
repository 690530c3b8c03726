"""Orders read off the content of the tokens, and decisions about the axis to scan.

They carry no gradient: a model learns through the values it reads, never through the index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from mamba_core.scan_orders.grid import coordinates, joint_key
from mamba_registry.errors import ScanOrderError


class Sorted:
    """Tokens sorted by a number each, ties in their own order.

    With a class per token this is the semantic neighbourhood of MambaIRv2 (2411.15269), whose
    own sort is not stable; with the rank of each token's variate the permuted and the learned
    variate orders of MambaTS (2405.16440).

    :param key: name of the context's tensor, ``(B, L)``, or packed ``(sum of L,)`` with
        ``cu_seqlens``.
    :param descending: the largest first.
    """

    inputs: tuple[str, ...] = ("class_id",)

    def __init__(self, key: str = "class_id", descending: bool = False) -> None:
        self.inputs = (key,)
        self.descending = descending

    def __call__(self, context: Mapping[str, Tensor]) -> Tensor:
        """Return int64 ``(B, L)`` or packed ``(sum of L,)``."""
        key = context[self.inputs[0]].detach()
        order = key.argsort(dim=-1, stable=True, descending=self.descending)
        edges = context.get("cu_seqlens")
        if key.dim() > 1 or edges is None:
            return order
        sequence = torch.searchsorted(edges[1:].to(order), order, right=True)
        return order[sequence.argsort(stable=True)]


class QuadtreeScores:
    """Quadrant by quadrant of the grid; the one with the largest score is cut into four again.

    After QuadMamba (2410.06806), which draws the quadrant by a Gumbel-softmax in training: hand
    over the drawn scores to do so.
    """

    inputs: tuple[str, ...] = ("scores",)

    def __call__(self, context: Mapping[str, Tensor]) -> Tensor:
        """Return int64 ``(B, H W)`` for scores ``(B, H, W)``, one per token."""
        scores = context["scores"].detach()
        if scores.dim() != 3:
            raise ScanOrderError(f"scores have shape {tuple(scores.shape)}, not (B, H, W)")
        batch, height, width = scores.shape
        i, j = coordinates((height, width), scores.device)
        quadrant, part = _quarter(i, j, (0, height), (0, width))
        total = scores.new_zeros(batch, 4).index_add(1, quadrant, scores.flatten(1))
        count = torch.bincount(quadrant, minlength=4).clamp(min=1)
        chosen = (total / count).argmax(1)
        finer = torch.where(quadrant == chosen[:, None], part, 0)
        key = joint_key(quadrant.expand(batch, -1), finer)
        return key.argsort(dim=-1, stable=True)


def _quarter(
    i: Tensor, j: Tensor, rows: tuple[int, int], columns: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Each token's quadrant, and its quadrant inside that one."""
    middle, centre = (rows[0] + rows[1] + 1) // 2, (columns[0] + columns[1] + 1) // 2
    lower, right = i >= middle, j >= centre
    half_i = torch.where(lower, (middle + rows[1] + 1) // 2, (rows[0] + middle + 1) // 2)
    half_j = torch.where(right, (centre + columns[1] + 1) // 2, (columns[0] + centre + 1) // 2)
    return 2 * lower + right.long(), 2 * (i >= half_i) + (j >= half_j).long()


def series_axis(series: Tensor, threshold: float = 0.6) -> Literal["variates", "patches"]:
    """Say which axis of a multivariate series to scan, by how alike the variates are.

    The correlation decider of Bi-Mamba+ (2404.15772): with Spearman's rho between variates, r
    is the most that any of them has at or above the threshold, divided by the most it has at
    or above 0. From ``1 - threshold`` on, tokens of one patch are scanned over the variates.

    :param series: ``(time, variates)``, training data.
    """
    ranks = series.argsort(dim=0, stable=True).argsort(dim=0).double()
    rho = torch.corrcoef(ranks.T).reshape(series.shape[1], series.shape[1])
    rho = rho.masked_fill(torch.eye(len(rho), dtype=torch.bool), -2)
    alike, positive = ((rho >= bound).sum(1).max() for bound in (threshold, 0.0))
    ratio = float(alike) / max(float(positive), 1)
    return "variates" if ratio >= 1 - threshold else "patches"
