"""Whole layers: by the length of a sequence beside attention, and one token while decoding.

Layers of three mixers compute three things: each is held against itself in float64, its outputs
for the first tokens (all are causal, so these need no more). Gradients must be finite; whether the
ops' gradients are right is asked by their own benchmarks.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_core.bench import machine_speed
from mamba_core.bench.clock import clock_of
from mamba_core.bench.measure import Case, Contender, Row, Verdict
from mamba_core.bench.problem import BOUNDS
from mamba_core.bench.scan import Dtype
from mamba_core.config import STRICT
from mamba_core.mixers import Attention, Mamba1, Mamba2, Mixer

Count = Annotated[int, Field(ge=1)]
PEERS: Mapping[str, Any] = {}
DEVICES = ("cpu", "cuda")
_CHECKED = 64
"""Tokens that are compared with float64."""
_TOKEN = "one token"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """Sizes; layers as the core makes them, attention by torch's scaled dot product, causal."""

    d_model: Annotated[int, Field(ge=64, multiple_of=64)] = 512
    """Width of the layers; attention has a head for every 64."""
    batch: Count = 1
    """Sequences."""
    lengths: tuple[Count, ...] = (512, 1024, 2048, 4096, 8192)
    """Of them; [] for none."""
    dtype: Dtype = "float32"
    """Of weights and tokens; what a mixer keeps in float32 stays so."""
    token_d_model: Annotated[int, Field(ge=64, multiple_of=64)] = 2560
    """Width for the one token; 2560 is that of the published models of 2.8 billion weights."""
    token_batches: tuple[Count, ...] = (1, 64)
    """Sequences that decode at once; [] for none."""


@plain_dataclass(frozen=True)
class Result:
    """Of one contender, which says whose it is."""

    mixer: str
    out: Tensor
    gradients: tuple[Tensor, ...] = ()


def cases(config: Config, against: Sequence[str], device: torch.device) -> Iterator[Case]:
    """Forward + backward of growing length; one token of several sequences."""
    for length in config.lengths:
        yield _by_length(config, length, device)
    for batch in config.token_batches:
        yield _one_token(config, batch, device)


def facts(config: Config, rows: Sequence[Row], device: torch.device) -> dict[str, float]:
    """How many times as long one token takes as reading its layer's weights once does."""
    speed = machine_speed.rates(device).gb_per_s
    layers = _layers(config.token_d_model, config.dtype, device)
    found = {}
    for row in rows:
        if row.case.startswith(_TOKEN) and row.ms is not None:
            read = _bytes(layers[row.contender]) / speed / 1e6  # milliseconds
            found[f"{row.case}, {row.contender}: time / reading the weights"] = row.ms / read
    return found


def _by_length(config: Config, length: int, device: torch.device) -> Case:
    layers = _layers(config.d_model, config.dtype, device)
    shape = (config.batch, length, config.d_model)
    x, cotangent = (_normal(shape, seed, config.dtype, device) for seed in (0, 1))

    def solve(name: str) -> Result:
        leaves = (x.detach().requires_grad_(), *layers[name].parameters())
        out = layers[name](leaves[0])
        return Result(name, out.detach(), torch.autograd.grad(out, leaves, cotangent))

    start = x[:, :_CHECKED]
    exact = {name: _exact(layer)(start.double()).detach() for name, layer in layers.items()}
    contenders = [Contender(name, lambda name=name: solve(name)) for name in layers]  # type: ignore[misc]
    bound = BOUNDS[getattr(torch, config.dtype)]
    size = {"B": config.batch, "D": config.d_model, "L": length}
    judge = _judge(exact, bound)
    return Case("forward+backward by length", size, contenders, judge, bound, clock_of(device))


def _one_token(config: Config, batch: int, device: torch.device) -> Case:
    """A step from the state of a zero history; as a captured graph where the device has those."""
    names = ("mamba1", "mamba2")
    layers = {
        name: layer
        for name, layer in _layers(config.token_d_model, config.dtype, device).items()
        if name in names
    }
    x = _normal((batch, config.token_d_model), 0, config.dtype, device)

    def step(name: str) -> Result:
        with torch.no_grad():
            out, _ = layers[name].step(x, layers[name].init_state(batch))
        return Result(name, out)

    exact = {}
    for name, layer in layers.items():
        wide = _exact(layer)
        with torch.no_grad():
            exact[name] = wide.step(x.double(), wide.init_state(batch))[0]
    contenders = [
        Contender(name, _captured(lambda name=name: step(name), device))  # type: ignore[misc]
        for name in layers
    ]
    bound = BOUNDS[getattr(torch, config.dtype)]
    size = {"B": batch, "D": config.token_d_model}
    judge = _judge(exact, bound)
    return Case(f"{_TOKEN} B={batch}", size, contenders, judge, bound, clock_of(device))


def _layers(d_model: int, dtype: str, device: torch.device) -> dict[str, Mixer]:
    """The layers by name; the first is what the others are compared with."""
    place: dict[str, Any] = {"device": device, "dtype": getattr(torch, dtype)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {
            "mamba1": Mamba1(d_model, **place),
            "mamba2": Mamba2(d_model, **place),
            "attention": Attention(d_model, d_model // 64, **place),
        }


def _exact(layer: Mixer) -> Mixer:
    return copy.deepcopy(layer).double()


def _normal(shape: tuple[int, ...], seed: int, dtype: str, device: torch.device) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.to(device, getattr(torch, dtype))


def _judge(exact: Mapping[str, Tensor], bound: float) -> Callable[[Result], Verdict]:
    def judge(found: Result) -> Verdict:
        wanted = exact[found.mixer]
        out = found.out[:, : wanted.shape[1]].double()  # the first tokens; of one token, channels
        if not all(torch.isfinite(g).all() for g in found.gradients):
            return Verdict(None, "a gradient is not finite")
        error = ((out - wanted).abs().max() / wanted.abs().max()).item()
        wrong = not error <= bound  # a NaN is wrong too
        return Verdict(error, f"off by {error:.1e}, more than {bound:.1e}" if wrong else None)

    return judge


def _captured(call: Callable[[], Result], device: torch.device) -> Callable[[], Result]:
    """The call as one launch on a GPU: captured when first called, replayed from then on."""
    if device.type != "cuda":
        return call
    kept: list[tuple[torch.cuda.CUDAGraph, Result]] = []

    def replay() -> Result:
        if not kept:
            _warm_up(call, device)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                result = call()
            kept.append((graph, result))
        graph, result = kept[0]
        graph.replay()
        return result

    return replay


def _warm_up(call: Callable[[], Result], device: torch.device) -> None:
    """On a stream of its own, as capturing asks for."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream(device).wait_stream(stream)


def _bytes(layer: nn.Module) -> int:
    tensors = itertools.chain(layer.parameters(), layer.buffers())
    return sum(t.numel() * t.element_size() for t in tensors)
