"""A stack of layers described by a pattern."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mamba_core import scan_orders
from mamba_core.blocks.block import Block, BlockConfig, Connect, make_norm
from mamba_core.blocks.connection import DenseConnection, History
from mamba_core.blocks.mlp import GatedMLP, MLPConfig
from mamba_core.blocks.pattern import parse_pattern
from mamba_core.config import STRICT
from mamba_core.mixers import (
    MixerChoice,
    MixerState,
    MultiScan,
    MultiScanConfig,
    ScanMixer,
    build_mixer,
)
from mamba_core.mixers.initial import zero_linear_biases

_INTO_RESIDUAL = ("out_proj", "fc2")
"""Names of the Linears that write into the residual stream."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BackboneConfig:
    """Everything a :class:`Backbone` is built from."""

    d_model: Annotated[int, Field(ge=1)]
    """Channels of the tokens."""
    pattern: str = "M-M-"
    """One letter per layer: M mixer, * attention, - MLP, [M*] parallel."""
    mixer: MixerChoice = MixerChoice("mamba2")
    """What M stands for: a registered mixer and its fields."""
    attention: MixerChoice = MixerChoice("attention")
    """What * stands for."""
    scan: MultiScanConfig | None = None
    """Paths of the mixer layers; None reads the tokens once, forward, and can stream."""
    mlp: MLPConfig = MLPConfig()
    """Width of the MLP layers."""
    block: BlockConfig = BlockConfig()
    """Norm and residual of every layer."""
    connection: Literal["residual", "dense"] = "residual"
    """``dense``: a scan's state also takes what the mixer layers before it would write."""
    dense_depth: Annotated[int, Field(ge=1)] = 1
    """How many layers back a dense connection reaches."""
    gradient_checkpointing: bool = False
    """Recompute each layer in the backward pass instead of keeping its activations."""


class Backbone(nn.Module):
    """Layers by pattern, then a last norm: ``(B, L, d_model) -> (B, L, d_model)``.

    ``out_proj`` and ``fc2`` weights start divided by the square root of the number of layers,
    so that the residual stream's variance does not grow with depth (GPT-2's rule, as in
    ``mamba_ssm``).

    :raises ValueError: for a pattern that is none, or a connection the mixer cannot make.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        layers = parse_pattern(config.pattern)
        self.order = scan_orders.get(config.scan.scan_order) if config.scan else None
        rates = [config.block.drop_path * i / max(len(layers) - 1, 1) for i in range(len(layers))]
        self.blocks = nn.ModuleList(
            Block(config.d_model, [self._layer(x) for x in letters], config.block, rate)
            for letters, rate in zip(layers, rates, strict=True)
        )
        self.norm = make_norm(config.block, config.d_model)
        self.connections = self._dense() if config.connection == "dense" else None
        self.gradient_checkpointing = config.gradient_checkpointing
        self._init_weights(sum(len(letters) for letters in layers))

    def _layer(self, letter: str) -> nn.Module:
        config = self.config
        if letter == "-":
            return GatedMLP(config.d_model, config.mlp)
        if letter == "*":
            return build_mixer(config.attention, config.d_model)
        if config.scan is None:
            return build_mixer(config.mixer, config.d_model)
        assert self.order is not None
        return MultiScan(
            config.d_model,
            config.mixer,
            scan_orders.paths(self.order),
            merge=config.scan.merge,
            share=config.scan.share,
        )

    def _dense(self) -> nn.ModuleList:
        """One connection per block; an Identity where the block has no scan of its own."""
        connections: list[nn.Module] = []
        depth = 0
        for block in self.blocks:
            scans = [x for x in block.layers if isinstance(x, ScanMixer)]  # type: ignore[union-attr]
            if not scans:
                connections.append(nn.Identity())
                continue
            inputs, _ = scans[0].project(_probe(scans[0], self.config.d_model))
            width = scans[0].written(inputs).shape[-1]
            reach = min(depth, self.config.dense_depth)
            connections.append(DenseConnection(self.config.d_model, width, reach))
            depth += 1
        if not depth:
            raise ValueError(
                "connection='dense' joins the states of single-path Mamba-1 or Mamba-2 layers; "
                f"pattern {self.config.pattern!r} with mixer {self.config.mixer.name!r} has none"
            )
        return nn.ModuleList(connections)

    @torch.no_grad()
    def _init_weights(self, residuals: int) -> None:
        zero_linear_biases(self)
        for name, parameter in self.named_parameters():
            parts = name.split(".")
            if parts[-1] == "weight" and parts[-2] in _INTO_RESIDUAL:
                parameter.div_(math.sqrt(residuals))

    def forward(
        self,
        x: Tensor,
        *,
        shape: tuple[int, ...] | None = None,
        order: Tensor | None = None,
        context: Mapping[str, Tensor] | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> Tensor:
        """Mix whole sequences.

        :param x: tokens, ``(B, L, d_model)``; packed ``(1, sum of L, d_model)``.
        :param shape: the token grid for the scan order, ``(L,)`` when None.
        :param order: a table int64 ``(K, L)`` or ``(B, K, L)`` in place of the configured order.
        :param context: what a data order reads, by name.
        :param cu_seqlens: int ``(sequences + 1,)``.
        :returns: a tensor like ``x``.
        """
        if order is None and self.order is not None:
            order = self._order(x, shape, context, cu_seqlens)
        history = History(self.config.dense_depth)
        for index, block in enumerate(self.blocks):
            run = partial(
                block, order=order, cu_seqlens=cu_seqlens, connect=self._connect(index, history)
            )
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(run, x, use_reentrant=False)
            else:
                x = run(x)
        return self._last(x)

    def _order(
        self,
        x: Tensor,
        shape: tuple[int, ...] | None,
        context: Mapping[str, Tensor] | None,
        cu_seqlens: Tensor | None,
    ) -> Tensor:
        if not isinstance(self.order, scan_orders.NamedOrder):
            assert self.order is not None
            missing = [name for name in self.order.inputs if name not in (context or {})]
            if missing:
                raise ValueError(f"the scan order reads {missing}: hand them over in context")
            order = self.order(context or {})
            return order[None] if order.dim() == 1 else order[:, None]
        if cu_seqlens is not None:
            lengths = cu_seqlens.diff().tolist()
            return scan_orders.packed(self.order, lengths, device=x.device)
        return self.order(shape or (x.shape[1],), device=x.device)

    def _connect(self, index: int, history: History) -> Connect | None:
        if self.connections is None or isinstance(self.connections[index], nn.Identity):
            return None
        return history.connector(self.connections[index])  # type: ignore[arg-type]

    def _last(self, x: Tensor) -> Tensor:
        return self.norm(x.to(self.norm.weight.dtype))  # type: ignore[arg-type]

    def init_state(self, batch_size: int) -> MixerState:
        """Return the state before the first token; see :class:`~mamba_core.mixers.Mixer`.

        :raises TypeError: when a layer is not causal.
        """
        return MixerState(children=tuple(b.init_state(batch_size) for b in self.blocks))  # type: ignore[operator]

    def prefill(
        self, x: Tensor, state: MixerState, *, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, MixerState]:
        """Continue sequences by any number of tokens, ``(B, L, d_model)``."""
        history, states = History(self.config.dense_depth), []
        for index, (block, child) in enumerate(zip(self.blocks, state.children, strict=True)):
            connect = self._connect(index, history)
            x, after = block.prefill(x, child, cu_seqlens=cu_seqlens, connect=connect)  # type: ignore[operator]
            states.append(after)
        return self._last(x), MixerState(children=tuple(states))

    def step(self, x: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Continue each sequence by one token, ``(B, d_model)``."""
        history, states = History(self.config.dense_depth), []
        for index, (block, child) in enumerate(zip(self.blocks, state.children, strict=True)):
            x, after = block.step(x, child, connect=self._connect(index, history))  # type: ignore[operator]
            states.append(after)
        return self._last(x), MixerState(children=tuple(states))

    def set_gradient_checkpointing(self, on: bool = True) -> None:
        """Trade a second forward per layer for the memory of its activations."""
        self.gradient_checkpointing = on


def _probe(mixer: ScanMixer, d_model: int) -> Tensor:
    weight = next(mixer.parameters())
    return torch.zeros(1, 1, d_model, dtype=weight.dtype, device=weight.device)
