"""LocalMamba's mixer (Huang et al., 2403.09338): windows among the paths, a gate on each.

Four scans between one pair of projections, each with a causal convolution of its own along its
path; what a path gives is weighed channel by channel before the sum::

    w_k = sigmoid(W_2 gelu(W_1 mean over tokens of norm(y_k)))
    out = out_proj(sum_k w_k * y_k),    y_k = scan_k(x) * silu(z)
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core import scan_orders
from mamba_core.mixers import GridMixer, Mamba1

LOCAL_ORDER = "raster+raster:T+window(2)+window(7):reverse"
"""Rows, columns, windows of 2, and windows of 7 backwards."""


class ChannelGate(nn.Module):
    """Weights per channel from the mean over all tokens, shared by the paths."""

    def __init__(self, channels: int, ratio: float = 0.125) -> None:
        super().__init__()
        hidden = max(round(channels * ratio), 1)
        self.norm = nn.LayerNorm(channels, eps=1e-5)
        self.reduce = nn.Linear(channels, hidden)
        self.select = nn.Linear(hidden, channels)

    def forward(self, y: Tensor) -> Tensor:
        """``(B, K, L, C)`` -> the same shape."""
        mean = self.norm(y).mean(-2, keepdim=True)
        return y * self.select(F.gelu(self.reduce(mean))).sigmoid()


class LocalScan(GridMixer):
    """LocalMamba's mixer, tokens of a grid ``(B, H W, d_model)`` -> the same shape.

    :param d_state: N, numbers of state per channel.
    :param d_conv: width of the causal convolutions along the paths.
    :param expand: ``d_inner = expand * d_model``.
    :param scan_order: the paths, each over the whole grid. A window larger than the grid, as on
        the last maps of a hierarchy, reads it as one window.
    """

    def __init__(
        self,
        d_model: int,
        d_state: Annotated[int, Field(ge=1)] = 16,
        d_conv: Annotated[int, Field(ge=2)] = 4,
        expand: Annotated[int, Field(ge=1)] = 2,
        scan_order: str = LOCAL_ORDER,
    ) -> None:
        super().__init__()
        order = scan_orders.get(scan_order, dims=2)
        if not isinstance(order, scan_orders.NamedOrder) or order.cover != "all" or order.folded:
            raise ValueError(f"scan_order={scan_order!r}: paths that each read the whole grid")
        self.d_model, self.order = d_model, order
        self.mixer = Mamba1(d_model, d_state=d_state, d_conv=d_conv, expand=expand)
        self.others = nn.ModuleList(self.mixer.make_path() for _ in range(order.paths - 1))
        self.gate = ChannelGate(expand * d_model)

    def mix(self, x: Tensor, shape: tuple[int, int]) -> Tensor:
        """See :meth:`GridMixer.mix`."""
        inputs, z = self.mixer.project(x)
        order = self.order(shape, device=x.device)
        y, _ = self.mixer.scan(inputs, order=order, paths=[self.mixer, *self.others])  # type: ignore[list-item]
        gated = self.gate(y * F.silu(z)[:, None])
        return self.mixer.out_proj(gated.sum(1))
