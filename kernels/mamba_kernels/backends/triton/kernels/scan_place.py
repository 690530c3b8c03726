"""Which part of a selective scan a program computes, and what belongs to its channels."""

from __future__ import annotations

import triton
import triton.language as tl

from mamba_kernels.backends.triton.kernels.elementwise import LOG2E
from mamba_kernels.backends.triton.kernels.sequences import row_of_slot, sequence


@triton.jit
def place(
    item, cu_seqlens, length, rows, span, paths, groups, width,
    BLOCK: tl.constexpr, EVERY: tl.constexpr,
):  # fmt: skip
    """One sequence (or batch row) or a segment of it, one path, one block of a group's channels.

    Blocks come first, so that neighbours read the same B and C.

    :param rows: sequences or batch rows.
    :param span: steps of a segment, a multiple of EVERY; None: sequences are whole.
    :param width: channels of a group.
    :param EVERY: steps between two kept states.
    :returns: which of all sequences or segments, batch item, path, group, block (of all groups),
        channels ``[BLOCK]`` (the last one again where there are no more, which ``live`` then
        denies), ``live``, first and one-past-last step, and the number of the first kept state.
    """
    per_group = tl.cdiv(width, BLOCK)
    blocks = per_group * groups
    block = item % blocks
    path = (item // blocks) % paths
    piece = item // blocks // paths
    group = block // per_group
    inside = (block % per_group) * BLOCK + tl.arange(0, BLOCK)
    live = inside < width
    channels = (group * width + tl.minimum(inside, width - 1)).to(tl.int64)
    if span is None:
        batch, first, end, kept = sequence(piece, cu_seqlens, length, EVERY)
    else:
        row, number = row_of_slot(piece, cu_seqlens, length, rows, span)
        batch, begin, end, kept = sequence(row, cu_seqlens, length, EVERY)
        first = tl.minimum(begin + number * span, end)
        kept += (first - begin) // EVERY
        end = first + tl.minimum(end - first, span)
    return (
        piece.to(tl.int64),
        batch,
        path.to(tl.int64),
        group,
        block,
        channels,
        live,
        first,
        end,
        kept,
    )


@triton.jit
def by_channel(x, path, channels, at, BLOCK: tl.constexpr):
    """``x[path, channels]`` in float32, zero when x is absent."""
    if x is None:
        return tl.zeros([BLOCK], tl.float32)
    return tl.load(x + path * at[0] + channels * at[1]).to(tl.float32)


@triton.jit
def rates(A, path, channels, n, there, at):
    """``A[path, channels, n]`` in base two, zero where not ``there``."""
    pointers = A + path * at[0] + channels[:, None] * at[1] + n[None, :] * at[2]
    return tl.load(pointers, mask=there, other=0.0).to(tl.float32) * LOG2E


@triton.jit
def states(x, piece, path, channels, n, there, at):
    """``x[piece, path, channels, n]`` in float32, zero where not ``there``."""
    pointers = x + piece * at[0] + path * at[1]
    pointers = pointers + channels[:, None] * at[2] + n[None, :] * at[3]
    return tl.load(pointers, mask=there, other=0.0).to(tl.float32)
