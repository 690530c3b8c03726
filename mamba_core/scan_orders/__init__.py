"""Scan orders: in which order a mixer reads the tokens.

An order is data, ``(K, L)`` int64: path ``k`` reads ``sequence[i] = tokens[order[k, i]]``.
Orders are looked up by name, so that plugins and users can add theirs
(``@registry.scan_order("checkerboard", dims=2)``), and put together by a small language:
``get("hilbert:reverse")``, ``get("window(7)+window(7):T")``.
"""

from __future__ import annotations

from mamba_core.scan_orders.check import check_causal, check_cover, check_order
from mamba_core.scan_orders.compose import compose
from mamba_core.scan_orders.content import series_axis
from mamba_core.scan_orders.continuity import continuous, step_labels
from mamba_core.scan_orders.data_paths import DataPaths, paths_of
from mamba_core.scan_orders.extras import insert, places
from mamba_core.scan_orders.locality import Locality, locality
from mamba_core.scan_orders.lookup import (
    LayeredOrder,
    NamedOrder,
    Order,
    get,
    list,
    of_function,
    packed,
    paths,
)
from mamba_core.scan_orders.picture import draw
from mamba_core.scan_orders.points import POINT_CYCLE
from mamba_core.scan_orders.protocols import DataOrder, ShapeOrder
from mamba_core.scan_orders.rank import Rank, inverse
from mamba_core.scan_orders.segments import Layout, Segments
from mamba_core.scan_orders.tour import VariateTour

__all__ = [
    "POINT_CYCLE",
    "DataOrder",
    "DataPaths",
    "LayeredOrder",
    "Layout",
    "Locality",
    "NamedOrder",
    "Order",
    "Rank",
    "Segments",
    "ShapeOrder",
    "VariateTour",
    "check_causal",
    "check_cover",
    "check_order",
    "compose",
    "continuous",
    "draw",
    "get",
    "insert",
    "inverse",
    "list",
    "locality",
    "of_function",
    "packed",
    "paths",
    "paths_of",
    "places",
    "series_axis",
    "step_labels",
]
