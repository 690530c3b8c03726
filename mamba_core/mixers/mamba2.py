"""Mamba-2 (Dao and Gu, 2405.21060): a scan with one decay per head (SSD).

With ``z``, ``x``, ``B``, ``C``, ``dt`` from one projection, and ``x``, ``B``, ``C`` through a
short causal convolution and SiLU::

    h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t        h: (nheads, headdim, d_state), fp32
    y_t = h_t C_t + D x_t
    out = out_proj(gated_rms_norm(y, z))

Argument names, parameter names and shapes are those of ``mamba_ssm``'s ``Mamba2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.mixers import initial
from mamba_core.mixers.base import ScanMixer, stacked
from mamba_core.mixers.state import MixerState
from mamba_kernels import ops


class Mamba2Inputs(NamedTuple):
    """What the input projection hands to a path."""

    xBC: Tensor
    """``(B, L, d_ssm + 2 * ngroups * d_state)``, before the convolution."""
    dt: Tensor
    """``(B, L, nheads)``, before bias and softplus."""


@dataclass(frozen=True)
class _PathOptions:
    """What every path of one Mamba-2 mixer has in common."""

    d_ssm: int
    d_state: int
    d_conv: int
    conv_init: float | None
    headdim: int
    ngroups: int
    A_init_range: tuple[float, float]
    D_has_hdim: bool
    dt_min: float
    dt_max: float
    dt_init_floor: float
    dt_limit: tuple[float, float]
    conv_bias: bool
    chunk_size: int
    device: torch.device | None
    dtype: torch.dtype | None

    @property
    def nheads(self) -> int:
        return self.d_ssm // self.headdim

    @property
    def conv_dim(self) -> int:
        return self.d_ssm + 2 * self.ngroups * self.d_state


class Mamba2Path(initial.KeepsFloat32):
    """Everything between Mamba-2's two projections, without the gated norm."""

    def __init__(self, options: _PathOptions) -> None:
        super().__init__()
        self.options = o = options
        self.conv1d = nn.Conv1d(
            o.conv_dim,
            o.conv_dim,
            o.d_conv,
            groups=o.conv_dim,
            bias=o.conv_bias,
            device=o.device,
            dtype=o.dtype,
        )
        if o.conv_init is not None:
            nn.init.uniform_(self.conv1d.weight, -o.conv_init, o.conv_init)
        bias = initial.dt_bias(o.nheads, o.dt_min, o.dt_max, o.dt_init_floor, o.device)
        self.dt_bias = initial.protect(nn.Parameter(bias))
        a = torch.empty(o.nheads, device=o.device).uniform_(*o.A_init_range)
        self.A_log = initial.protect(nn.Parameter(torch.log(a)))
        d = torch.ones(o.d_ssm if o.D_has_hdim else o.nheads, device=o.device)
        self.D = initial.protect(nn.Parameter(d))

    def float32_parameters(self) -> list[nn.Parameter]:
        """A, D and the dt bias."""
        return [self.A_log, self.D, self.dt_bias]

    @property
    def A(self) -> Tensor:
        """One decay rate per head, ``(nheads,)``."""
        return -torch.exp(self.A_log)

    @property
    def _D(self) -> Tensor:
        return self.D.view(-1, self.options.headdim) if self.options.D_has_hdim else self.D

    def _split(self, xBC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(..., conv_dim)`` -> x ``(..., H, P)``, B and C ``(..., G, N)``."""
        o = self.options
        width = o.ngroups * o.d_state
        x, b, c = xBC.split([o.d_ssm, width, width], dim=-1)
        groups = (o.ngroups, o.d_state)
        return x.unflatten(-1, (-1, o.headdim)), b.unflatten(-1, groups), c.unflatten(-1, groups)

    def scan(
        self,
        inputs: Mamba2Inputs,
        *,
        order: Tensor | None = None,
        paths: Sequence[Mamba2Path] = (),
        cu_seqlens: Tensor | None = None,
        state: MixerState | None = None,
        return_state: bool = False,
    ) -> tuple[Tensor, MixerState | None]:
        """See :meth:`ScanMixer.scan`."""
        paths = paths or (self,)
        before = state.tensors if state is not None else {}
        conv: Any = ops.causal_conv1d(
            inputs.xBC.transpose(-1, -2),
            stacked(paths, lambda path: path.conv1d.weight[:, 0]),
            stacked(paths, lambda path: path.conv1d.bias),
            activation="silu",
            order=order,
            cu_seqlens=cu_seqlens,
            initial_states=before.get("conv"),
            return_final_states=return_state,
        )
        conv_state: Any
        ssm_state: Any
        xBC, conv_state = conv if return_state else (conv, None)
        x, b, c = self._split(xBC.transpose(-1, -2))
        dt = inputs.dt
        if order is not None and dt.dim() == 3:  # the same step sizes for every path
            dt = dt[:, None].expand(-1, order.shape[-2], -1, -1)
        result: Any = ops.ssd(
            x,
            dt,
            stacked(paths, lambda path: path.A),
            b,
            c,
            self.options.chunk_size,
            D=stacked(paths, _skip if len(paths) > 1 else lambda path: path._D),
            dt_bias=stacked(paths, lambda path: path.dt_bias),
            dt_softplus=True,
            dt_limit=self.options.dt_limit,
            order=order,
            cu_seqlens=cu_seqlens,
            initial_states=before.get("ssm"),
            return_final_states=return_state,
        )
        y, ssm_state = result if return_state else (result, None)
        after = MixerState({"conv": conv_state, "ssm": ssm_state}) if return_state else None
        return y.flatten(-2), after

    def scan_step(self, inputs: Mamba2Inputs, state: MixerState) -> tuple[Tensor, MixerState]:
        """See :meth:`ScanMixer.scan_step`."""
        o = self.options
        conv, ssm = state.tensors["conv"].clone(), state.tensors["ssm"].clone()
        xBC = ops.causal_conv1d_update(
            inputs.xBC[:, 0], conv, self.conv1d.weight[:, 0], self.conv1d.bias, activation="silu"
        )
        x, b, c = self._split(xBC)
        # the decoding op has no dt_limit, so dt is finished here
        dt = F.softplus(inputs.dt[:, 0].to(self.dt_bias.dtype) + self.dt_bias)
        dt = dt.clamp(*o.dt_limit)[..., None].expand(x.shape)
        a = self.A[:, None, None].expand(o.nheads, o.headdim, o.d_state)
        d = self._D if o.D_has_hdim else self._D[:, None].expand(o.nheads, o.headdim)
        y = ops.selective_state_update(ssm, x, dt, a, b, c, D=d)
        return y.flatten(-2)[:, None], MixerState({"conv": conv, "ssm": ssm})

    def init_state(self, batch_size: int) -> MixerState:
        """Zeros: the last ``d_conv - 1`` inputs of the convolution, and h in fp32."""
        o, weight = self.options, self.conv1d.weight
        conv = weight.new_zeros(batch_size, o.conv_dim, o.d_conv - 1)
        wide = torch.promote_types(self.A_log.dtype, torch.float32)
        shape = (batch_size, o.nheads, o.headdim, o.d_state)
        return MixerState({"conv": conv, "ssm": torch.zeros(shape, dtype=wide, device=conv.device)})


def _skip(path: Mamba2Path) -> Tensor:
    """D as ``(H, P)``, the only form that the op takes per path."""
    d = path._D
    return d if d.dim() == 2 else d[:, None].expand(-1, path.options.headdim)


class GatedRMSNorm(nn.Module):
    """RMS norm over groups of channels, with a SiLU gate before or after it."""

    def __init__(
        self,
        size: int,
        group_size: int,
        norm_before_gate: bool,
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size, device=device, dtype=dtype))
        self.group_size = group_size
        self.norm_before_gate = norm_before_gate

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        """Two ``(..., size)`` -> ``(..., size)``."""
        return ops.rms_norm_gated(
            y,
            self.weight,
            z=z,
            eps=1e-5,
            group_size=self.group_size,
            norm_before_gate=self.norm_before_gate,
        )


class Mamba2(Mamba2Path, ScanMixer):
    """The Mamba-2 mixer, ``(B, L, d_model) -> (B, L, d_model)``.

    :param d_model: channels of the tokens.
    :param d_state: N, numbers of state per channel.
    :param d_conv: width of the causal convolution, in tokens.
    :param conv_init: the convolution starts uniform in ``[-conv_init, conv_init]``; None keeps
        torch's default.
    :param expand: ``d_inner = expand * d_model``.
    :param headdim: P, channels per head.
    :param d_ssm: channels that go through the scan; the rest of ``d_inner`` is a gated MLP.
        None sends all of them.
    :param ngroups: G, sets of B and C; head i reads set ``i * G // nheads``.
    :param A_init_range: decay rates start uniform in this range.
    :param D_has_hdim: D per channel instead of per head.
    :param rmsnorm: gated RMS norm before the output projection; False gates only.
    :param norm_before_gate: norm first, gate second.
    :param dt_limit: bounds on dt after softplus.
    :param chunk_size: a hint for the scan; results do not depend on it.
    """

    def __init__(
        self,
        d_model: int,
        d_state: Annotated[int, Field(ge=1, le=1024)] = 128,
        d_conv: Annotated[int, Field(ge=2, le=8)] = 4,
        conv_init: float | None = None,
        expand: Annotated[int, Field(ge=1)] = 2,
        headdim: Annotated[int, Field(ge=1)] = 64,
        d_ssm: int | None = None,
        ngroups: Annotated[int, Field(ge=1)] = 1,
        A_init_range: tuple[float, float] = (1, 16),
        D_has_hdim: bool = False,
        rmsnorm: bool = True,
        norm_before_gate: bool = False,
        dt_min: Annotated[float, Field(gt=0)] = 0.001,
        dt_max: Annotated[float, Field(gt=0)] = 0.1,
        dt_init_floor: Annotated[float, Field(gt=0)] = 1e-4,
        dt_limit: tuple[float, float] = (0.0, float("inf")),
        bias: bool = False,
        conv_bias: bool = True,
        chunk_size: Annotated[int, Field(ge=1)] = 256,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        d_inner = expand * d_model
        d_ssm = d_inner if d_ssm is None else d_ssm
        _check_sizes(d_inner, d_ssm, headdim, ngroups)
        options = _PathOptions(
            d_ssm=d_ssm,
            d_state=d_state,
            d_conv=d_conv,
            conv_init=conv_init,
            headdim=headdim,
            ngroups=ngroups,
            A_init_range=A_init_range,
            D_has_hdim=D_has_hdim,
            dt_min=dt_min,
            dt_max=dt_max,
            dt_init_floor=dt_init_floor,
            dt_limit=dt_limit,
            conv_bias=conv_bias,
            chunk_size=chunk_size,
            device=device,
            dtype=dtype,
        )
        super().__init__(options)
        self.d_model = d_model
        self.d_mlp = d_inner - d_ssm
        kw: dict[str, Any] = {"device": device, "dtype": dtype}
        width = 2 * self.d_mlp + d_ssm + options.conv_dim + options.nheads
        self.in_proj = nn.Linear(d_model, width, bias=bias, **kw)
        group_size = d_ssm // ngroups
        self.norm = GatedRMSNorm(d_ssm, group_size, norm_before_gate, **kw) if rmsnorm else None
        self.out_proj = nn.Linear(d_inner, d_model, bias=bias, **kw)

    def project(self, x: Tensor) -> tuple[Mamba2Inputs, Tensor]:
        """See :meth:`ScanMixer.project`; the gate carries the MLP's channels in front."""
        o = self.options
        widths = [2 * self.d_mlp + o.d_ssm, o.conv_dim, o.nheads]
        gate, xBC, dt = self.in_proj(x).split(widths, dim=-1)
        return Mamba2Inputs(xBC, dt), gate

    def combine(self, y: Tensor, gate: Tensor) -> Tensor:
        """See :meth:`ScanMixer.combine`."""
        z0, x0, z = gate.split([self.d_mlp, self.d_mlp, self.options.d_ssm], dim=-1)
        y = self.norm(y, z) if self.norm is not None else y * F.silu(z)
        if self.d_mlp:
            y = torch.cat([F.silu(z0) * x0, y], dim=-1)
        return self.out_proj(y)

    def make_path(self) -> Mamba2Path:
        """See :meth:`ScanMixer.make_path`."""
        return Mamba2Path(self.options)

    def written(self, inputs: Mamba2Inputs) -> Tensor:
        """x and B."""
        o = self.options
        return inputs.xBC[..., : o.d_ssm + o.ngroups * o.d_state]

    def with_written(self, inputs: Mamba2Inputs, written: Tensor) -> Mamba2Inputs:
        """See :meth:`ScanMixer.with_written`."""
        c = inputs.xBC[..., written.shape[-1] :]
        return inputs._replace(xBC=torch.cat([written, c], dim=-1))


def _check_sizes(d_inner: int, d_ssm: int, headdim: int, ngroups: int) -> None:
    if not 0 < d_ssm <= d_inner:
        raise ValueError(f"d_ssm={d_ssm} must lie in 1 .. expand * d_model = {d_inner}")
    if d_ssm % headdim:
        raise ValueError(
            f"headdim={headdim} does not divide the {d_ssm} channels of the scan "
            f"(expand * d_model, or d_ssm); a divisor works, such as {_divisor(d_ssm, headdim)}"
        )
    if (d_ssm // headdim) % ngroups:
        raise ValueError(f"ngroups={ngroups} does not divide the {d_ssm // headdim} heads")


def _divisor(size: int, near: int) -> int:
    return max(n for n in range(1, min(size, near) + 1) if size % n == 0)
