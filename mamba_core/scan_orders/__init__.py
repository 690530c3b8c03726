"""Scan orders: in which order a mixer reads the tokens.

An order is data, ``(K, L)`` int64: path ``k`` reads ``sequence[i] = tokens[order[k, i]]``.
Orders are looked up by name, so that plugins and users can add theirs
(``@registry.scan_order("checkerboard", dims=2)``).
"""

from __future__ import annotations

from mamba_core.scan_orders.check import check_order
from mamba_core.scan_orders.lookup import NamedOrder, get, list, packed, paths
from mamba_core.scan_orders.protocols import DataOrder, ShapeOrder
from mamba_core.scan_orders.rank import Rank, inverse

__all__ = [
    "DataOrder",
    "NamedOrder",
    "Rank",
    "ShapeOrder",
    "check_order",
    "get",
    "inverse",
    "list",
    "packed",
    "paths",
]
