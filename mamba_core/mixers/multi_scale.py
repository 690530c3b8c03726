"""Paths at two resolutions (MSVMamba, Shi et al., 2405.14174).

The forward raster reads the grid as it is; the other three paths of the cross-scan read a copy
of half the height and width, one after another as a single sequence. Their mean load is a
quarter, so the block costs little more than half of four full paths.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core import scan_orders
from mamba_core.mixers.choice import MixerChoice, build_mixer
from mamba_core.mixers.grid import GridMixer, over_grid


class MultiScale(GridMixer):
    """One full path and three at a coarser scale, ``(B, H W, d_model)`` -> the same shape.

    :param mixer: what reads them; one for the full path, one for the three.
    :param stride: how much coarser the copy is, on each side.
    """

    def __init__(
        self,
        d_model: int,
        mixer: MixerChoice = MixerChoice("mamba1"),  # noqa: B008  (immutable)
        stride: Annotated[int, Field(ge=2)] = 2,
    ) -> None:
        super().__init__()
        self.d_model = d_model
        self.fine, self.coarse = build_mixer(mixer, d_model), build_mixer(mixer, d_model)
        # odd width, so that a grid smaller than the stride still has a coarse copy
        width = 2 * stride - 1
        self.down = nn.Conv2d(
            d_model, d_model, width, stride=stride, padding=width // 2, groups=d_model
        )
        self._order = scan_orders.get("cross")

    def mix(self, x: Tensor, shape: tuple[int, int]) -> Tensor:
        """See :meth:`GridMixer.mix`."""
        small = self.down(x.transpose(1, 2).unflatten(2, shape))
        coarse_shape = (small.shape[2], small.shape[3])
        tokens = small.flatten(2).transpose(1, 2)
        assert isinstance(self._order, scan_orders.NamedOrder)
        order = self._order(coarse_shape, device=x.device)[1:]
        read = self.coarse(tokens[:, order.flatten()]).unflatten(1, order.shape)
        merged = torch.zeros_like(tokens)
        for k, path in enumerate(order):
            merged = merged.index_add(1, path, read[:, k])
        enlarged = over_grid(
            lambda grid: F.interpolate(grid, size=shape, mode="bilinear", align_corners=False),
            merged,
            coarse_shape,
        )
        return self.fine(x) + enlarged
