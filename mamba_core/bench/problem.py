"""One op with its inputs: what every contender is given, and what float64 says about it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mamba_core.bench.measure import Contender, Verdict
from mamba_kernels import backends

Function = Callable[..., Any]
Results = Mapping[str, Tensor]
OUT = "out"
BOUNDS: Mapping[torch.dtype, float] = {
    torch.float32: 1e-5,
    torch.float16: 4e-3,
    torch.bfloat16: 3e-2,
}
"""Of the relative error by the dtype of the tokens; in float32 the best are near 1e-7."""
_SLICES = 16
"""The float64 gradients of all channels at once would need many gigabytes."""


@dataclass(frozen=True)
class Problem:
    """An op, its inputs, and how far a result may be from the exact one."""

    op: str
    """Its name in ``mamba_kernels``."""
    function: Function
    """The public op: takes the inputs and options by name, returns the output."""
    inputs: Mapping[str, Tensor]
    options: Mapping[str, Any]
    channels: Mapping[str, int]
    """Inputs that belong to channels (or heads), and the axis of those; the others are shared."""
    out_channels: int
    """The axis of the channels in the output."""
    cotangent: Tensor
    """Gradient of the loss by the output, shaped like it."""
    backward: bool
    """Whether the gradients of all inputs are asked for too."""
    bound: float
    exact_by: str = "reference"
    """The backend that is asked in float64; for great lengths and on a GPU ``eager``, which is
    tested against the reference and is not as slow."""

    def solve(self, function: Function, **options: Any) -> Results:
        """Call an implementation and return the output, and gradients if they are asked for."""
        if not self.backward:
            with torch.no_grad():
                return {OUT: function(**self.inputs, **options)}
        leaves = self._leaves
        out = function(**leaves, **options)
        grads = torch.autograd.grad(out, tuple(leaves.values()), self.cotangent)
        named = zip(leaves, grads, strict=True)
        return {OUT: out.detach(), **{f"gradient of {name}": grad for name, grad in named}}

    @cached_property
    def _leaves(self) -> dict[str, Tensor]:
        return {name: x.detach().requires_grad_() for name, x in self.inputs.items()}

    @cached_property
    def exact(self) -> Results:
        """One backend in float64, one slice of the channels after another."""
        parts = [part.solve(self.function, **self.options) for part in self._slices()]
        with_channels = {OUT: self.out_channels} | {
            f"gradient of {name}": axis for name, axis in self.channels.items()
        }
        return {
            name: torch.cat([part[name] for part in parts], with_channels[name])
            if name in with_channels
            else torch.stack([part[name] for part in parts]).sum(0)
            for name in parts[0]
        }

    def _slices(self) -> Iterator[Problem]:
        """The same problem for few channels at a time, in float64 by :attr:`exact_by`."""
        count = self.cotangent.shape[self.out_channels]
        size = max(1, count // _SLICES)
        for start in range(0, count, size):
            width = min(size, count - start)
            inputs = {
                name: (x.narrow(self.channels[name], start, width) if name in self.channels else x)
                for name, x in self.inputs.items()
            }
            yield replace(
                self,
                function=_by(self.exact_by, self.function),
                inputs={name: x.double() for name, x in inputs.items()},
                cotangent=self.cotangent.narrow(self.out_channels, start, width).double(),
            )

    def judge(self, results: Results) -> Verdict:
        """Compare results with :attr:`exact`: largest difference by largest exact value."""
        worst, where = 0.0, ""
        for name, wanted in self.exact.items():
            found = results.get(name)
            if found is None or found.shape != wanted.shape:
                shape = None if found is None else tuple(found.shape)
                return Verdict(None, f"{name}: shape {shape}, not {tuple(wanted.shape)}")
            if not torch.isfinite(found).all():
                return Verdict(None, f"{name}: not finite")
            distance = (found.double() - wanted).abs().max() / wanted.abs().max()
            if distance.item() > worst:
                worst, where = distance.item(), name
        if worst > self.bound:
            return Verdict(worst, f"{where} is off by {worst:.1e}, more than {self.bound:.1e}")
        return Verdict(worst)


def placed(
    inputs: Mapping[str, Tensor], tokens: Sequence[str], dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """Move inputs to a device; those named in ``tokens`` take the dtype, the rest stays float32."""
    return {
        name: x.to(device, dtype if name in tokens else torch.float32) for name, x in inputs.items()
    }


def exact_backend(device: torch.device) -> str:
    """Return :attr:`Problem.exact_by` for a device: the reference is too slow on a GPU."""
    return "reference" if device.type == "cpu" else "eager"


def our_contenders(problem: Problem) -> list[Contender]:
    """Every backend of the kernels room but the reference, which is the judge; best first.

    A backend that refuses the call takes part as one that is skipped, with its own reason.
    """
    first = next(iter(problem.inputs.values()))
    features = ("grad",) if problem.backward else ()
    call = backends.Call(problem.op, first.device.type, first.dtype, features)
    return [
        Contender(
            name=backend.name,
            call=lambda: problem.solve(problem.function, **problem.options),
            around=lambda name=backend.name: forced(name),  # type: ignore[misc]
            skip=backend.supports(call),
        )
        for backend in backends.available()
        if backend.name != "reference"
    ]


def peer(
    problem: Problem, name: str, function: Function | str, skip: str | None = None
) -> Contender:
    """Let another implementation take part; it gets the problem's inputs and nothing else.

    :param function: takes the inputs by name; or text, why it cannot be had.
    :param skip: why it does not take part in this problem.
    """
    if isinstance(function, str):
        return Contender(name=name, call=dict, skip=function)
    return Contender(name=name, call=lambda: problem.solve(function), skip=skip)


def find_function(module: str, name: str, install: str) -> Function | str:
    """Return a function of another package, or why it cannot be had.

    :param install: what pip is told to install.
    """
    try:
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    except ImportError as error:
        reason = str(error).strip().split("\n")[0]
        return f"{reason}: {sys.executable} -m pip install {install}"
    except AttributeError:
        return f"this version of {module.split('.')[0]} has no function {name}"


@contextmanager
def forced(backend: str) -> Iterator[None]:
    """Let every op of this process be computed by one backend."""
    before = os.environ.get(backends.FORCE)
    os.environ[backends.FORCE] = backend
    try:
        yield
    finally:
        if before is None:
            del os.environ[backends.FORCE]
        else:
            os.environ[backends.FORCE] = before


def _by(backend: str, function: Function) -> Function:
    def call(**inputs: Any) -> Any:
        with forced(backend):
            return function(**inputs)

    return call


def chosen_peers(
    peers: Mapping[str, Callable[[Problem], Sequence[Contender]]],
    against: Sequence[str],
    problem: Problem,
) -> list[Contender]:
    """The contenders of the peers that are asked for; other names belong to other ops."""
    return [contender for name in against if name in peers for contender in peers[name](problem)]
