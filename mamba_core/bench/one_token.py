"""One token after another through ``selective_state_update``: what decoding costs per layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mamba_core.bench import scan
from mamba_core.bench.clock import clock_of
from mamba_core.bench.measure import Case, Contender, Verdict
from mamba_core.bench.problem import BOUNDS, forced, placed
from mamba_kernels import backends, ops


def case(
    size: dict[str, int], against: Sequence[str], dtype: torch.dtype, device: torch.device
) -> Case:
    """As many tokens as ``size`` says, each through its own call.

    :param size: B, D, N and ``tokens``; one call would be too short for a clock.
    """
    tokens = size["tokens"]
    given = scan.inputs(size["B"], size["D"], tokens, size["N"])
    given = placed(given, scan.TOKENS, dtype, device)
    whole = {name: given[name] for name in ("A", "D")} | {"dt_bias": given["delta_bias"]}
    each = {"x": given["u"], "dt": given["delta"]} | {name: given[name] for name in "BCz"}
    steps = [{name: x[..., t].contiguous() for name, x in each.items()} for t in range(tokens)]
    start = torch.zeros(size["B"], size["D"], size["N"], device=device)

    def decode(update: Callable[..., Tensor]) -> Tensor:
        """Outputs ``(tokens, B, D)``."""
        state = start.clone()
        with torch.no_grad():
            outs = [update(state, **step, **whole, dt_softplus=True) for step in steps]
            return torch.stack(outs)

    exact = _exact(start, steps, whole)
    bound = BOUNDS[dtype]

    def judge(found: Any) -> Verdict:
        error = ((found.double() - exact).abs().max() / exact.abs().max()).item()
        wrong = not error <= bound  # a NaN is wrong too
        return Verdict(error, f"off by {error:.1e}, more than {bound:.1e}" if wrong else None)

    call = backends.Call("selective_state_update", device.type, dtype)
    ours = [
        Contender(
            backend.name,
            lambda: decode(ops.selective_state_update),
            around=lambda name=backend.name: forced(name),  # type: ignore[misc]
            skip=backend.supports(call),
        )
        for backend in backends.available()
        if backend.name != "reference"
    ]
    peers = [_transformers(decode)] if "transformers" in against else []
    name = f"one token B={size['B']}"
    return Case(name, size, (*ours, *peers), judge, bound, clock_of(device))


def _exact(start: Tensor, steps: Sequence[dict[str, Tensor]], whole: dict[str, Tensor]) -> Tensor:
    """The reference in float64."""
    state, fixed = start.double(), {name: x.double() for name, x in whole.items()}
    with forced("reference"), torch.no_grad():
        outs = [
            ops.selective_state_update(
                state, **{name: x.double() for name, x in step.items()}, **fixed, dt_softplus=True
            )
            for step in steps
        ]
    return torch.stack(outs)


def _transformers(decode: Callable[..., Tensor]) -> Contender:
    from mamba_core.bench.transformers_scans import find

    found = find("transformers.models.mamba.modeling_mamba", "mamba_selective_state_update")
    if isinstance(found, str):
        return Contender("transformers", lambda: None, skip=found)

    def update(state: Tensor, x: Tensor, **rest: Any) -> Tensor:
        return found(state, x, **rest)

    return Contender("transformers", lambda: decode(update))
