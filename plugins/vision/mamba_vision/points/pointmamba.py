"""PointMamba (Liang et al., 2402.10739): tokens of groups, read along space-filling curves.

The tokens stand in the order of one curve, then of another, one sequence after the other; a
learned scale and shift per curve tells them apart. A column of causal mixers reads the whole.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_core import scan_orders
from mamba_core.blocks import Backbone, BackboneConfig, BlockConfig
from mamba_core.config import STRICT
from mamba_core.mixers import Merge, MixerChoice, MultiScanConfig
from mamba_core.registry import ConfigError
from mamba_vision.points.groups import GroupTokens, farthest_points, gather, neighbours

Reading = Merge | Literal["joined"]
"""What becomes of K paths. ``joined``: K sequences one after another, read in one pass
(PointMamba); else K passes merged as in the other tasks, and with ``none`` one path per layer."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PointMambaConfig:
    """Groups of neighbours, and a column of mixers over them."""

    kind: Literal["pointmamba"] = "pointmamba"
    """Which architecture this is."""
    groups: Annotated[int, Field(ge=1)] = 64
    """Tokens: centres, far from each other. A cloud needs as many points."""
    neighbours: Annotated[int, Field(ge=1)] = 32
    """Points of a group."""
    token_width: Annotated[int, Field(ge=1)] = 128
    """First width of the small PointNet that makes a token of a group."""
    d_model: Annotated[int, Field(ge=1)] = 384
    """Channels of the tokens."""
    depth: Annotated[int, Field(ge=1)] = 12
    """Mixer layers."""
    mixer: MixerChoice = MixerChoice("mamba1")
    """A registered mixer and its fields."""
    scan_order: str = "points-hilbert(xyz, 10, 0.02)+points-hilbert(yxz, 10, 0.02)"
    """A registered order of points or of a sequence, or an expression; with ``a|b`` layers take
    turns. By default Hilbert curves over cells of 0.02, the second with x and y exchanged; their
    bit depth is fixed, so that a cloud's order does not depend on its batch."""
    merge: Reading = "joined"
    """What becomes of the paths."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Highest rate of stochastic depth, reached by the last layer."""


class PointMamba(nn.Module):
    """Clouds ``(B, N, 3 + features)`` -> tokens; see :class:`PointMambaConfig`.

    :param columns: of a point, the first three of them its place.
    :raises ConfigError: for an order that reads other data than points.
    """

    def __init__(self, config: PointMambaConfig, columns: int) -> None:
        super().__init__()
        self.config, self.num_features = config, config.d_model
        d = config.d_model
        self.tokens = GroupTokens(columns, d, config.token_width)
        self.positions = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, d))
        self.order = _order(config) if config.merge == "joined" else None
        paths = scan_orders.paths(self.order) if self.order is not None else 0
        self.scale = nn.Parameter(torch.ones(paths, d)) if paths else None
        self.shift = nn.Parameter(torch.zeros(paths, d)) if paths else None
        self.column = Backbone(_column(config))

    def forward_features(self, points: Tensor) -> Tensor:
        """Return the normed tokens ``(B, G, d_model)``, of K joined paths ``(B, K G, d_model)``.

        :param points: ``(B, N, columns)``, normalised; the first three columns are the places.
        """
        places = points[..., :3]
        centres = gather(places, farthest_points(places, self.config.groups))
        near = gather(points, neighbours(places, centres, self.config.neighbours))
        local = torch.cat([near[..., :3] - centres[:, :, None], near[..., 3:]], dim=-1)
        tokens, where = self.tokens(local), self.positions(centres)
        if self.order is None:
            context = {"points": centres.float()}
            return self.column(tokens + where, shape=(1, centres.shape[1]), context=context)
        x = self._joined(tokens, where, centres.float())
        return self.column(x, shape=(1, x.shape[1]))

    def _joined(self, tokens: Tensor, where: Tensor, centres: Tensor) -> Tensor:
        """Tokens along every path, one path after another: ``(B, K G, d_model)``."""
        assert self.scale is not None
        assert self.shift is not None
        table = self._table(centres)
        sequences = [
            gather(tokens, table[:, k]) * self.scale[k] + self.shift[k] + gather(where, table[:, k])
            for k in range(table.shape[1])
        ]
        return torch.cat(sequences, dim=1)

    def _table(self, centres: Tensor) -> Tensor:
        """The paths of every cloud, int64 ``(B, K, G)``."""
        if isinstance(self.order, scan_orders.NamedOrder):
            paths = self.order((centres.shape[1],), device=centres.device)
            return paths.expand(len(centres), -1, -1)
        return scan_orders.paths_of(self.order, {"points": centres})  # type: ignore[arg-type]

    def pool(self, features: Tensor) -> Tensor:
        """The mean of the tokens."""
        return features.mean(1)

    def set_gradient_checkpointing(self, on: bool = True) -> None:
        """Recompute each layer in the backward pass instead of keeping its activations."""
        self.column.set_gradient_checkpointing(on)


def _order(config: PointMambaConfig) -> scan_orders.NamedOrder | scan_orders.DataOrder:
    order = scan_orders.get(config.scan_order)
    if hasattr(order, "for_layer") and not isinstance(order, scan_orders.NamedOrder):
        raise ConfigError(
            f"scan_order = {config.scan_order!r} differs from layer to layer, merge='joined' makes "
            "one sequence for all: join the parts by '+', or set merge='none'"
        )
    _check(order, config.scan_order)
    return order  # type: ignore[return-value]


def _check(order: object, text: str) -> None:
    """Raise for an order that a cloud cannot give what it reads."""
    other = [name for name in getattr(order, "inputs", ()) if name != "points"]
    grid = getattr(order, "dims", None) not in (None, 1)
    if other or grid:
        what = f"reads {', '.join(other)}" if other else "is for grids"
        raise ConfigError(
            f"scan_order = {text!r} {what}; a cloud has points: take one of points-hilbert, "
            "points-morton, points-snake, octree, or an order of a sequence"
        )


def _column(config: PointMambaConfig) -> BackboneConfig:
    scan = None
    if config.merge != "joined":
        order = scan_orders.get(config.scan_order)
        for part in getattr(order, "orders", (order,)):
            _check(part, config.scan_order)
        scan = MultiScanConfig(scan_order=config.scan_order, merge=config.merge)
    return BackboneConfig(
        d_model=config.d_model,
        pattern="M" * config.depth,
        mixer=config.mixer,
        scan=scan,
        block=BlockConfig(norm="layer", drop_path=config.drop_path),
    )
