"""Initial values of selective state spaces, and how they survive what comes later."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

AInit = Literal["s4d-real", "s4d-lin", "s4d-inv", "legs"]
"""How the state matrix A starts (S4D, Gu et al. 2206.11893; LegS: HiPPO's spectrum)."""


def dt_bias(
    size: int, dt_min: float, dt_max: float, dt_init_floor: float, device: torch.device | None
) -> Tensor:
    """Draw a bias b with softplus(b) log-uniform in ``[dt_min, dt_max]``, fp32 ``(size,)``."""
    span = math.log(dt_max) - math.log(dt_min)
    dt = torch.exp(torch.rand(size, device=device) * span + math.log(dt_min))
    dt = dt.clamp(min=dt_init_floor)
    return dt + torch.log(-torch.expm1(-dt))  # the inverse of softplus, exact for small dt too


def a_real(d_state: int) -> Tensor:
    """S4D-Real: ``A = -(n+1)``, fp32 ``(d_state,)``."""
    return -torch.arange(1, d_state + 1, dtype=torch.float32)


def a_complex(scheme: AInit, d_state: int) -> Tensor:
    """Return the ``d_state / 2`` eigenvalues with positive imaginary part, complex64.

    ``s4d-lin``: ``-1/2 + i pi n``. ``s4d-inv``: ``-1/2 + i (N/pi)(N/(2n+1) - 1)``. ``legs``:
    the spectrum of the normal part of HiPPO-LegS, whose real part is -1/2.
    """
    n = torch.arange(d_state // 2, dtype=torch.float64)
    if scheme == "s4d-lin":
        imag = math.pi * n
    elif scheme == "s4d-inv":
        imag = d_state / math.pi * (d_state / (2 * n + 1) - 1)
    else:
        imag = _legs_frequencies(d_state)
    return torch.complex(torch.full_like(imag, -0.5), imag).to(torch.complex64)


def _legs_frequencies(d_state: int) -> Tensor:
    # on the CPU also when the model is built on the meta device: eigenvalues need numbers
    root = torch.sqrt(torch.arange(d_state, dtype=torch.float64, device="cpu") * 2 + 1)
    # the HiPPO-LegS matrix plus its rank-one term is -1/2 I + S with S skew-symmetric
    outer = 0.5 * root[:, None] * root[None, :]
    skew = torch.triu(outer, 1) - torch.tril(outer, -1)
    imag = torch.linalg.eigvals(skew).imag
    return imag[imag > 0].sort().values


def protect(parameter: nn.Parameter) -> nn.Parameter:
    """Mark a parameter as a state-space constant: no weight decay, no later re-initialisation."""
    parameter._no_weight_decay = True  # type: ignore[attr-defined]
    parameter._no_reinit = True  # type: ignore[attr-defined]
    return parameter


def zero_linear_biases(module: nn.Module) -> None:
    """Set the bias of every Linear below ``module`` to zero, except protected ones.

    The dt bias is a Linear's bias that carries the time scales; zeroing it with the others
    starts every channel at softplus(0) = 0.69, which is far outside ``[dt_min, dt_max]``.
    """
    for child in module.modules():
        bias = getattr(child, "bias", None)
        if not isinstance(child, nn.Linear) or bias is None:
            continue
        if not getattr(bias, "_no_reinit", False):
            nn.init.zeros_(bias)


class DtProjection(nn.Linear):
    """A Linear whose bias is left to the scan, which adds it in fp32 before softplus."""

    def forward(self, input: Tensor) -> Tensor:
        """``(..., dt_rank) -> (..., d_inner)``, without the bias."""
        return nn.functional.linear(input, self.weight)


class KeepsFloat32(nn.Module):
    """A module some of whose parameters stay fp32 when it is cast to a half precision.

    In bf16 ``A_log`` has 8 significant bits and ``A = -exp(A_log)`` can overflow in fp16; the
    state then decays wrongly for thousands of steps. Casting to float64 is followed.
    """

    def float32_parameters(self) -> list[nn.Parameter]:
        """Return the parameters to keep; subclasses say which."""
        return []

    def _apply(self, fn, recurse: bool = True):  # type: ignore[no-untyped-def]
        kept = {id(parameter) for parameter in self.float32_parameters()}

        def apply(tensor: Tensor) -> Tensor:
            changed = fn(tensor)
            if id(tensor) in kept and changed.dtype in (torch.float16, torch.bfloat16):
                return tensor.to(changed.device)
            return changed

        return super()._apply(apply, recurse)
