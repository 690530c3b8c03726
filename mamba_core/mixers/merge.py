"""How the outputs of K paths become one."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Merge = Literal["sum", "mean", "concat", "gate", "scatter", "none"]
"""How the K outputs become one: added, averaged, joined along channels and projected, or
weighted per token by a learned softmax. ``scatter``: the paths share the tokens out and each
token has one output. ``none``: one path per layer, so there is nothing to merge."""


class Sum(nn.Module):
    """Add the paths, ``(B, K, L, D) -> (B, L, D)``, or average them."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, y: Tensor) -> Tensor:
        """Merge."""
        total = y.sum(1)
        return total if self.scale == 1.0 else total * self.scale


class Concat(nn.Module):
    """Join the paths' channels and project back to ``d_model``."""

    def __init__(self, d_model: int, paths: int) -> None:
        super().__init__()
        self.proj = nn.Linear(paths * d_model, d_model, bias=False)

    def forward(self, y: Tensor) -> Tensor:
        """Merge."""
        return self.proj(y.transpose(1, 2).flatten(2))


class Gate(nn.Module):
    """Weigh the paths per token by a softmax of each one's own score."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.score = nn.Linear(d_model, 1, bias=False)

    def forward(self, y: Tensor) -> Tensor:
        """Merge."""
        return (y * self.score(y).softmax(dim=1)).sum(1)


class Scatter(nn.Module):
    """The paths of a partition: each token's one output is put in its place as it is read."""


class Single(nn.Module):
    """The only path, ``(B, 1, L, D) -> (B, L, D)``."""

    def forward(self, y: Tensor) -> Tensor:
        """Merge."""
        return y.squeeze(1)


def make_merge(merge: Merge, d_model: int, paths: int) -> nn.Module:
    """Build the merge of a name.

    :raises ValueError: for ``none`` with several paths.
    """
    if merge == "none" and paths != 1:
        raise ValueError(f"merge='none' is for one path per layer, here are {paths}")
    if merge == "concat":
        return Concat(d_model, paths)
    if merge == "gate":
        return Gate(d_model)
    if merge in ("scatter", "none"):
        return Scatter() if merge == "scatter" else Single()
    return Sum(1.0 if merge == "sum" else 1.0 / paths)
