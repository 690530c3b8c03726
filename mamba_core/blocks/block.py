"""One layer of a stack: norm, what the layer does, residual."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_core.blocks.mlp import GatedMLP
from mamba_core.config import STRICT
from mamba_core.mixers import MixerState, MultiScan, ScanMixer
from mamba_core.mixers.multi_scan import packing

Connect = Callable[[Tensor, Tensor], Tensor]
"""``(layer input, what would be written) -> what is written``: see ``connection.py``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BlockConfig:
    """Norm and residual of every layer."""

    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm or LayerNorm before each layer."""
    norm_eps: Annotated[float, Field(gt=0)] = 1e-5
    """Added to the variance."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of items per batch whose last layer is skipped in training; grows linearly from 0
    at the first layer."""
    layer_scale: float | None = None
    """Initial value of a learned factor per channel on each layer's output; None has none."""
    residual_in_fp32: bool = False
    """Keep the residual stream in fp32 when the weights are in a half precision."""


def make_norm(config: BlockConfig, d_model: int) -> nn.Module:
    """Build the norm that ``config`` names, over the last axis."""
    kind = nn.RMSNorm if config.norm == "rms" else nn.LayerNorm
    return kind(d_model, eps=config.norm_eps)


class DropPath(nn.Module):
    """Skip a layer for whole items in training (Huang et al., 1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """``(B, ...)``; kept items are scaled by ``1 / (1 - rate)``."""
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        mask = x.new_empty(x.shape[0], *[1] * (x.dim() - 1)).bernoulli_(keep)
        return x * mask / keep


class Block(nn.Module):
    """Pre-norm residual layer: ``x + drop_path(scale * sum of layers(norm(x)))``.

    :param layers: what the block does; several run in parallel on the same normed input.
    :param drop_path: this layer's rate.
    """

    def __init__(
        self, d_model: int, layers: Sequence[nn.Module], config: BlockConfig, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm = make_norm(config, d_model)
        self.layers = nn.ModuleList(layers)
        self.drop_path = DropPath(drop_path)
        self.residual_in_fp32 = config.residual_in_fp32
        scale = config.layer_scale
        self.scale = None if scale is None else nn.Parameter(torch.full((d_model,), scale))

    def forward(
        self,
        x: Tensor,
        *,
        order: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        shape: Sequence[int] | None = None,
        connect: Connect | None = None,
    ) -> Tensor:
        """Mix whole sequences, ``(B, L, d_model) -> (B, L, d_model)``.

        :param order: for the multi-path mixers in this block, int64 ``(K, L)`` or ``(B, K, L)``.
        :param cu_seqlens: int ``(sequences + 1,)`` for packed input.
        :param shape: the token grid, for mixers that read it.
        :param connect: changes what a scan writes into its state.
        """
        normed = self._normed(x)
        outputs = [_call(layer, normed, order, cu_seqlens, shape, connect) for layer in self.layers]
        return self._residual(x, outputs)

    def prefill(
        self,
        x: Tensor,
        state: MixerState,
        *,
        cu_seqlens: Tensor | None = None,
        connect: Connect | None = None,
    ) -> tuple[Tensor, MixerState]:
        """Continue sequences by any number of tokens; see :class:`~mamba_core.mixers.Mixer`."""
        normed = self._normed(x)
        outputs, states = [], []
        for layer, child in zip(self.layers, state.children, strict=True):
            y, after = _continue(layer, normed, child, cu_seqlens, connect)
            outputs.append(y)
            states.append(after)
        return self._residual(x, outputs), MixerState(children=tuple(states))

    def step(
        self, x: Tensor, state: MixerState, *, connect: Connect | None = None
    ) -> tuple[Tensor, MixerState]:
        """Continue each sequence by one token, ``(B, d_model) -> (B, d_model)``."""
        if connect is not None:  # a connection looks at the projections, which prefill exposes
            y, after = self.prefill(x[:, None], state, connect=connect)
            return y[:, 0], after
        normed = self._normed(x)
        outputs, states = [], []
        for layer, child in zip(self.layers, state.children, strict=True):
            if isinstance(layer, GatedMLP):
                y, after = layer(normed), child
            else:
                y, after = layer.step(normed, child)  # type: ignore[operator]
            outputs.append(y)
            states.append(after)
        return self._residual(x, outputs), MixerState(children=tuple(states))

    def init_state(self, batch_size: int) -> MixerState:
        """Return one child state per layer; an MLP's is empty."""
        return MixerState(
            children=tuple(
                MixerState() if isinstance(layer, GatedMLP) else _streaming(layer, batch_size)
                for layer in self.layers
            )
        )

    def _normed(self, x: Tensor) -> Tensor:
        return self.norm(x.to(self.norm.weight.dtype))  # type: ignore[arg-type]

    def _residual(self, x: Tensor, outputs: list[Tensor]) -> Tensor:
        y = torch.stack(outputs).sum(0) if len(outputs) > 1 else outputs[0]
        if self.scale is not None:
            y = y * self.scale
        if self.residual_in_fp32:
            x = x.to(torch.promote_types(x.dtype, torch.float32))
        return x + self.drop_path(y)


def _streaming(layer: nn.Module, batch_size: int) -> MixerState:
    if not hasattr(layer, "init_state"):
        raise TypeError(
            f"{type(layer).__name__} cannot stream: it has no init_state/prefill/step; "
            "call the model on whole sequences"
        )
    return layer.init_state(batch_size)  # type: ignore[operator]


def _connected(layer: ScanMixer, x: Tensor, connect: Connect) -> tuple[object, Tensor]:
    inputs, gate = layer.project(x)
    return layer.with_written(inputs, connect(x, layer.written(inputs))), gate


def _call(
    layer: nn.Module,
    x: Tensor,
    order: Tensor | None,
    cu_seqlens: Tensor | None,
    shape: Sequence[int] | None,
    connect: Connect | None,
) -> Tensor:
    if isinstance(layer, GatedMLP):
        return layer(x)
    if isinstance(layer, MultiScan):
        return layer(x, order=order, cu_seqlens=cu_seqlens, shape=shape)
    if getattr(layer, "takes_shape", False):
        return layer(x, shape=shape, **packing(cu_seqlens))
    if connect is not None and isinstance(layer, ScanMixer):
        inputs, gate = _connected(layer, x, connect)
        return layer.combine(layer.scan(inputs, cu_seqlens=cu_seqlens)[0], gate)
    return layer(x, **packing(cu_seqlens))


def _continue(
    layer: nn.Module,
    x: Tensor,
    state: MixerState,
    cu_seqlens: Tensor | None,
    connect: Connect | None,
) -> tuple[Tensor, MixerState]:
    if isinstance(layer, GatedMLP):
        return layer(x), state
    if connect is not None and isinstance(layer, ScanMixer):
        inputs, gate = _connected(layer, x, connect)
        y, after = layer.scan(inputs, cu_seqlens=cu_seqlens, state=state, return_state=True)
        assert after is not None
        return layer.combine(y, gate), after
    return layer.prefill(x, state, **packing(cu_seqlens))  # type: ignore[operator]
