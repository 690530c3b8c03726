"""Orders of the data, put together: several paths, and backwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mamba_core.scan_orders.protocols import DataOrder
from mamba_registry.errors import ScanOrderError


def paths_of(order: DataOrder, context: Mapping[str, Tensor]) -> Tensor:
    """Return an order's paths with their axis: ``(B, K, L)``, or ``(K, sum of L)`` packed.

    :raises ScanOrderError: for an input that is missing.
    """
    missing = [name for name in order.inputs if name not in context]
    if missing:
        raise ScanOrderError(
            f"the scan order reads {missing}, the context holds {sorted(context)}: "
            "hand them over in context"
        )
    order_ = order(context)
    several = getattr(order, "paths", 1) > 1
    return order_ if several else order_.unsqueeze(-2)


class DataPaths:
    """The paths of several data orders, some of them backwards.

    :param parts: each order, and whether it is reversed.
    """

    def __init__(self, parts: Sequence[tuple[DataOrder, bool]]) -> None:
        self.parts = tuple(parts)
        self.inputs = tuple(dict.fromkeys(name for part, _ in parts for name in part.inputs))
        self.paths = sum(getattr(part, "paths", 1) for part, _ in parts)

    @classmethod
    def of(cls, orders: Sequence[DataOrder]) -> DataPaths:
        """Join orders; those that are joined already become part of the same object."""
        parts: list[tuple[DataOrder, bool]] = []
        for order in orders:
            parts += order.parts if isinstance(order, DataPaths) else [(order, False)]
        return cls(parts)

    def reversed(self) -> DataPaths:
        """Return the same paths, each the other way round."""
        return DataPaths([(part, not back) for part, back in self.parts])

    def __call__(self, context: Mapping[str, Tensor]) -> Tensor:
        """Return int64 ``(B, K, L)`` or packed ``(K, sum of L)``; without the K when it is 1.

        Packed sequences (``context["cu_seqlens"]``) are each reversed in their own place. An
        order that is read both ways is worked out once.
        """
        once = {id(part): part for part, _ in self.parts}
        forward = {key: paths_of(part, context) for key, part in once.items()}
        tables = [
            _backwards(forward[id(part)], context) if back else forward[id(part)]
            for part, back in self.parts
        ]
        table = torch.cat(tables, dim=-2)
        return table if self.paths > 1 else table.squeeze(-2)


def _backwards(table: Tensor, context: Mapping[str, Tensor]) -> Tensor:
    if table.dim() == 3:
        return table.flip(-1)
    edges = context.get("cu_seqlens")
    if edges is None:
        raise ScanOrderError(
            "a packed order is reversed inside its sequences: context needs cu_seqlens"
        )
    place = torch.arange(table.shape[-1], device=table.device)
    sequence = torch.searchsorted(edges[1:].to(place), place, right=True)
    return table[:, edges[sequence] + edges[sequence + 1] - 1 - place]
