"""Selective scan in segments of time, where whole sequences would leave most of a GPU idle.

A program is sequential in time and takes few channels, so that a batch of one long sequence keeps
only some multiprocessors busy. Then time is cut into segments that are computed at once, each from
the state that enters it. Those states cost a second pass over all decays (:func:`between`).
"""

from __future__ import annotations

from torch import Tensor

from mamba_kernels.backends.triton.kernels.scan_segments import between_segments, segment_ends
from mamba_kernels.backends.triton.launch import fast, strides
from mamba_kernels.backends.triton.scan_call import EVERY, Scan, at

FULL = 4  # warps that keep a multiprocessor busy: one for each of its schedulers
SHORTEST = 256  # steps of a segment; shorter ones spend their time on what is between them
FEWEST = 4  # segments that pay for the second pass and for its launches
BLOCK = 128  # elements of states in one program between the segments
TOGETHER = 8  # segments that it reads at once


def span_of(warps: int, steps: int, multiprocessors: int) -> int | None:
    """Steps of a segment, or None where sequences had better stay whole.

    Whole where the programs fill half of the schedulers: the second pass costs as many exponentials
    as the first, so that twice the warps would win nothing. Else as many segments as fill the
    schedulers twice, one warp computing while the other waits for memory. The number of states
    needs no rule of its own: it is in the warps, since more states make a program take fewer
    channels (forward) or more warps (backward).

    :param warps: of all programs when sequences stay whole, ``batch * paths * blocks of channels *
        warps of a program``.
    :param steps: of a sequence, the mean where they are packed.
    :param multiprocessors: of the GPU; 0 where nothing runs at once.
    """
    if 2 * warps >= FULL * multiprocessors:
        return None
    span = max(SHORTEST, -(-warps * steps // (2 * FULL * multiprocessors)))
    span = -(-span // EVERY) * EVERY
    return span if steps >= FEWEST * span else None


def between(
    call: Scan,
    span: int,
    x: Tensor,
    weight: Tensor,
    outer: Tensor | None,
    last: Tensor | None,
    *,
    reverse: bool,
) -> Tensor:
    """The states that enter the segments, ``(segments, paths, channels, N)`` in float32.

    :param x: u; with ``reverse`` the gradient by the outputs, and the results are the gradients by
        the states that leave the segments.
    :param weight: B (with ``reverse`` C) as ``Scan.by_state`` gives it.
    :param outer: the states that enter the rows; with ``reverse`` the gradients by the last ones.
    :param last: filled with the states behind the rows, or the gradients by those before them.
    """
    slots, z = call.slots(span), call.z if reverse else None
    ends = weight.new_empty((slots, call.paths, call.channels, call.n))
    elapsed, entering = weight.new_empty(ends.shape[:3]), weight.new_empty(ends.shape)
    tiling = call.forward
    rates_at = strides(call.A, 3, paths=False)
    segment_ends[(slots * call.paths * call.blocks(tiling["BLOCK"]),)](
        x, call.delta, call.A, weight, z, call.delta_bias, call.order, call.cu_seqlens,
        ends, elapsed,
        at(x), at(call.delta), rates_at, at(z), strides(call.delta_bias, 2, paths=False),
        strides(call.order, 3, paths=False),
        call.length, call.rows, span, call.paths, call.groups, call.width, weight.shape[2],
        SOFTPLUS=call.delta_softplus, FAST=fast(), RAGGED=call.ragged(tiling["STEPS"]),
        REVERSED=reverse, TILED=call.tiled(x, call.delta, z), **tiling,
    )  # fmt: skip
    programs = call.rows * call.paths * -(-call.channels * call.n // BLOCK)
    between_segments[(programs,)](
        ends, elapsed, call.A, outer, call.cu_seqlens, entering, last,
        rates_at, at(outer), call.length, span, call.paths, call.channels,
        N=call.n, BLOCK=BLOCK, TOGETHER=TOGETHER, REVERSED=reverse, num_warps=1,
    )  # fmt: skip
    return entering
