"""Which mixer reads the tokens of a grid, along which order; and stacks of such layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mamba_core import registry, scan_orders
from mamba_core.blocks import Block, BlockConfig
from mamba_core.config import STRICT
from mamba_core.mixers import Merge, MixerChoice, MultiScan, Share, build_mixer
from mamba_core.mixers.choice import fields_model
from mamba_core.mixers.initial import zero_linear_biases
from mamba_core.registry import ConfigError
from mamba_vision.backbones.parts import Mlp


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mixing:
    """How tokens are mixed: any registered mixer along any registered order."""

    mixer: MixerChoice = MixerChoice("mamba1")
    """A registered mixer and its fields."""
    scan_order: str = "bidirectional"
    """A registered order or an expression; its paths are what is scanned. With ``a|b`` layers
    take turns. Mixers that read the grid without an order do not use it."""
    merge: Merge = "mean"
    """How the paths become one; mixers with paths of their own (``ss2d``) do it themselves."""
    share: Share | None = None
    """What the paths have in common; None takes ``projections`` where the mixer allows it."""

    def changed(
        self,
        mixer: MixerChoice | None = None,
        scan_order: str | None = None,
        merge: Merge | None = None,
    ) -> Mixing:
        """Return this with what is given in place of its own."""
        return Mixing(
            mixer=mixer or self.mixer,
            scan_order=scan_order or self.scan_order,
            merge=merge or self.merge,
            share=self.share if mixer is None else None,  # it was said of the other mixer
        )


def takes_shape(choice: MixerChoice) -> bool:
    """Whether a mixer reads the grid itself, without an order around it."""
    build = registry.resolve(registry.mixer_spec(choice.name).build)
    return bool(getattr(build, "takes_shape", False))


_PROBE = (2, 3, 4)
"""A grid on which different paths differ."""
_GRIDS = {2: "an image needs an order of two-dimensional", 3: "a clip needs one of (t, h, w)"}


def layer_orders(
    mixing: Mixing, depth: int, extra: str | None, dims: int
) -> list[scan_orders.NamedOrder]:
    """Return the order each layer reads.

    :param extra: place of a class token in every path (``head, middle, tail``), or None.
    :param dims: dimensions of the grid.
    :raises ConfigError: for an order that depends on the data, which grids do not bring, and for
        one of grids of other dimensions.
    """
    parts = mixing.scan_order.split("|")  # layers take turns
    if extra is not None:
        parts = _with_token(parts, extra, dims, causal=_is_causal(mixing.mixer))
    orders = [scan_orders.get(part) for part in parts]
    if mixing.merge == "none" and len(orders) == 1:
        orders = list(orders[0].cycle().orders) if hasattr(orders[0], "cycle") else orders
    for one in orders:
        if not isinstance(one, scan_orders.NamedOrder) or one.dims not in (None, dims):
            raise ConfigError(
                f"scan_order = {mixing.scan_order!r}: {_GRIDS[dims]} grids; see "
                "`mamba-core list --scan-orders`"
            )
    return [orders[k % len(orders)] for k in range(depth)]  # type: ignore[misc]


def _is_causal(choice: MixerChoice) -> bool:
    """Whether a mixer's outputs depend on no later token of a path."""
    return registry.mixer_spec(choice.name).causal and choice.fields.get("causal", True)


def _with_token(parts: list[str], place: str, dims: int, *, causal: bool) -> list[str]:
    """Put a class token into every path of every part.

    A path that is an earlier one backwards has it mirrored, as when a whole sequence is flipped: a
    token that stands first on the way there is the last on the way back, and sees all others.

    :param causal: whether mixers see earlier tokens only.
    :raises ConfigError: for a token that then is read before all others in every path.
    """
    forward: list[tuple[str, Tensor]] = []
    placed = []
    sees = place != "head" or not causal
    for part in parts:
        order = scan_orders.get(part)
        fits = isinstance(order, scan_orders.NamedOrder) and order.dims in (None, dims)
        if not fits or order.cover != "all" or order.folded:  # type: ignore[union-attr]
            placed.append(f"({part}):tokens({place})")  # refused elsewhere, with the reason
            continue
        texts = []
        for k, path in enumerate(order(_PROBE[-dims:])):  # type: ignore[operator,arg-type]
            name = f"({part}):path({k})"
            twin = next((text for text, other in forward if torch.equal(other.flip(0), path)), None)
            sees |= twin is not None
            if twin is None:
                forward.append((name, path))
            texts.append(f"{twin}:tokens({place}):reverse" if twin else f"{name}:tokens({place})")
        placed.append("+".join(texts))
    if forward and not sees:
        raise ConfigError(
            f"scan_order = {'|'.join(parts)!r} has no path backwards, so a class token that is "
            "read first sees no other token: set architecture.class_token='last', or add a path "
            "such as 'raster:reverse'"
        )
    return placed


def make_mixer(d_model: int, mixing: Mixing, order: scan_orders.NamedOrder) -> nn.Module:
    """Build one layer's mixer: alone when it reads the grid itself, else in a MultiScan.

    :raises ConfigError: for an order whose cover does not go with the merge.
    """
    if takes_shape(mixing.mixer):
        build = registry.resolve(registry.mixer_spec(mixing.mixer.name).build)
        choice = mixing.mixer
        if "scan_order" in fields_model(build).model_fields and "scan_order" not in choice.fields:
            choice = MixerChoice(choice.name, **choice.fields, scan_order=order.name)
        return build_mixer(choice, d_model)
    if (order.cover == "partition") != (mixing.merge == "scatter"):
        raise ConfigError(
            f"scan_order = {mixing.scan_order!r} has the cover '{order.cover}': merge='scatter' "
            "goes with paths that share the tokens out, and only with them"
        )
    return MultiScan(
        d_model,
        mixing.mixer,
        order.paths,
        merge=mixing.merge,
        share=mixing.share,
        fold=order.folded,
    )


class GridStack(nn.Module):
    """Layers over the tokens of a grid: a mixer each, with an MLP behind it where asked for.

    :param mixing: mixer and order of every layer.
    :param rates: drop-path rate of every layer; their number is the depth.
    :param block: norm and residual; its own ``drop_path`` is not used.
    :param mlp_ratio: hidden channels of the MLP per channel; 0 has none.
    :param extra: place of a class token, which then is the last row of the tokens.
    :param dims: dimensions of the grid. A mixer that reads the grid itself knows two of them: to
        it the frames of a clip lie one below another, as one high image.
    :param beside: makes, of the number of channels, what stands beside every mixer and is added.
    """

    def __init__(
        self,
        d_model: int,
        mixing: Mixing,
        rates: Sequence[float],
        *,
        block: BlockConfig,
        mlp_ratio: float = 0.0,
        extra: str | None = None,
        dims: int = 2,
        beside: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.reads_grid = takes_shape(mixing.mixer)
        if extra is not None and self.reads_grid:
            raise ConfigError(
                f"mixer {mixing.mixer.name!r} reads the grid itself and has no place for a class "
                "token: set architecture.class_token='none'"
            )
        self.orders = layer_orders(mixing, len(rates), extra, dims)
        self.blocks = nn.ModuleList()
        self.depth = len(rates)
        self.per_layer = 2 if mlp_ratio else 1
        for rate, order in zip(rates, self.orders, strict=True):
            parallel = [make_mixer(d_model, mixing, order)]
            if beside is not None:
                parallel.append(beside(d_model))
            self.blocks.append(Block(d_model, parallel, block, rate))
            if mlp_ratio:
                mlp = Mlp(d_model, round(mlp_ratio * d_model))
                self.blocks.append(Block(d_model, [mlp], block, rate))
        self.gradient_checkpointing = False

    def forward(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """``(B, L, d_model)`` -> the same shape; ``shape`` is the grid."""
        return self.run(x, shape, ())[0]

    def run(
        self, x: Tensor, shape: tuple[int, ...], taps: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the output, and the tokens behind each layer whose number is in ``taps``."""
        tables: dict[int, Tensor] = {}
        taken = []
        seen = (math.prod(shape[:-1]), shape[-1]) if self.reads_grid else shape
        for layer, order in enumerate(self.orders):
            if id(order) not in tables:
                tables[id(order)] = order.inside(shape, device=x.device)
            for block in self._blocks_of(layer):
                run = partial(block, order=tables[id(order)], shape=seen)
                if self.gradient_checkpointing and torch.is_grad_enabled():
                    x = checkpoint(run, x, use_reentrant=False)
                else:
                    x = run(x)
            if layer in taps:
                taken.append(x)
        return x, taken

    def _blocks_of(self, layer: int) -> nn.ModuleList:
        return self.blocks[layer * self.per_layer : (layer + 1) * self.per_layer]


def drop_rates(highest: float, depth: int) -> list[float]:
    """Return drop-path rates that grow linearly from 0 to ``highest``."""
    return [highest * i / max(depth - 1, 1) for i in range(depth)]


@torch.no_grad()
def start_residuals(module: nn.Module, layers: int) -> None:
    """Zero the biases of Linears and shrink what writes into the residual stream.

    ``out_proj`` and ``fc2`` weights are divided by the square root of the number of layers, so
    that the stream's variance does not grow with depth (GPT-2's rule, as in ``mamba_ssm``).
    """
    zero_linear_biases(module)
    for name, parameter in module.named_parameters():
        parts = name.split(".")
        if parts[-1] == "weight" and parts[-2] in ("out_proj", "fc2"):
            parameter.div_(layers**0.5)
