"""Multiply-accumulates of a model, counted op by op as it runs.

torch's own counter knows matrix products, convolutions and attention; the formulas here add the
ops of Mamba, by what they mean and not by how a backend computes them. Norms, activations and
other element-wise work are left out, as in published figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

_SECONDS = (1, 2)


def count_macs(model: nn.Module, inputs: Mapping[str, Tensor]) -> int:
    """Return the multiply-accumulates of one forward pass.

    :param model: called with the inputs by name, without gradients.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_formulas())
    # attention in the form that the counter knows on every device
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), counter:
        model(**inputs)
    return counter.get_total_flops() // 2


def macs_per_second(model: nn.Module, name: str, sample_rate: int) -> int:
    """Return what every further second of audio costs.

    The difference of two lengths: what a recording costs once, at its ends, falls out. Where
    attention grows faster than the length it is the cost of the second second.

    :param name: of the model's input ``(batch, samples)``.
    :param sample_rate: in Hz.
    """
    device = next(model.parameters()).device
    short, long = (
        count_macs(model, {name: torch.zeros(1, sample_rate * n, device=device)}) for n in _SECONDS
    )
    return long - short


def _formulas() -> dict[Any, Callable[..., int]]:
    """Floating-point operations by op; tensors arrive as shapes."""
    import mamba_kernels.ops  # noqa: F401  (defines the ops)

    ops = torch.ops.mamba_kernels
    return {
        ops.causal_conv1d: _conv,
        ops.selective_scan: _selective_scan,
        ops.ssd: _ssd,
        torch.ops.aten.mkldnn_rnn_layer: _lstm,  # what a CPU makes of nn.LSTM
    }


def _conv(x: Any, weight: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    """A product per tap: ``(..., channels, L)`` outputs."""
    return 2 * _size(out_shape) * weight[-1]


def _selective_scan(
    u: Any, delta: Any, A: Any, *rest: Any, out_shape: Any = None, **named: Any
) -> int:
    """Decay the state, add to it, read it: three products per number of state; and D."""
    return 2 * _size(out_shape) * (3 * A[-1] + 1)


def _ssd(x: Any, dt: Any, A: Any, B: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    """The recurrence of Mamba-1 with the state size of ``B``."""
    return 2 * _size(out_shape) * (3 * B[-1] + 1)


def _lstm(x: Any, weight: Any, recurrent: Any, *rest: Any, **named: Any) -> int:
    """One direction of one layer, ``x`` being ``(steps, batch, channels)``."""
    return 2 * x[0] * x[1] * (prod(weight) + prod(recurrent))


def _size(outputs: Any) -> int:
    """Number of values of an op's first output."""
    return prod(outputs[0])
