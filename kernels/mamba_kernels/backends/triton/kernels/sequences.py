"""Where the sequences of a call lie in time, and the pieces that they are cut into.

Pieces are numbered by slots. A packed sequence s takes slots from ``cu_seqlens[s] // SIZE + s`` on:
enough for every sequence whatever their lengths, so that the host need not know them. Slots that
are left over are pieces without steps.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sequence(row, cu_seqlens, length, size):
    """Batch item, first and one-past-last step, and first slot of a row or packed sequence.

    :param size: steps of a piece.
    """
    if cu_seqlens is None:
        batch = row.to(tl.int64)
        first = tl.zeros((), tl.int32)
        end = first + length
        slot = batch * tl.cdiv(length, size)
    else:  # clamped: edges are not checked on the device, and must not lead out of the tensors
        batch = row.to(tl.int64) * 0
        first = tl.minimum(tl.maximum(tl.load(cu_seqlens + row).to(tl.int32), 0), length)
        end = tl.minimum(tl.maximum(tl.load(cu_seqlens + row + 1).to(tl.int32), first), length)
        slot = (first // size + row).to(tl.int64)
    return batch, first, end, slot


@triton.jit
def row_of_slot(slot, cu_seqlens, length, rows, size):
    """The row or packed sequence that a slot belongs to, and the number of its piece in there."""
    if cu_seqlens is None:
        per_row = tl.cdiv(length, size)
        row = slot // per_row
        number = slot % per_row
    else:  # the last sequence whose slots begin here or before, by bisection
        row = slot * 0
        above = row + rows
        while above - row > 1:
            middle = (row + above) // 2
            edge = tl.minimum(tl.maximum(tl.load(cu_seqlens + middle).to(tl.int32), 0), length)
            begins = edge // size + middle <= slot
            row = tl.where(begins, middle, row)
            above = tl.where(begins, above, middle)
        _, _, _, base = sequence(row, cu_seqlens, length, size)
        number = slot - base.to(tl.int32)
    return row, number
