"""The next outputs of a causal convolution by the compiled kernels."""

from __future__ import annotations

from torch import Tensor

from mamba_kernels.backends.native._abi import CONV_STEP, describe, plain
from mamba_kernels.backends.native._library import run


def update(
    x: Tensor, conv_state: Tensor, weight: Tensor, bias: Tensor | None, activation: str
) -> Tensor:
    """The outputs; ``conv_state`` is moved on in place."""
    out = x.new_empty(x.shape)
    axes = (0, 1, 2) if x.dim() == 3 else (0, 1, None)
    fields = {
        "x": describe(x, *axes),
        "out": describe(out, *axes),
        "state": plain(conv_state),
        "weight": plain(weight),
        "bias": plain(bias),
    }
    call = CONV_STEP.pack(
        fields,
        batch=x.shape[0],
        channels=x.shape[1],
        width=weight.shape[1],
        kept=conv_state.shape[2],
        steps=x.shape[2] if x.dim() == 3 else 1,
        silu=activation == "silu",
    )
    run("conv_step", call, work=out.numel())
    return out
