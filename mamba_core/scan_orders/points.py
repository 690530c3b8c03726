"""Orders of points and voxels: read off their coordinates, cloud by cloud.

Each is a :class:`~mamba_core.scan_orders.DataOrder`. Coordinates become whole numbers of a fixed
bit depth, relative to the cloud's own corner, so that nothing depends on the other clouds of a
batch. Points in one cell keep their own order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mamba_core.scan_orders.grid import interleave
from mamba_core.scan_orders.hilbert import hilbert_code
from mamba_registry.errors import ScanOrderError

Bits = Annotated[int, Field(ge=1, le=20)]

POINT_CYCLE = (
    "points-snake(xyz)|points-snake(xzy)|points-snake(yxz)|points-snake(yzx)|points-snake(zxy)"
    "|points-snake(zyx)|points-hilbert|points-morton|points-morton(yxz)"
)
"""Nine orders, one per layer in turn: the cycle of PCM (2403.00762), with paths that do not jump
where theirs do."""


class _PointOrder:
    """Sorts points by a key of their cells.

    :param axes: which coordinate leads, ``"xyz"`` or another arrangement of the letters.
    :param bits: cells along a side are ``2 ** bits``.
    :param cell: side of a cell in the points' unit; points beyond ``2 ** bits`` cells share the
        last one. None fits the cells to each cloud's longest side.
    """

    inputs: tuple[str, ...] = ("points",)

    def __init__(
        self, axes: str = "xyz", bits: Bits = 10, cell: Annotated[float, Field(gt=0)] | None = None
    ) -> None:
        if sorted(axes) != ["x", "y", "z"]:
            raise ScanOrderError(f"axes={axes!r}: each of x, y, z once, for instance 'xyz'")
        self.axes = ["xyz".index(letter) for letter in axes]
        self.bits, self.cell = bits, cell

    def __call__(self, context: Mapping[str, Tensor]) -> Tensor:
        """Return int64 ``(B, N)`` for points ``(B, N, 3)``, or ``(sum of N,)`` packed.

        Packed points ``(sum of N, 3)`` come with ``context["cu_seqlens"]``.
        """
        points = context["points"]
        _check_points(points)
        return _cloud_by_cloud(points, context.get("cu_seqlens"), self._order)

    def _order(self, cloud: Tensor) -> Tensor:
        """``(B, N, 3) -> (B, N)``."""
        if cloud.shape[-2] == 0:
            return torch.zeros(cloud.shape[:-1], dtype=torch.int64, device=cloud.device)
        digits = self.cells(cloud)
        return self.key([digits[..., axis] for axis in self.axes]).argsort(dim=-1, stable=True)

    def cells(self, cloud: Tensor) -> Tensor:
        """Return the cell of each point, int64 ``(B, N, 3)``, from 0 to ``2 ** bits - 1``."""
        last = 2**self.bits - 1
        if self.cell is not None:
            digits = torch.floor(cloud / self.cell).long()
            return (digits - digits.amin(-2, keepdim=True)).clamp(max=last)
        low = cloud.amin(-2, keepdim=True)
        side = (cloud - low).amax((-1, -2), keepdim=True)
        share = (cloud - low) / side.clamp(min=torch.finfo(cloud.dtype).tiny)
        return torch.floor(share * 2**self.bits).long().clamp(max=last)

    def key(self, digits: list[Tensor]) -> Tensor:
        """Return what the points are sorted by, int64 ``(B, N)``."""
        raise NotImplementedError


class PointHilbert(_PointOrder):
    """Along a three-dimensional Hilbert curve (PointMamba, 2402.10739).

    Their second curve, "trans", is ``axes="yxz"``; their model concatenates the two sequences.
    Their cells have a side of 0.02, and their
    bit depth is that of the largest cloud in the batch; here both are fixed.
    """

    def key(self, digits: list[Tensor]) -> Tensor:
        """See :meth:`_PointOrder.key`."""
        return hilbert_code(digits, self.bits)


class PointMorton(_PointOrder):
    """In z-order (PCM, 2403.00762); "z-order-trans" is ``axes="yxz"``."""

    def key(self, digits: list[Tensor]) -> Tensor:
        """See :meth:`_PointOrder.key`."""
        return interleave(digits, self.bits)


class PointSnake(_PointOrder):
    """Along a serpentine through the cells, the first letter of ``axes`` the slowest.

    What PCM (2403.00762) calls consistent traversal; sizes are the largest cell plus one. Cells
    are coarse by default: with fine ones the first axis alone would decide.
    """

    def __init__(
        self, axes: str = "xyz", bits: Bits = 4, cell: Annotated[float, Field(gt=0)] | None = None
    ) -> None:
        super().__init__(axes, bits, cell)

    def key(self, digits: list[Tensor]) -> Tensor:
        """See :meth:`_PointOrder.key`."""
        key = torch.zeros_like(digits[0])
        for digit in digits:
            size = digit.amax(-1, keepdim=True) + 1
            key = key * size + torch.where(key % 2 == 0, digit, size - 1 - digit)
        return key


class Octree(PointMorton):
    """In z-order of the octree's nodes of one depth (Point-Mamba, 2403.06467).

    :param depth: of the octree over the cloud's bounding cube.
    """

    def __init__(self, depth: Bits = 6) -> None:
        super().__init__(bits=depth)


class VoxelHilbert:
    """Voxels of integer coordinates along a Hilbert curve (Voxel Mamba, 2406.10700).

    :param bits: rank of the curve; 9, 8 and 7 at the three stages there.
    :param shift: added to every coordinate, the stage's shift there.
    """

    inputs: tuple[str, ...] = ("voxels",)

    def __init__(self, bits: Bits = 9, shift: Annotated[int, Field(ge=0)] = 0) -> None:
        self.bits, self.shift = bits, shift

    def __call__(self, context: Mapping[str, Tensor]) -> Tensor:
        """Return int64 ``(B, N)`` for voxels ``(B, N, 3)`` (z, y, x), or ``(sum of N,)`` packed.

        :raises ScanOrderError: for a coordinate outside the curve.
        """
        voxels = context["voxels"] + self.shift
        if voxels.numel() and (voxels.min() < 0 or voxels.max() >= 2**self.bits):
            raise ScanOrderError(
                f"voxel coordinates run from {int(voxels.min())} to {int(voxels.max())}; a curve "
                f"of {self.bits} bits holds 0 .. {2**self.bits - 1}"
            )

        def order(cloud: Tensor) -> Tensor:
            code = hilbert_code(list(cloud.long().unbind(-1)), self.bits)
            return code.argsort(dim=-1, stable=True)

        return _cloud_by_cloud(voxels, context.get("cu_seqlens"), order)


def _check_points(points: Tensor) -> None:
    if points.dim() not in (2, 3) or points.shape[-1] != 3 or not points.is_floating_point():
        raise ScanOrderError(
            f"points are {points.dtype} of shape {tuple(points.shape)}; floats (B, N, 3), or "
            "packed (sum of N, 3), belong here"
        )


def _cloud_by_cloud(
    points: Tensor, cu_seqlens: Tensor | None, order: Callable[[Tensor], Tensor]
) -> Tensor:
    """``(B, N, 3) -> (B, N)``; packed ``(sum of N, 3) -> (sum of N,)``, one cloud at a time."""
    if points.dim() == 3:
        return order(points)
    edges = [0, len(points)] if cu_seqlens is None else cu_seqlens.tolist()
    parts = [order(points[None, a:b])[0] + a for a, b in pairwise(edges)]
    return torch.cat(parts) if parts else points.new_zeros(0, dtype=torch.int64)
