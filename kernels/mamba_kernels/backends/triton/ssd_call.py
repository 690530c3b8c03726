"""A call of SSD: its tensors, its sizes, and how the kernels are to be built for them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton.language as tl
from torch import Tensor

from mamba_kernels.backends.triton.launch import fast, interpreted, power_of_two, roomy, strides

STATE_ROWS = 64  # rows of a state in one program


class Call(NamedTuple):
    """The call without its sequence numbers, and its sizes."""

    x: Tensor
    dt: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    z: Tensor | None
    dt_bias: Tensor | None
    initial: Tensor | None
    softplus: bool
    low: float
    high: float
    order: Tensor | None
    cu_seqlens: Tensor | None
    backward: bool

    @property
    def batch(self) -> int:
        return self.x.shape[0]

    @property
    def rows(self) -> int:
        """Batch items, or packed sequences."""
        return self.batch if self.cu_seqlens is None else self.cu_seqlens.shape[0] - 1

    @property
    def paths(self) -> int:
        return 1 if self.order is None else self.order.shape[-2]

    @property
    def length(self) -> int:
        return self.x.shape[-3]

    @property
    def heads(self) -> int:
        return self.x.shape[-2]

    @property
    def groups(self) -> int:
        return max(self.B.shape[-2], self.C.shape[-2])

    @property
    def chunk(self) -> int:
        """Shorter where the tiles of a longer one would not fit in registers and shared memory."""
        wide = self.B.shape[-1] > 128 or self.x.shape[-1] > 64
        short = self.products == tl.float32 or wide or (self.backward and not roomy())
        return 32 if short else 64

    @property
    def slots(self) -> int:
        if self.cu_seqlens is None:
            return self.batch * -(-self.length // self.chunk)
        return self.length // self.chunk + self.rows

    @property
    def products(self) -> Any:
        """The dtype in which tensor cores multiply; sums are always float32."""
        dtypes = {self.x.dtype, self.B.dtype, self.C.dtype}
        if dtypes == {torch.float16}:
            return tl.float16
        # the interpreter multiplies bfloat16 wrongly
        return tl.bfloat16 if dtypes == {torch.bfloat16} and not interpreted() else tl.float32

    @property
    def kept(self) -> torch.dtype:
        """The dtype of states between kernels, which only products read."""
        names = {tl.float16: torch.float16, tl.bfloat16: torch.bfloat16}
        return names.get(self.products, torch.float32)

    @property
    def state_shape(self) -> tuple[int, ...]:
        return (self.paths, self.heads, self.x.shape[-1], self.B.shape[-1])

    def inside(self, rows: int, columns: int) -> dict[str, int]:
        """Tiles inside the chunks: places of a head, and states, that are multiplied at a time.

        :param rows: at most so many, and columns; half of it in float32, of whose factors products
            hold three parts.
        """
        half = self.products != tl.float32
        rows, columns = (rows, columns) if half else (rows // 2, columns // 2)
        return {
            "ROWS": max(16, min(rows, power_of_two(self.x.shape[-1]))),
            "COLUMNS": max(16, min(columns, power_of_two(self.B.shape[-1]))),
        }

    @property
    def between(self) -> dict[str, int]:
        """Tiles from chunk to chunk: rows of a state with all their columns, and enough warps that
        they take at most 64 registers of a thread, in float32 half of it (as in ``inside``)."""
        columns = max(16, power_of_two(self.B.shape[-1]))
        single = self.products == tl.float32
        rows = min(
            STATE_ROWS, power_of_two(self.x.shape[-1]), (8192 if single else 16384) // columns
        )
        rows = max(16, rows)
        large = rows * columns > (4096 if single else 8192)
        return {"ROWS": rows, "COLUMNS": columns, "num_warps": 8 if large else 4}

    @property
    def constants(self) -> dict[str, Any]:
        p, n = self.x.shape[-1], self.B.shape[-1]
        return {
            "P": p,
            "N": n,
            "CHUNK": self.chunk,
            "SOFTPLUS": self.softplus,
            "FAST": fast(),
            "DOT": self.products,
            # three products of 11 bits make one of 24; AMD's units have no such mode
            "PRECISION": "tf32x3" if fast() else "ieee",
        }

    def tokens(self, t: Tensor | None) -> tuple[int, ...]:
        """Strides (batch, path, step, head, inner) of x, z or an output."""
        return strides(t, 5, paths=True)

    def grouped(self, t: Tensor) -> tuple[int, ...]:
        """Strides of B or C; the group's is 0 where all heads share one."""
        at = strides(t, 5, paths=True)
        return (*at[:3], at[3] if t.shape[-2] > 1 else 0, at[4])

    def skip(self) -> tuple[int, ...]:
        """Strides (path, head, inner) of D."""
        if self.D is None or self.D.dim() == 3:
            return strides(self.D, 3, paths=False)
        return (0, *self.D.stride()) if self.D.dim() == 2 else (0, self.D.stride(0), 0)
