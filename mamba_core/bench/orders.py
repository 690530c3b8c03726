"""Scan orders: looking a table up, building one, and scanning along four paths at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from mamba_core import scan_orders
from mamba_core.bench.clock import clock_of
from mamba_core.bench.measure import Case, Contender, Verdict
from mamba_core.bench.problem import BOUNDS
from mamba_core.bench.scan import Dtype
from mamba_core.config import STRICT
from mamba_core.registry import ScanOrderError
from mamba_kernels import ops

PEERS: Mapping[str, Any] = {}
DEVICES = ("cpu", "cuda")
Count = Annotated[int, Field(ge=1)]
LOOKUPS = 1000
"""Per timed call: the milliseconds of a ``lookup`` row are microseconds per lookup."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """Sizes of the grids, and of the scan."""

    lookup: tuple[str, ...] = ("hilbert", "hilbert:reverse", "raster+raster:T")
    """Orders that are looked up."""
    build: tuple[str, ...] = ("hilbert", "window(7)", "zigzag8")
    """Orders that are built."""
    side: Count = 1024
    """Of the grid that is built."""
    grid: Count = 56
    """Side of the grid that is scanned."""
    channels: Count = 96
    """D."""
    state: Count = 16
    """N."""
    batch: Count = 1
    """Grids that are scanned at once."""
    dtype: Dtype = "float32"
    """Of the tokens of the scan."""


def cases(config: Config, against: Sequence[str], device: torch.device) -> Iterator[Case]:
    """Lookup of remembered tables, building, and the cross-scan forward and with backward.

    Only the scans are on the device.
    """
    for name in config.lookup:
        yield _lookup(name)
    shape = (config.side, config.side)
    for name in config.build:
        yield _build(name, shape)
    for backward in (False, True):
        yield _cross_scan(config, backward, device)


def _lookup(name: str) -> Case:
    shape = (14, 14)
    order = _order(name)

    def known() -> Tensor:
        for _ in range(LOOKUPS - 1):
            order(shape)
        return order(shape)

    def by_text() -> Tensor:
        for _ in range(LOOKUPS - 1):
            _order(name)(shape)
        return _order(name)(shape)

    contenders = (Contender("order(shape)", known), Contender("get(text)(shape)", by_text))
    return Case(f"lookup {name}", {"lookups": LOOKUPS}, contenders, _judge_order(14 * 14))


def _build(name: str, shape: tuple[int, int]) -> Case:
    order = _order(name)

    def build() -> Tensor:
        return order.build(shape)

    size = {"H": shape[0], "W": shape[1]}
    contenders = (Contender("build", build),)
    return Case(f"build {name}", size, contenders, _judge_order(shape[0] * shape[1]))


def _order(name: str) -> scan_orders.NamedOrder:
    order = scan_orders.get(name)
    if not isinstance(order, scan_orders.NamedOrder):
        raise ValueError(f"{name!r} is no order of the shape: nothing to look up by a grid")
    return order


def _judge_order(length: int) -> Callable[[Tensor], Verdict]:
    def judge(table: Tensor) -> Verdict:
        try:
            scan_orders.check_order(table, length)
        except ScanOrderError as error:
            return Verdict(complaint=str(error))
        return Verdict()

    return judge


def _cross_scan(config: Config, backward: bool, device: torch.device) -> Case:
    """Four paths summed: the order inside the op, or permuted copies as four groups of channels."""
    order = _order("cross")((config.grid, config.grid)).to(device)
    dtype = getattr(torch, config.dtype)
    tokens, per_path = _scan_inputs(config, order.shape[1])
    inputs = [*(t.to(device, dtype) for t in tokens), *(t.to(device) for t in per_path)]

    def solved(scan: Callable[..., Tensor], leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
        given = [t.detach().requires_grad_(backward) for t in leaves]
        y = scan(order, *given)
        if not backward:
            return (y,)
        return (y, *torch.autograd.grad(y.square().sum(), given))

    exact = [t.detach() for t in solved(_permuted, [t.double() for t in inputs])]
    bound = BOUNDS[dtype]

    def judge(results: tuple[Tensor, ...]) -> Verdict:
        errors = [
            float((got.detach().double() - true).abs().max() / true.abs().max())
            for got, true in zip(results, exact, strict=True)
        ]
        worst = max(errors)
        complaint = None if worst <= bound else f"relative error {worst:.2g} above {bound:g}"
        return Verdict(worst, complaint)

    contenders = (
        Contender("permute + scan + merge", lambda: solved(_permuted, inputs)),
        Contender("order in the op", lambda: solved(_fused, inputs)),
    )
    name = "cross-scan forward+backward" if backward else "cross-scan forward"
    size = {"K": 4, "H": config.grid, "W": config.grid, "D": config.channels, "N": config.state}
    size |= {"B": config.batch}
    return Case(name, size, contenders, judge, bound, clock_of(device))


def _scan_inputs(config: Config, length: int) -> tuple[list[Tensor], list[Tensor]]:
    """u, delta, B, C of tokens, in token order, and A, D of a fresh layer; four paths."""
    generator = torch.Generator().manual_seed(0)
    batch, channels, state = config.batch, config.channels, config.state

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    tokens = [
        normal(batch, channels, length),
        normal(batch, 4, channels, length) - 4,
        normal(batch, 4, state, length),
        normal(batch, 4, state, length),
    ]
    return tokens, [-torch.arange(1.0, state + 1).repeat(4, channels, 1), torch.ones(4, channels)]


def _fused(
    order: Tensor, u: Tensor, delta: Tensor, B: Tensor, C: Tensor, A: Tensor, D: Tensor
) -> Tensor:
    y = ops.selective_scan(u, delta, A, B, C, D=D, delta_softplus=True, order=order)
    assert isinstance(y, Tensor)
    return y.sum(1)


def _permuted(
    order: Tensor, u: Tensor, delta: Tensor, B: Tensor, C: Tensor, A: Tensor, D: Tensor
) -> Tensor:
    """As VMamba's code does it: copies along each path, one scan in four groups, put back."""
    y = ops.selective_scan(
        u[:, :, order].transpose(1, 2).flatten(1, 2),
        _along(delta, order).flatten(1, 2),
        A.flatten(0, 1),
        _along(B, order),
        _along(C, order),
        D=D.flatten(),
        delta_softplus=True,
    )
    assert isinstance(y, Tensor)
    back = scan_orders.inverse(order).positions
    return _along(y.unflatten(1, (4, -1)), back).sum(1)


def _along(t: Tensor, order: Tensor) -> Tensor:
    """``(B, K, C, L)`` -> the same, path k gathered along ``order[k]``."""
    return t.gather(-1, order[None, :, None].expand(t.shape))
