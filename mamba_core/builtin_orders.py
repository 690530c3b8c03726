"""The records of the core's own scan orders. Light: nothing here imports torch.

``continuity`` is the worst over all shapes; orders that do better at some say so themselves.
"""

from __future__ import annotations

from mamba_registry.specs import Continuity, Cover, ScanOrderSpec


def _order(
    name: str,
    dims: int | None,
    where: str,
    summary: str,
    *,
    causal: bool = False,
    continuity: Continuity = "jumps",
    cover: Cover = "all",
) -> ScanOrderSpec:
    return ScanOrderSpec(
        name=name,
        dims=dims,
        order=f"mamba_core.scan_orders.{where}",
        summary=summary,
        causal=causal,
        continuity=continuity,
        cover=cover,
    )


_SEQUENCE = (
    _order("raster", None, "sequence:raster", "tokens as they lie in memory", causal=True),
    _order("reverse", None, "sequence:reverse", "last token first"),
    _order("bidirectional", None, "sequence:bidirectional", "two paths, forward and backward"),
    _order("partial-flip", None, "sequence:partial_flip", "all but the last few backwards"),
    _order("inter-slice", None, "sequence:inter_slice", "a token of every slice in turn"),
    _order("shuffle", None, "sequence:shuffle", "a fixed random order"),
    _order("shuffle-rows", None, "sequence:shuffle_rows", "rows of the first axis shuffled"),
)
_SWEEPING = (
    _order("cross", 2, "sweeping:cross", "rows, columns and both backwards (VMamba)"),
    _order("cross-rot90", 2, "sweeping:cross_rot90", "raster of the grid in four quarter turns"),
    _order("diagonal", 2, "sweeping:diagonal", "anti-diagonals, each downwards"),
    _order("jpeg", 2, "sweeping:jpeg", "anti-diagonals, up and down in turn", continuity="king"),
    _order("omnidirectional", 2, "sweeping:omnidirectional", "eight straight directions"),
    _order("axis-alternation-2d", 2, "sweeping:axis_alternation_2d", "rows, columns, both ways"),
)
_CONTINUOUS = (
    _order(
        "serpentine", None, "continuous:serpentine", "every other row backwards", continuity="unit"
    ),
    _order("snake3d", 3, "continuous:serpentine", "serpentine through a volume", continuity="unit"),
    _order(
        "serpentine4",
        2,
        "continuous:serpentine4",
        "serpentine rows and columns, both ways",
        continuity="unit",
    ),
    _order(
        "zigzag8",
        2,
        "continuous:zigzag8",
        "serpentines from each corner (ZigMa)",
        continuity="unit",
    ),
    _order("spiral", 2, "continuous:spiral", "clockwise inwards", continuity="unit"),
    _order("stripes", 2, "continuous:stripes", "serpentine inside vertical stripes (MaIR)"),
    _order("stripes4", 2, "continuous:stripes4", "stripes, turned and transposed (MaIR)"),
    _order("hilbert", 2, "hilbert:hilbert", "generalised Hilbert curve", continuity="king"),
    _order(
        "hilbert8", 2, "hilbert:hilbert8", "Hilbert curve in eight positions", continuity="king"
    ),
    _order("hilbert-square", 2, "hilbert:hilbert_square", "Hilbert curve of the enclosing square"),
    _order("hilbert3d", 3, "hilbert:hilbert3d", "Hilbert curve of the enclosing cube"),
    _order("morton", None, "hilbert:morton", "z-order"),
)
_WINDOWED = (
    _order("window", 2, "window:window", "window after window (LocalMamba)"),
    _order(
        "window-padded",
        2,
        "window:window_padded",
        "windows with empty slots (LocalMamba's)",
        cover="padded",
    ),
    _order(
        "atrous",
        2,
        "window:atrous",
        "every second row and column, four parts (EfficientVMamba)",
        cover="partition",
    ),
    _order("quadtree", 2, "window:quadtree", "quadrants of quadrants"),
)
_VOLUME = (
    _order("spatial-first", 3, "sequence:raster", "frame after frame (VideoMamba)", causal=True),
    _order("temporal-first", 3, "volume:temporal_first", "each pixel through all frames"),
    _order("axis-alternation", 3, "volume:axis_alternation", "each axis fastest, both ways"),
)
_DATA = (
    _order("points-hilbert", None, "points:PointHilbert", "points along a Hilbert curve"),
    _order("points-morton", None, "points:PointMorton", "points in z-order"),
    _order("points-snake", None, "points:PointSnake", "points along a serpentine"),
    _order("octree", None, "points:Octree", "points in z-order of an octree's nodes"),
    _order("voxels-hilbert", None, "points:VoxelHilbert", "voxels along a Hilbert curve"),
    _order("sorted", None, "content:Sorted", "sorted by a number per token"),
    _order("quadtree-scores", None, "content:QuadtreeScores", "quadrants, the best one finer"),
)

SCAN_ORDERS = _SEQUENCE + _SWEEPING + _CONTINUOUS + _WINDOWED + _VOLUME + _DATA
"""What ``mamba-core list --scan-orders`` shows of the core."""
