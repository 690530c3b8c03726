"""One or several steps of the causal convolution, in place, in one launch."""

from __future__ import annotations

from torch import Tensor

from mamba_kernels.backends.layout import check_rows
from mamba_kernels.backends.triton.kernels.updates import convolution_update
from mamba_kernels.backends.triton.launch import on_device, power_of_two

BLOCK = 128  # channels of a program
STEPS = 16  # steps of a tile


@on_device
def update(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: str,
    state_batch_indices: Tensor | None,
) -> Tensor:
    """The outputs; ``conv_state`` is moved on in place."""
    if state_batch_indices is not None:
        check_rows(state_batch_indices, conv_state.shape[0])
    out = x.new_empty(x.shape)
    steps, kept = 1 if x.dim() == 2 else x.shape[2], conv_state.shape[-1]
    if out.numel() == 0:
        return out

    def at(t: Tensor) -> tuple[int, ...]:
        return t.stride() if t.dim() == 3 else (*t.stride(), 0)

    batch, channels = x.shape[:2]
    convolution_update[(batch * -(-channels // BLOCK),)](
        x, conv_state, weight, bias, state_batch_indices, out,
        at(x), conv_state.stride(), weight.stride(), 0 if bias is None else bias.stride(0), at(out),
        steps, kept, conv_state.shape[0], channels,
        WIDTH=weight.shape[-1], PLACES=power_of_two(max(kept, 1)), SILU=activation == "silu",
        BLOCK=BLOCK, STEPS=min(STEPS, power_of_two(steps)), num_warps=4,
    )  # fmt: skip
    return out
