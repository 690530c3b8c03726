"""Which part of a selective scan a program computes."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def place(
    item, cu_seqlens, length, paths, groups, width,
    BLOCK: tl.constexpr, EVERY: tl.constexpr,
):  # fmt: skip
    """One sequence (or batch row), one path, one block of the channels of one group.

    Blocks come first, so that neighbours read the same B and C.

    :param width: channels of a group.
    :param EVERY: steps between two kept states.
    :returns: row (sequence), batch item, path, group, block (of all groups), channels ``[BLOCK]``
        (the last one again where there are no more, which ``live`` then denies), ``live``, first
        and one-past-last step, and the number of the first kept state.
    """
    per_group = tl.cdiv(width, BLOCK)
    blocks = per_group * groups
    block = item % blocks
    path = (item // blocks) % paths
    row = (item // blocks // paths).to(tl.int64)
    group = block // per_group
    inside = (block % per_group) * BLOCK + tl.arange(0, BLOCK)
    live = inside < width
    channels = (group * width + tl.minimum(inside, width - 1)).to(tl.int64)
    if cu_seqlens is None:
        batch = row
        first = tl.zeros((), tl.int32)
        end = first + length
        kept = row * tl.cdiv(length, EVERY)
    else:  # clamped: edges are not checked on the device, and must not lead out of the tensors
        batch = row * 0
        first = tl.minimum(tl.maximum(tl.load(cu_seqlens + row).to(tl.int32), 0), length)
        end = tl.minimum(tl.maximum(tl.load(cu_seqlens + row + 1).to(tl.int32), first), length)
        kept = first // EVERY + row
    return row, batch, path.to(tl.int64), group, block, channels, live, first, end, kept
