"""A recurrence over the grid itself (Mamba2D, Baty et al., 2412.16146).

The state of a cell comes from its left neighbour and from the one above::

    h[i,j] = ( exp(dtL AL) h[i,j-1] + dtL x BL + exp(dtT AT) h[i-1,j] + dtT x BT ) / 2
    y[i,j] = h[i,j] C + D x

In the first row and column only one neighbour is there and its term counts whole; the corner
takes ``dtL x BL``. All cells of an anti-diagonal are independent, so that a grid takes
``H + W - 1`` steps.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.mixers import initial
from mamba_core.mixers.grid import GridMixer, depthwise, over_grid
from mamba_core.mixers.selection import Selection


def wavefront(left: tuple[Tensor, Tensor], top: tuple[Tensor, Tensor]) -> Tensor:
    """Run the recurrence, one anti-diagonal after another.

    :param left: decay and input of the step from the left neighbour, ``(B, H, W, ...)`` each.
    :param top: of the step from the neighbour above.
    :returns: the states ``(B, H, W, ...)``.
    """
    height, width = left[0].shape[1:3]
    rows = torch.arange(height, device=left[0].device)
    states = left[0].new_zeros(height, *left[0].shape[:1], *left[0].shape[3:])
    diagonals = []
    for step in range(height + width - 1):
        first, last = max(0, step - width + 1), min(height - 1, step)
        i = rows[first : last + 1]
        j = step - i
        a_left, b_left, a_top, b_top = (t[:, i, j].transpose(0, 1) for t in (*left, *top))
        # states holds, per row, the newest cell of that row: the left neighbour of this one
        above = torch.cat([torch.zeros_like(states[:1]), states[:-1]])[first : last + 1]
        has_left, has_top = (_column(mask, above) for mask in (j > 0, i > 0))
        from_left = a_left * states[first : last + 1] + b_left
        from_top = a_top * above + b_top
        both = torch.where(has_left, (from_left + from_top) / 2, from_top)
        new = torch.where(has_top, both, from_left)
        states = torch.cat([states[:first], new, states[last + 1 :]])
        diagonals.append(new)
    return _straightened(diagonals, height, width)


def _column(mask: Tensor, like: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (like.dim() - 1))


def _straightened(diagonals: list[Tensor], height: int, width: int) -> Tensor:
    """Cells in the order of the diagonals -> ``(B, H, W, ...)``."""
    cells = torch.cat(diagonals)  # (H W, B, ...)
    i, j = (
        t.flatten()
        for t in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    )
    order = ((i + j) * height + i).argsort()
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    return cells[rank.to(cells.device)].unflatten(0, (height, width)).movedim(2, 0)


class Mamba2D(initial.KeepsFloat32, GridMixer):
    """The Mamba2D mixer, tokens of a grid ``(B, H W, d_model)`` -> the same shape.

    Keeps all states for the backward pass: ``H W d_inner d_state`` numbers per item.

    :param d_state: N, numbers of state per channel.
    :param d_conv: side of the depth-wise convolution before the recurrence, odd.
    :param expand: ``d_inner = expand * d_model``.
    """

    def __init__(
        self,
        d_model: int,
        d_state: Annotated[int, Field(ge=1)] = 8,
        d_conv: Annotated[int, Field(ge=1)] = 3,
        expand: Annotated[int, Field(ge=1)] = 2,
    ) -> None:
        if d_conv % 2 == 0:
            raise ValueError(f"d_conv={d_conv} must be odd, so that the grid keeps its size")
        super().__init__()
        d_inner = expand * d_model
        self.d_model = d_model
        self.in_proj = nn.Linear(d_model, 2 * d_inner, bias=False)
        self.conv2d = depthwise(d_inner, d_conv)
        self.left = Selection(d_inner, d_state, reads=True)
        self.top = Selection(d_inner, d_state)
        self.D = initial.protect(nn.Parameter(torch.ones(d_inner)))
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def float32_parameters(self) -> list[nn.Parameter]:
        """D."""
        return [self.D]

    @staticmethod
    def _step(select: Selection, dt: Tensor, b: Tensor, x: Tensor, shape: tuple[int, int]):  # type: ignore[no-untyped-def]
        """Decay and input of one direction, ``(B, H, W, d_inner, N)`` each, at least fp32."""
        dt = select.finished(dt)
        decay = torch.exp(dt[..., None] * select.A)
        written = (dt * x.to(dt.dtype))[..., None] * b.to(dt.dtype)[..., None, :]
        return decay.unflatten(1, shape), written.unflatten(1, shape)

    def mix(self, x: Tensor, shape: tuple[int, int]) -> Tensor:
        """See :meth:`GridMixer.mix`."""
        inner, z = self.in_proj(x).chunk(2, dim=-1)
        inner = F.silu(over_grid(self.conv2d, inner, shape))
        dt_left, b_left, c = self.left.choose(inner)
        dt_top, b_top = self.top.choose(inner)
        states = wavefront(
            self._step(self.left, dt_left, b_left, inner, shape),
            self._step(self.top, dt_top, b_top, inner, shape),
        ).flatten(1, 2)
        y = torch.einsum("bldn,bln->bld", states, c.to(states.dtype)) + self.D * inner
        return self.out_proj(y.to(inner.dtype) * F.silu(z))
