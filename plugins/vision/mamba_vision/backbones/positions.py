"""Learned positions on a grid, and their resampling to another one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def resample_positions(
    positions: Tensor,
    old: tuple[int, int],
    new: tuple[int, int],
    *,
    class_index: int | None = None,
) -> Tensor:
    """Resample learned positions, bicubically, from one grid of patches to another.

    A class token's row is taken out first and put back at ``len // 2`` of the new grid when it
    stood in the middle of the old one, else where it stood: it never mixes with the patches
    (Vim's own resizing takes row 0 for it although it is the middle one).

    :param positions: ``(1, L, D)`` with L the cells of ``old``, and one for the class token.
    :param class_index: the class token's row; None when there is none.
    :returns: ``(1, L', D)``, the same tensor when the grid does not change.
    :raises ValueError: when L does not fit ``old``.
    """
    extra = 0 if class_index is None else 1
    cells = old[0] * old[1]
    if positions.shape[1] != cells + extra:
        raise ValueError(
            f"positions has {positions.shape[1]} rows; a grid of {old[0]}x{old[1]} with {extra} "
            f"class tokens has {cells + extra}"
        )
    # a traced graph always resamples (the same grid comes out as it was): it is for other sizes too
    if not torch.compiler.is_exporting() and tuple(old) == tuple(new):
        return positions
    if class_index is None:
        return _resized(positions, old, new)
    token = positions[:, class_index : class_index + 1]
    patches = torch.cat([positions[:, :class_index], positions[:, class_index + 1 :]], dim=1)
    resized = _resized(patches, old, new)
    place = new[0] * new[1] // 2 if class_index == cells // 2 else class_index
    return torch.cat([resized[:, :place], token, resized[:, place:]], dim=1)


def _resized(patches: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    grid = patches.transpose(1, 2).unflatten(2, old)
    wide = grid if grid.element_size() >= 4 else grid.float()  # no bicubic kernel for bf16
    resized = F.interpolate(wide, size=new, mode="bicubic", align_corners=False)
    return resized.to(grid.dtype).flatten(2).transpose(1, 2)


class GridPositions(nn.Module):
    """A learned vector per cell of a grid, added to its tokens; other grids are resampled to."""

    def __init__(self, grid: tuple[int, int], d_model: int) -> None:
        super().__init__()
        self.grid = grid
        self.weight = nn.Parameter(torch.empty(1, grid[0] * grid[1], d_model))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """``(B, h w, D)`` -> the same shape."""
        return tokens + resample_positions(self.weight, self.grid, grid)

    @torch.no_grad()
    def resize(self, grid: tuple[int, int]) -> None:
        """Keep the positions resampled to another grid."""
        resized = resample_positions(self.weight, self.grid, grid)
        self.weight, self.grid = nn.Parameter(resized.clone()), grid
