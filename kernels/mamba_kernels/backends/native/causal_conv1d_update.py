"""The next outputs of a causal convolution by the compiled kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from mamba_kernels.backends.layout import check_rows
from mamba_kernels.backends.native._abi import CONV_STEP, Packed, describe, plain
from mamba_kernels.backends.native._library import run

_packed = Packed(CONV_STEP)


def update(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: str,
    state_batch_indices: Tensor | None,
) -> Tensor:
    """The outputs; ``conv_state`` is moved on in place."""
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    indices, silu = state_batch_indices, activation == "silu"
    if indices is not None:
        check_rows(indices, conv_state.shape[0])
        indices = indices.to(torch.int64).contiguous()
    tensors = (x, out, conv_state, weight, bias, indices)
    form = (x.shape, conv_state.shape, weight.shape, silu)
    run("conv_step", _packed(tensors, form, lambda: _pack(*tensors, silu)), work=out.numel())
    return out


def _pack(
    x: Tensor,
    out: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    indices: Tensor | None,
    silu: bool,
) -> bytes:
    axes = (0, 1, 2) if x.dim() == 3 else (0, 1, None)
    fields = {
        "x": describe(x, *axes),
        "out": describe(out, *axes),
        "state": plain(conv_state),
        "weight": plain(weight),
        "bias": plain(bias),
        "indices": plain(indices),
    }
    return CONV_STEP.pack(
        fields,
        batch=x.shape[0],
        channels=x.shape[1],
        width=weight.shape[1],
        kept=conv_state.shape[2],
        steps=x.shape[2] if x.dim() == 3 else 1,
        silu=silu,
    )
