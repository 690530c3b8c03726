"""VMamba's mixer SS2D (Liu et al., 2401.10166): one convolution of the grid, a scan per path.

With ``x`` (and ``z``) from one projection and ``x`` through a depth-wise 3x3 convolution and
SiLU, path k is a Mamba-1 recurrence with its own dt, B, C, A and D along path k of an order::

    out = out_proj(norm(sum of the paths) [* silu(z)])
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core import scan_orders
from mamba_core.mixers import GridMixer, initial
from mamba_core.mixers.grid import depthwise, over_grid
from mamba_core.mixers.paths import check_parts, put, take
from mamba_core.mixers.selection import Selection
from mamba_kernels import ops


class SS2D(initial.KeepsFloat32, GridMixer):
    """The VMamba mixer, tokens of a grid ``(B, H W, d_model)`` -> the same shape.

    :param d_state: N, numbers of state per channel.
    :param expand: ``d_inner = expand * d_model``; VMamba's "ssm ratio".
    :param d_conv: side of the depth-wise convolution, odd.
    :param dt_rank: width of the projection behind dt; ``"auto"`` is ``ceil(d_model / 16)``.
    :param gated: multiply by ``silu(z)`` (the vanilla models); without, z is not computed.
    :param scan_order: the paths; those of a partition put each token in its place, others are
        added.
    """

    def __init__(
        self,
        d_model: int,
        d_state: Annotated[int, Field(ge=1)] = 1,
        expand: Annotated[int, Field(ge=1)] = 2,
        d_conv: Annotated[int, Field(ge=1)] = 3,
        dt_rank: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto",
        gated: bool = False,
        conv_bias: bool = False,
        scan_order: str = "cross",
    ) -> None:
        if d_conv % 2 == 0:
            raise ValueError(f"d_conv={d_conv} must be odd, so that the grid keeps its size")
        order = scan_orders.get(scan_order, dims=2)
        if not isinstance(order, scan_orders.NamedOrder) or order.folded:
            raise ValueError(f"scan_order={scan_order!r}: paths over the whole grid are needed")
        super().__init__()
        self.d_model, self.gated, self.order = d_model, gated, order
        d_inner = expand * d_model
        rank = math.ceil(d_model / 16) if dt_rank == "auto" else dt_rank
        self.in_proj = nn.Linear(d_model, (2 if gated else 1) * d_inner, bias=False)
        self.conv2d = depthwise(d_inner, d_conv, bias=conv_bias)
        self.paths = nn.ModuleList(
            Selection(d_inner, d_state, reads=True, dt_rank=rank) for _ in range(order.paths)
        )
        self.D = initial.protect(nn.Parameter(torch.ones(order.paths, d_inner)))
        self.out_norm = nn.LayerNorm(d_inner, eps=1e-5)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def float32_parameters(self) -> list[nn.Parameter]:
        """D; the paths keep their own."""
        return [self.D]

    def mix(self, x: Tensor, shape: tuple[int, int]) -> Tensor:
        """See :meth:`GridMixer.mix`."""
        inner, *gate = self.in_proj(x).chunk(2 if self.gated else 1, dim=-1)
        inner = F.silu(over_grid(self.conv2d, inner, shape))
        y = self.out_norm(self.merge_paths(self.scan(inner, shape), shape))
        return self.out_proj(y * F.silu(gate[0]) if gate else y)

    def scan(self, u: Tensor, shape: tuple[int, int]) -> Tensor:
        """Run all paths.

        :param u: ``(B, L, d_inner)``.
        :returns: ``(B, K, L, d_inner)`` in token order; of a partition ``(B, K, M, d_inner)``
            along its paths.
        """
        order = self.order(shape, device=u.device)
        chosen = [path.choose(u) for path in self.paths]  # type: ignore[operator]
        dt, b, c = (torch.stack(tensors, dim=1) for tensors in zip(*chosen, strict=True))
        if self.order.cover != "all":
            return self._scan_parts(u, dt, b, c, order)
        return self._recur(u, dt, b, c, order)

    def merge_paths(self, y: Tensor, shape: tuple[int, int]) -> Tensor:
        """Add the paths, or put the parts together: ``(B, K, ...)`` -> ``(B, L, d_inner)``."""
        if self.order.cover == "all":
            return y.sum(1)
        return put(y, self.order(shape, device=y.device), shape[0] * shape[1])

    def _scan_parts(self, u: Tensor, dt: Tensor, b: Tensor, c: Tensor, order: Tensor) -> Tensor:
        check_parts(order, u.shape[1])

        def along(t: Tensor) -> Tensor:
            return torch.stack(
                [take(t[:, k], order[k : k + 1])[:, 0] for k in range(len(order))], 1
            )

        straight = torch.arange(order.shape[1], device=u.device).expand(len(order), -1)
        return self._recur(take(u, order), along(dt), along(b), along(c), straight)

    def _recur(self, u: Tensor, dt: Tensor, b: Tensor, c: Tensor, order: Tensor) -> Tensor:
        y = ops.selective_scan(
            u.transpose(-1, -2),
            dt.transpose(-1, -2),
            torch.stack([path.A for path in self.paths]),  # type: ignore[misc]
            b.transpose(-1, -2),
            c.transpose(-1, -2),
            D=self.D,
            delta_bias=torch.stack([path.dt_proj.bias for path in self.paths]),  # type: ignore[union-attr,misc]
            delta_softplus=True,
            order=order,
        )
        assert isinstance(y, Tensor)
        return y.transpose(-1, -2)
