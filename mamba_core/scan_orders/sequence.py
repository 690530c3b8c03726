"""Orders that every shape has: forward, backward, in turns, shuffled."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mamba_core.scan_orders.grid import Device, arithmetic, by_keys, ids


@arithmetic
def raster(shape: tuple[int, ...], *, device: Device = "cpu") -> Tensor:
    """Tokens as they lie in memory: ``p[k] = k``.

    On a video ``(T, H, W)`` this is "spatial first": all patches of a frame, then the next.

    :returns: int64 ``(1, L)``.
    """
    return torch.arange(math.prod(shape), device=device)[None]


@arithmetic
def reverse(shape: tuple[int, ...], *, device: Device = "cpu") -> Tensor:
    """Last token first: ``p[k] = L - 1 - k``.

    :returns: int64 ``(1, L)``.
    """
    return raster(shape, device=device).flip(-1)


@arithmetic
def bidirectional(shape: tuple[int, ...], *, device: Device = "cpu") -> Tensor:
    """Two paths, forward and backward, as in Vim (Zhu et al., 2401.09417).

    :returns: int64 ``(2, L)``.
    """
    forward = raster(shape, device=device)
    return torch.cat([forward, forward.flip(-1)])


def partial_flip(
    shape: tuple[int, ...], *, device: Device = "cpu", keep: Annotated[int, Field(ge=0)] = 5
) -> Tensor:
    """The first ``L - keep`` tokens backwards, then the last ``keep`` as they are.

    SIGMA (2408.11451) turns old purchases and keeps the recent ones; here each sequence is cut
    by its own true length.

    :param keep: r, tokens at the end that stay; a sequence of up to r tokens stays whole.
    :returns: int64 ``(1, L)``.
    """
    forward = raster(shape, device=device)
    turned = max(forward.shape[-1] - keep, 0)
    return torch.cat([forward[:, :turned].flip(-1), forward[:, turned:]], dim=-1)


def inter_slice(
    shape: tuple[int, ...], *, device: Device = "cpu", slices: Annotated[int, Field(ge=1)] = 4
) -> Tensor:
    """The first token of every slice, then the second of every slice, and so on.

    Slices are ``ceil(L / slices)`` consecutive tokens; the last may be short. SegMamba's third
    pass (2401.13560); with one slice per frame the third pass of Vivim (2401.14168).

    :returns: int64 ``(1, L)``.
    """
    tokens = raster(shape, device=device)[0]
    size = -(-len(tokens) // slices)
    return by_keys(tokens % size, tokens // size)


def shuffle(
    shape: tuple[int, ...], *, device: Device = "cpu", seed: Annotated[int, Field(ge=0)] = 0
) -> Tensor:
    """A fixed random order: equal for equal seed and length, on every device and in every run.

    RSMamba (2403.19654) adds one to the forward and the backward pass; theirs draws anew in
    evaluation too.

    :param seed: another seed, another order; give each layer its own
        (``"shuffle(seed=1)|shuffle(seed=2)"``).
    :returns: int64 ``(1, L)``.
    """
    return _drawn(math.prod(shape), seed).to(device)[None]


def shuffle_rows(
    shape: tuple[int, ...], *, device: Device = "cpu", seed: Annotated[int, Field(ge=0)] = 0
) -> Tensor:
    """The rows of the first axis in a fixed random order, each row as it is.

    On tokens ``(variates, patches)`` this is MambaTS's variable permutation (2405.16440) for
    one seed; a fresh one per sample is the data order ``sorted(variate_rank)``.

    :returns: int64 ``(1, L)``.
    """
    rows = _drawn(shape[0], seed).to(device)
    return ids(shape, device).flatten(1)[rows].flatten()[None] if len(shape) > 1 else rows[None]


def _drawn(length: int, seed: int) -> Tensor:
    # on the CPU, because generators of other devices give other numbers
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randperm(length, generator=generator, device="cpu")
