"""From a cloud to groups of neighbours: farthest-point centres, nearest neighbours, one token each.

Nothing here depends on the other clouds of a batch, nor on the order in which points are listed
(as long as no two distances are equal).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Choose points that are far from each other, one by one.

    The first is the one farthest from the mean; each next one is the farthest from all chosen
    (Eldar et al., 1997). Ties go to the point that is listed first.

    :param points: ``(B, N, 3)``.
    :param count: how many, at most N.
    :returns: int64 ``(B, count)``, numbers of points.
    :raises ValueError: for more than there are.
    """
    if count > points.shape[1]:
        raise ValueError(f"{count} centres of {points.shape[1]} points: there are not so many")
    rows = torch.arange(len(points), device=points.device)
    chosen = torch.empty(len(points), count, dtype=torch.int64, device=points.device)
    distance = (points - points.mean(1, keepdim=True)).square().sum(-1)
    nearest = torch.full_like(distance, torch.inf)
    for k in range(count):
        best = distance.argmax(1) if k == 0 else nearest.argmax(1)
        chosen[:, k] = best
        away = (points - points[rows, best][:, None]).square().sum(-1)
        nearest = torch.minimum(nearest, away)
    return chosen


def neighbours(points: Tensor, centres: Tensor, count: int) -> Tensor:
    """Return the points nearest to each centre, the centre itself among them.

    :param points: ``(B, N, 3)``.
    :param centres: ``(B, G, 3)``.
    :returns: int64 ``(B, G, min(count, N))``.
    """
    # by differences: by products, near points would be told apart by rounding alone
    distance = torch.cdist(centres, points, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.topk(min(count, points.shape[1]), dim=-1, largest=False).indices


def gather(values: Tensor, index: Tensor) -> Tensor:
    """``values (B, N, C)`` at ``index (B, ...)`` -> ``(B, ..., C)``."""
    rows = torch.arange(len(values), device=values.device).view(-1, *[1] * (index.dim() - 1))
    return values[rows, index]


class GroupTokens(nn.Module):
    """A small PointNet (Qi et al., 1612.00593) per group, as in Point-MAE (2203.06604).

    :param columns: of a point: its place relative to the centre, and what it carries besides.
    :param width: of the first layer; the next ones have twice and four times as many.
    """

    def __init__(self, columns: int, d_model: int, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Linear(columns, width), PointNorm(width), nn.ReLU(), nn.Linear(width, 2 * width)
        )
        self.second = nn.Sequential(
            nn.Linear(4 * width, 4 * width),
            PointNorm(4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, d_model),
        )

    def forward(self, groups: Tensor) -> Tensor:
        """``(B, G, points, columns) -> (B, G, d_model)``."""
        each = self.first(groups)
        whole = each.amax(-2, keepdim=True).expand_as(each)
        return self.second(torch.cat([whole, each], dim=-1)).amax(-2)


class PointNorm(nn.BatchNorm1d):
    """BatchNorm over the last axis, ``(..., C)``."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each channel over all points of the batch."""
        return super().forward(input.flatten(0, -2)).view_as(input)
