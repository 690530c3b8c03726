"""Mamba-1 (Gu and Dao, 2312.00752): a selective scan with a state per channel.

With ``x`` and ``z`` from the input projection, ``x`` through a short causal convolution and
SiLU, and ``dt``, ``B``, ``C`` projected from it::

    h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t        h: (d_inner, d_state), fp32
    y_t = h_t C_t + D x_t
    out = out_proj(y * silu(z))

Argument names, parameter names and shapes are those of ``mamba_ssm``'s ``Mamba``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.mixers import initial
from mamba_core.mixers.base import ScanMixer, stacked
from mamba_core.mixers.state import MixerState
from mamba_kernels import ops


@dataclass(frozen=True)
class _PathOptions:
    """What every path of one Mamba-1 mixer has in common."""

    d_inner: int
    d_state: int
    d_conv: int
    dt_rank: int
    dt_min: float
    dt_max: float
    dt_init: str
    dt_scale: float
    dt_init_floor: float
    conv_bias: bool
    A_init: initial.AInit
    device: torch.device | None
    dtype: torch.dtype | None


class Mamba1Path(initial.KeepsFloat32):
    """Everything between Mamba-1's two projections: convolution, selection and scan."""

    def __init__(self, options: _PathOptions) -> None:
        super().__init__()
        self.options = o = options
        kw: dict[str, Any] = {"device": o.device, "dtype": o.dtype}
        self.conv1d = nn.Conv1d(
            o.d_inner, o.d_inner, o.d_conv, groups=o.d_inner, bias=o.conv_bias, **kw
        )
        self.x_proj = nn.Linear(o.d_inner, o.dt_rank + 2 * o.d_state, bias=False, **kw)
        self.dt_proj = initial.DtProjection(o.dt_rank, o.d_inner, bias=True, **kw)
        self._init_dt()
        self._init_a()
        self.D = initial.protect(nn.Parameter(torch.ones(o.d_inner, device=o.device)))

    def _init_dt(self) -> None:
        o = self.options
        bound = o.dt_rank**-0.5 * o.dt_scale
        if o.dt_init == "constant":
            nn.init.constant_(self.dt_proj.weight, bound)
        else:
            nn.init.uniform_(self.dt_proj.weight, -bound, bound)
        bias = initial.dt_bias(o.d_inner, o.dt_min, o.dt_max, o.dt_init_floor, o.device)
        self.dt_proj.bias = initial.protect(nn.Parameter(bias))

    def _init_a(self) -> None:
        o = self.options
        if o.A_init == "s4d-real":
            a = initial.a_real(o.d_state).to(o.device)
            decay = -a
            self.A_imag = None
        else:
            a = initial.a_complex(o.A_init, o.d_state).to(o.device)
            decay = -a.real
            imag = a.imag.expand(o.d_inner, -1).contiguous()
            self.A_imag = initial.protect(nn.Parameter(imag))
        log = torch.log(decay).expand(o.d_inner, -1).contiguous()
        self.A_log = initial.protect(nn.Parameter(log))

    def float32_parameters(self) -> list[nn.Parameter]:
        """A, D and the dt bias."""
        kept = [self.A_log, self.D, self.dt_proj.bias]
        return kept if self.A_imag is None else [*kept, self.A_imag]

    @property
    def A(self) -> Tensor:
        """The state matrix, ``(d_inner, d_state)``, or complex ``(d_inner, d_state / 2)``."""
        decay = torch.exp(self.A_log)
        return -decay if self.A_imag is None else torch.complex(-decay, self.A_imag)

    def _select(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(..., L, d_inner)`` -> dt ``(..., L, d_inner)``, B and C ``(..., L, d_state)``."""
        n = self.options.d_state
        dt, b, c = self.x_proj(u).split([self.options.dt_rank, n, n], dim=-1)
        return self.dt_proj(dt), b, c

    @staticmethod
    def _select_each(u: Tensor, paths: Sequence[Mamba1Path]) -> tuple[Tensor, Tensor, Tensor]:
        """:meth:`_select` of each path for its own ``u[:, k]``, or of the only one for all."""
        if len(paths) == 1:
            return paths[0]._select(u)
        chosen = [path._select(u[:, k]) for k, path in enumerate(paths)]
        dt, b, c = (torch.stack(tensors, dim=1) for tensors in zip(*chosen, strict=True))
        return dt, b, c

    def _by_state(self, b: Tensor) -> Tensor:
        """``(..., L, N)`` -> ``(..., N, L)``; for complex A pairs, ``(..., N/2, 2L)``."""
        if self.A_imag is None:
            return b.transpose(-1, -2)
        return b.unflatten(-1, (-1, 2)).transpose(-2, -3).flatten(-2)

    def scan(
        self,
        inputs: Tensor,
        *,
        order: Tensor | None = None,
        paths: Sequence[Mamba1Path] = (),
        cu_seqlens: Tensor | None = None,
        state: MixerState | None = None,
        return_state: bool = False,
    ) -> tuple[Tensor, MixerState | None]:
        """See :meth:`ScanMixer.scan`; ``inputs`` is x, ``(B, L, d_inner)``."""
        paths = paths or (self,)
        before = state.tensors if state is not None else {}
        conv: Any = ops.causal_conv1d(
            inputs.transpose(-1, -2),
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
        u, conv_state = conv if return_state else (conv, None)
        dt, b, c = self._select_each(u.transpose(-1, -2), paths)
        result: Any = ops.selective_scan(
            u,
            dt.transpose(-1, -2),
            stacked(paths, lambda path: path.A),
            self._by_state(b),
            self._by_state(c),
            D=stacked(paths, lambda path: path.D),
            delta_bias=stacked(paths, lambda path: path.dt_proj.bias),
            delta_softplus=True,
            order=order,
            cu_seqlens=cu_seqlens,
            initial_state=before.get("ssm"),
            return_last_state=return_state,
        )
        y, ssm_state = result if return_state else (result, None)
        after = MixerState({"conv": conv_state, "ssm": ssm_state}) if return_state else None
        return y.transpose(-1, -2), after

    def scan_step(self, inputs: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """See :meth:`ScanMixer.scan_step`; ``inputs`` is x, ``(B, 1, d_inner)``."""
        if self.A_imag is not None:  # the decoding op knows real A only
            y, after = self.scan(inputs, state=state, return_state=True)
            assert after is not None
            return y, after
        conv, ssm = state.tensors["conv"].clone(), state.tensors["ssm"].clone()
        u = ops.causal_conv1d_update(
            inputs[:, 0], conv, self.conv1d.weight[:, 0], self.conv1d.bias, activation="silu"
        )
        dt, b, c = self._select(u)
        y = ops.selective_state_update(
            ssm, u, dt, self.A, b, c, D=self.D, dt_bias=self.dt_proj.bias, dt_softplus=True
        )
        return y[:, None], MixerState({"conv": conv, "ssm": ssm})

    def init_state(self, batch_size: int) -> MixerState:
        """Zeros: the last ``d_conv - 1`` inputs of the convolution, and h in fp32."""
        weight, a = self.conv1d.weight, self.A
        conv = weight.new_zeros(batch_size, self.options.d_inner, self.options.d_conv - 1)
        wide = torch.promote_types(a.dtype, torch.float32)
        ssm = torch.zeros(batch_size, *a.shape, dtype=wide, device=a.device)
        return MixerState({"conv": conv, "ssm": ssm})


class Mamba1(Mamba1Path, ScanMixer):
    """The Mamba-1 mixer, ``(B, L, d_model) -> (B, L, d_model)``.

    :param d_model: channels of the tokens.
    :param d_state: N, numbers of state per channel (complex schemes keep N/2 pairs).
    :param d_conv: width of the causal convolution, in tokens.
    :param expand: ``d_inner = expand * d_model``.
    :param dt_rank: width of the projection behind dt; ``"auto"`` is ``ceil(d_model / 16)``.
    :param dt_min, dt_max: range of the initial step sizes.
    :param A_init: initial state matrix; ``s4d-real`` is the paper's.
    """

    def __init__(
        self,
        d_model: int,
        d_state: Annotated[int, Field(ge=1, le=256)] = 16,
        d_conv: Annotated[int, Field(ge=2, le=8)] = 4,
        expand: Annotated[int, Field(ge=1)] = 2,
        dt_rank: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto",
        dt_min: Annotated[float, Field(gt=0)] = 0.001,
        dt_max: Annotated[float, Field(gt=0)] = 0.1,
        dt_init: Literal["random", "constant"] = "random",
        dt_scale: float = 1.0,
        dt_init_floor: Annotated[float, Field(gt=0)] = 1e-4,
        conv_bias: bool = True,
        bias: bool = False,
        A_init: initial.AInit = "s4d-real",
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if A_init != "s4d-real" and d_state % 2:
            raise ValueError(f"d_state={d_state}: {A_init} keeps conjugate pairs, use an even one")
        d_inner = expand * d_model
        options = _PathOptions(
            d_inner=d_inner,
            d_state=d_state,
            d_conv=d_conv,
            dt_rank=math.ceil(d_model / 16) if dt_rank == "auto" else dt_rank,
            dt_min=dt_min,
            dt_max=dt_max,
            dt_init=dt_init,
            dt_scale=dt_scale,
            dt_init_floor=dt_init_floor,
            conv_bias=conv_bias,
            A_init=A_init,
            device=device,
            dtype=dtype,
        )
        super().__init__(options)
        self.d_model = d_model
        kw: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        self.in_proj = nn.Linear(d_model, 2 * d_inner, **kw)
        self.out_proj = nn.Linear(d_inner, d_model, **kw)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`ScanMixer.project`."""
        inputs, gate = self.in_proj(x).chunk(2, dim=-1)
        return inputs, gate

    def combine(self, y: Tensor, gate: Tensor) -> Tensor:
        """See :meth:`ScanMixer.combine`."""
        return self.out_proj(y * F.silu(gate))

    def make_path(self) -> Mamba1Path:
        """See :meth:`ScanMixer.make_path`."""
        return Mamba1Path(self.options)

    def written(self, inputs: Tensor) -> Tensor:
        """x itself: B depends on it."""
        return inputs

    def with_written(self, inputs: Tensor, written: Tensor) -> Tensor:
        """See :meth:`ScanMixer.with_written`."""
        return written
