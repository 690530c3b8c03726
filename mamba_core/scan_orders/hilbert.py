"""Space-filling curves: Hilbert in two forms and three dimensions, and Morton."""

from __future__ import annotations

import torch
from torch import Tensor

from mamba_core.scan_orders.continuity import Continuity, continuous
from mamba_core.scan_orders.grid import (
    Device,
    bits_for,
    by_keys,
    coordinates,
    ids,
    interleave,
    through,
)


def _hilbert_continuity(shape: tuple[int, ...]) -> Continuity:
    longer, shorter = max(shape), min(shape)
    return "king" if longer % 2 and not shorter % 2 else "unit"


@continuous(_hilbert_continuity)
def hilbert(shape: tuple[int, int], *, device: Device = "cpu") -> Tensor:
    """Generalised Hilbert curve of any H x W ("gilbert").

    ZigMa (2403.13802) uses the routine in an ablation, with order and rank exchanged; this is
    the curve. At most one step is diagonal, when the longer side is odd and the shorter even.

    :returns: int64 ``(1, L)``.
    """
    height, width = shape
    if height >= width:
        i, j = _Gilbert(device).walk(height, width, 1, 1).long()
    else:
        j, i = _Gilbert(device).walk(width, height, 1, 1).long()
    return (i * width + j)[None]


class _Gilbert:
    """The recursion, with the walk through every kind of rectangle made once.

    Among all rectangles of one depth there are only a few different ones, so a table of L
    tokens costs a few joins of tensors and no loop over tokens or rectangles.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._known: dict[tuple[int, int, int, int], Tensor] = {}

    def walk(self, w: int, h: int, sign_a: int, sign_b: int) -> Tensor:
        """Walk a rectangle of w cells along its main axis a and h along b.

        :param sign_a, sign_b: whether the axes run up or down the grid: halves of odd sides
            are rounded down in the grid's direction.
        :returns: int32 ``(2, w h)``, cells along a and along b from the start.
        """
        key = (w, h, sign_a, sign_b)
        if key not in self._known:
            self._known[key] = self._walk(*key)
        return self._known[key]

    def _walk(self, w: int, h: int, sign_a: int, sign_b: int) -> Tensor:
        if w == 1 or h == 1:
            line = torch.arange(w * h, dtype=torch.int32, device=self._device)
            rest = torch.zeros_like(line)
            return torch.stack([line, rest] if h == 1 else [rest, line])
        half_w, half_h = abs(sign_a * w >> 1), abs(sign_b * h >> 1)
        if 2 * w > 3 * h:
            half_w += half_w % 2 if w > 2 else 0
            second = self.walk(w - half_w, h, sign_a, sign_b)
            return torch.cat([self.walk(half_w, h, sign_a, sign_b), _moved(second, half_w, 0)], 1)
        half_h += half_h % 2 if h > 2 else 0
        up = self.walk(half_h, half_w, sign_b, sign_a).flip(0)
        across = _moved(self.walk(w, h - half_h, sign_a, sign_b), 0, half_h)
        down = self.walk(half_h, w - half_w, -sign_b, -sign_a).flip(0)
        return torch.cat([up, across, _moved(-down, w - 1, half_h - 1)], dim=1)


def _moved(walk: Tensor, along_a: int, along_b: int) -> Tensor:
    return walk + walk.new_tensor([[along_a], [along_b]])


@continuous(_hilbert_continuity)
def hilbert8(shape: tuple[int, int], *, device: Device = "cpu") -> Tensor:
    """The Hilbert curve and its transpose, each turned by 0, 90, 180 and 270 degrees.

    ZigMa's eight variants (2403.13802), one per layer with ``merge="none"``.

    :returns: int64 ``(8, L)``.
    """
    grid = ids(shape, device)
    views = [torch.rot90(grid, k) for k in range(4)]
    views += [view.T for view in views]
    return torch.cat([through(v, lambda s: hilbert((s[0], s[1]), device=device)) for v in views])


def _square_continuity(shape: tuple[int, ...]) -> Continuity:
    return "unit" if shape[0] == shape[1] and shape[0].bit_count() == 1 else "jumps"


@continuous(_square_continuity)
def hilbert_square(shape: tuple[int, int], *, device: Device = "cpu") -> Tensor:
    """Hilbert's own curve of the enclosing square of side ``2^k``, cells outside left out.

    :returns: int64 ``(1, L)``.
    """
    side = 1 << bits_for(max(shape))
    y, x = coordinates(shape, device)
    distance = torch.zeros_like(x)
    s = side // 2
    while s:
        rx, ry = (x & s > 0).long(), (y & s > 0).long()
        distance = distance + s * s * ((3 * rx) ^ ry)
        mirrored = (ry == 0) & (rx == 1)
        x, y = torch.where(mirrored, side - 1 - x, x), torch.where(mirrored, side - 1 - y, y)
        x, y = torch.where(ry == 0, y, x), torch.where(ry == 0, x, y)
        s //= 2
    return by_keys(distance)


def _cube_continuity(shape: tuple[int, ...]) -> Continuity:
    return "unit" if len(set(shape)) == 1 and shape[0].bit_count() == 1 else "jumps"


@continuous(_cube_continuity)
def hilbert3d(
    shape: tuple[int, int, int], *, device: Device = "cpu", trans: bool = False
) -> Tensor:
    """Hilbert curve of the enclosing cube of side ``2^b``, cells outside left out.

    :param trans: exchange the first two axes before encoding, PointMamba's second curve
        (2402.10739).
    :returns: int64 ``(1, L)``.
    """
    digits = coordinates(shape, device)
    if trans:
        digits[0], digits[1] = digits[1], digits[0]
    return by_keys(hilbert_code(digits, bits_for(max(shape))))


def hilbert_code(digits: list[Tensor], bits: int) -> Tensor:
    """Number points along a Hilbert curve (Skilling 2004), in any dimension.

    :param digits: int64 ``(...)`` each, below ``2 ** bits``.
    :returns: int64 ``(...)``; ``bits * len(digits)`` must stay below 63.
    """
    x = list(digits)
    for bit in range(bits - 1, 0, -1):
        q, p = 1 << bit, (1 << bit) - 1
        for i in range(len(x)):
            mirrored = x[i] & q > 0
            exchanged = (x[0] ^ x[i]) & p
            head = torch.where(mirrored, x[0] ^ p, x[0] ^ exchanged)
            x[i] = torch.where(mirrored, x[i], x[i] ^ exchanged) if i else head
            x[0] = head
    for i in range(1, len(x)):
        x[i] = x[i] ^ x[i - 1]
    t = torch.zeros_like(x[0])
    for bit in range(bits - 1, 0, -1):
        t = torch.where(x[-1] & (1 << bit) > 0, t ^ ((1 << bit) - 1), t)
    return interleave([digit ^ t for digit in x], bits)


def morton(shape: tuple[int, ...], *, device: Device = "cpu") -> Tensor:
    """Z-order: sorted by the interleaved bits of the coordinates, the first axis leading.

    In two and three dimensions the z-order of PCM (2403.00762).

    :returns: int64 ``(1, L)``.
    """
    return by_keys(interleave(coordinates(shape, device), bits_for(max(shape))))
