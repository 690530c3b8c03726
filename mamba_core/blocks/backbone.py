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
from mamba_core.mixers.choice import takes_shape
from mamba_core.mixers.initial import zero_linear_biases

LayerOrder = scan_orders.NamedOrder | scan_orders.DataOrder
"""What one block reads."""

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
    """Paths of the mixer layers; None reads the tokens once, forward, and can stream. A mixer
    that reads the grid itself (``takes_shape``) stands alone, without paths."""
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
        self.orders = self._layer_orders(layers)
        rates = [config.block.drop_path * i / max(len(layers) - 1, 1) for i in range(len(layers))]
        self.blocks = nn.ModuleList(
            Block(config.d_model, [self._layer(x, order) for x in letters], config.block, rate)
            for letters, rate, order in zip(layers, rates, self.orders, strict=True)
        )
        self.norm = make_norm(config.block, config.d_model)
        self.connections = self._dense() if config.connection == "dense" else None
        self.gradient_checkpointing = config.gradient_checkpointing
        self._init_weights(sum(len(letters) for letters in layers))

    def _layer_orders(self, layers: tuple[str, ...]) -> list[LayerOrder | None]:
        """The order of each block with a mixer; they take turns where the config says so."""
        scan = self.config.scan
        if scan is None:
            return [None] * len(layers)
        order = scan_orders.get(scan.scan_order)
        if scan.merge == "none" and isinstance(order, scan_orders.NamedOrder):
            order = order.cycle()
        orders: list[LayerOrder | None] = []
        mixers = 0
        for letters in layers:
            own = order.for_layer(mixers) if hasattr(order, "for_layer") else order
            orders.append(own if "M" in letters else None)
            mixers += "M" in letters
        return orders

    def _layer(self, letter: str, order: LayerOrder | None) -> nn.Module:
        config = self.config
        if letter == "-":
            return GatedMLP(config.d_model, config.mlp)
        if letter == "*":
            return build_mixer(config.attention, config.d_model)
        if config.scan is None or order is None or takes_shape(config.mixer):
            return build_mixer(config.mixer, config.d_model)
        cover = order.cover if isinstance(order, scan_orders.NamedOrder) else "all"
        if (cover == "partition") != (config.scan.merge == "scatter"):
            raise ValueError(
                f"scan order {config.scan.scan_order!r} has the cover '{cover}': "
                "merge='scatter' goes with paths that share the tokens out, and only with them"
            )
        return MultiScan(
            config.d_model,
            config.mixer,
            scan_orders.paths(order),
            merge=config.scan.merge,
            share=config.scan.share,
            fold=order.folded if isinstance(order, scan_orders.NamedOrder) else (),
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
        read = _Tables(x, shape, context, cu_seqlens, order)
        history = History(self.config.dense_depth)
        for index, (block, own) in enumerate(zip(self.blocks, self.orders, strict=True)):
            run = partial(
                block,
                order=read.table(own),
                cu_seqlens=cu_seqlens,
                shape=shape or (x.shape[1],),
                connect=self._connect(index, history),
            )
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(run, x, use_reentrant=False)
            else:
                x = run(x)
        return self._last(x)

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
        if self.config.scan is not None:
            raise TypeError(
                f"cannot stream: scan order {self.config.scan.scan_order!r} is read over whole "
                "sequences; a stack built with scan=None reads the tokens once, as they arrive"
            )
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


class _Tables:
    """The tables of one forward, each made once however many blocks read it."""

    def __init__(
        self,
        x: Tensor,
        shape: tuple[int, ...] | None,
        context: Mapping[str, Tensor] | None,
        cu_seqlens: Tensor | None,
        given: Tensor | None,
    ) -> None:
        self._length, self._device = x.shape[1], x.device
        self._shape, self._context = shape, context or {}
        self._cu_seqlens, self._given = cu_seqlens, given
        self._made: dict[int, Tensor] = {}

    def table(self, order: LayerOrder | None) -> Tensor | None:
        """Return int64 ``(K, L)`` or ``(B, K, L)``; the given table comes before any order."""
        if self._given is not None or order is None:
            return self._given
        if id(order) not in self._made:
            self._made[id(order)] = self._make(order)
        return self._made[id(order)]

    def _make(self, order: LayerOrder) -> Tensor:
        if not isinstance(order, scan_orders.NamedOrder):
            return scan_orders.paths_of(order, self._context)
        if self._cu_seqlens is not None:
            lengths = self._cu_seqlens.diff().tolist()
            return scan_orders.packed(order, lengths, device=self._device)
        shape = self._shape or (self._length - order.extra((1,)),)
        length = math.prod(shape) + order.extra(shape)
        if length != self._length:
            raise ValueError(
                f"scan order {order.name!r} reads {length} tokens of the grid {tuple(shape)}, "
                f"there are {self._length}: name the grid in shape, and extra tokens in the "
                "order, as in 'hilbert:tokens(middle)'"
            )
        return order.inside(shape, device=self._device)
