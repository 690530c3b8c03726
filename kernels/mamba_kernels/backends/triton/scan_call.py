"""A call of the selective scan: its tensors, its sizes, and how programs share them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mamba_kernels.backends.triton.launch import power_of_two, strides, tiled

EVERY = 64  # steps between two states that are kept for backward
BLOCK = 32  # channels of a program


class Scan(NamedTuple):
    """The tensors of a call, as the op takes them, and its sizes."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    z: Tensor | None
    delta_bias: Tensor | None
    initial_state: Tensor | None
    delta_softplus: bool
    order: Tensor | None
    cu_seqlens: Tensor | None

    @property
    def batch(self) -> int:
        return self.u.shape[0]

    @property
    def rows(self) -> int:
        """Batch items, or packed sequences."""
        return self.batch if self.cu_seqlens is None else self.cu_seqlens.shape[0] - 1

    @property
    def paths(self) -> int:
        return 1 if self.order is None else self.order.shape[-2]

    @property
    def groups(self) -> int:
        grouped = 4 if self.order is None else 5
        return max(x.shape[-3] if x.dim() == grouped else 1 for x in (self.B, self.C))

    @property
    def channels(self) -> int:
        return self.A.shape[-2]

    @property
    def width(self) -> int:
        """Channels of a group."""
        return self.channels // self.groups

    @property
    def n(self) -> int:
        return self.A.shape[-1]

    @property
    def length(self) -> int:
        return self.u.shape[-1]

    @property
    def plain(self) -> bool:
        """Whether nothing permutes or cuts the time."""
        return self.order is None and self.cu_seqlens is None

    def slots(self, size: int) -> int:
        """Pieces of ``size`` steps into which all rows are cut."""
        if self.cu_seqlens is None:
            return self.batch * -(-self.length // size)
        return self.length // size + self.rows

    def blocks(self, block: int) -> int:
        """Blocks of so many channels, none of them in two groups."""
        return self.groups * -(-self.width // block)

    def ragged(self, steps: int) -> bool:
        """Whether rounds of so many steps may reach behind an end."""
        return self.cu_seqlens is not None or self.length % steps > 0

    def tiled(self, *tensors: Tensor | None) -> tuple[bool, ...]:
        return tuple(tiled(x, self.length, plain=self.plain) for x in tensors)

    def by_state(self, x: Tensor) -> Tensor:
        """B or C as float32, ``(batch, paths, groups, length, N)`` contiguous."""
        if self.order is None:
            x = x.unsqueeze(1)
        if x.dim() == 4:
            x = x.unsqueeze(2)
        return x.transpose(-1, -2).to(torch.float32).contiguous()

    @property
    def forward(self) -> dict[str, Any]:
        """How a program of one warp keeps its states within its threads, and steps in a round."""
        part = power_of_two(self.n)
        tiles = part if part <= 4 else max(4, min(8, part // 4))
        return {
            "N": self.n,
            "TILES": tiles,
            "PART": part // tiles,
            "BLOCK": max(1, min(BLOCK, BLOCK * tiles * 4 // part)),
            "STEPS": 8 if part <= 16 else 4 if part <= 128 else 2,
            "num_warps": 1,
        }

    @property
    def backward(self) -> dict[str, Any]:
        """Fewer channels, and fewer steps in a round, where one channel has more states: the
        states of all steps are in registers, four or eight of each in a thread."""
        part = power_of_two(self.n)
        block = BLOCK if part <= 32 else 16 if part <= 128 else 8
        return {
            "N": self.n,
            "PART": part,
            "BLOCK": block,
            "STEPS": 4 if part <= 64 else 2,
            "num_warps": max(1, min(8, block * part // 128)),
        }


def at(x: Tensor | None) -> tuple[int, ...]:
    """Strides (batch or row, path, channel, step or state)."""
    return strides(x, 4, paths=True)
