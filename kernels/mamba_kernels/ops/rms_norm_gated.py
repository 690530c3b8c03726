"""The gated RMS norm of Mamba-2."""

from __future__ import annotations

from torch import Tensor

from mamba_kernels import backends
from mamba_kernels.ops import _checks as check
from mamba_kernels.ops._library import define, differentiated, features_of


def _fake(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    z: Tensor | None,
    eps: float,
    group_size: int,
    norm_before_gate: bool,
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(0)


_op = define(
    "rms_norm_gated",
    ("x", "weight", "bias?", "z?"),
    ("float eps", "int group_size", "bool norm_before_gate"),
    _fake,
)


def rms_norm_gated(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    z: Tensor | None = None,
    eps: float = 1e-5,
    group_size: int | None = None,
    norm_before_gate: bool = False,
) -> Tensor:
    """RMSNorm(x SiLU(z)) w + b, or (RMSNorm(x) w + b) SiLU(z) with ``norm_before_gate``.

    As ``mamba_ssm``'s ``rmsnorm_fn``. Computed in float32 (float64 for double inputs).

    :param x: ``(..., D)``, any floating dtype.
    :param weight: ``(D,)``.
    :param bias: ``(D,)``.
    :param z: gate, shaped like ``x``.
    :param eps: added to the mean square.
    :param group_size: channels that share one mean square; must divide D. None: all of them.
    :returns: a tensor like ``x``.
    :raises ValueError, TypeError: for shapes, dtypes or devices that do not fit.
    """
    op = "rms_norm_gated"
    given = {"x": x, "weight": weight, "bias": bias, "z": z}
    check.tensors(op, given, optional=("bias", "z"), real=True)
    if x.dim() == 0:
        raise ValueError(f"{op}: x must have shape (..., D), got a scalar")
    channels = x.shape[-1]
    check.shape(op, "weight", weight, (channels,))
    check.shape(op, "bias", bias, (channels,))
    check.shape(op, "z", z, x.shape)
    size = channels if group_size is None else group_size
    if size < 1 or channels % size:
        raise ValueError(f"{op}: group_size {size} does not divide the {channels} channels")
    keep = differentiated(x, weight, bias, z)
    features = features_of(x, weight, keep=keep)
    backend = backends.choose(op, x.device.type, x.dtype, tuple(features))
    return _op(x, weight, bias, z, eps, size, norm_before_gate, keep, backend)[0]
