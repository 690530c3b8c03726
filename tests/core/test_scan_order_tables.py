"""What every order of the shape keeps: cover, inverse, continuity, determinism, any shape."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mamba_core import scan_orders
from mamba_core.registry import ScanOrderError
from mamba_core.scan_orders.continuity import continuity_of
from mamba_core.scan_orders.hilbert import hilbert_code

RANKING = ("unit", "king", "jumps")
GRIDS = {
    1: [(1,), (2,), (7,), (16,)],
    2: [
        (1, 1), (1, 7), (7, 1), (2, 3), (3, 5), (4, 4), (5, 4), (7, 7), (6, 10), (14, 14), (13, 17),
    ],
    3: [(1, 1, 1), (2, 2, 3), (3, 5, 2), (4, 4, 4)],
}  # fmt: skip


def shape_orders():
    return [spec for spec in scan_orders.list() if isinstance(scan_orders.get(spec.name), Named)]


Named = scan_orders.NamedOrder
CASES = [
    (spec.name, dims) for spec in shape_orders() for dims in GRIDS if spec.dims in (None, dims)
]
PARAMETERS = ["window(3)", "atrous(3)", "stripes(3, shift=1)", "quadtree(4)", "inter-slice(5)",
              "partial-flip(2)", "shuffle(seed=5)", "stripes4(width=2)"]  # fmt: skip


def check(order, shape):
    """Everything that can be said of any order at one shape."""
    table = order(shape)
    length = math.prod(shape) + order.extra(shape)
    scan_orders.check_cover(table, length, order.cover)
    assert len(table) == order.paths
    tokens = torch.randn(length, 2)
    for path in table:
        real = path[path >= 0]
        if order.cover == "all":
            rank = scan_orders.inverse(path)
            assert torch.equal(rank.positions[path], torch.arange(length))
            assert torch.equal(rank.positions, path.argsort())
            assert torch.equal(rank.restore(tokens[path]), tokens)
        declared = order.continuity(shape)
        assert RANKING.index(continuity_of(real, shape)) <= RANKING.index(declared), (order, shape)


@pytest.mark.parametrize(("name", "dims"), CASES)
def test_every_order_at_every_listed_shape(name, dims):
    for shape in GRIDS[dims]:
        check(scan_orders.get(name), shape)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_order_at_random_shapes(data):
    name, dims = data.draw(st.sampled_from(CASES))
    shape = tuple(data.draw(st.lists(st.integers(2, 24 // dims), min_size=dims, max_size=dims)))
    check(scan_orders.get(name), shape)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(PARAMETERS),
    st.sampled_from(["", ":reverse", ":T", ":rot90(3)", ":flip(1)", ":reverse:T"]),
    st.tuples(st.integers(3, 20), st.integers(3, 20)),
)
@example("stripes(3, shift=1)", ":T", (4, 7))
def test_parameters_and_modifiers_at_random_shapes(name, modifier, shape):
    check(scan_orders.get(name + modifier), shape)


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)))
@settings(max_examples=30, deadline=None)
def test_hilbert_takes_at_most_one_diagonal_step(shape):
    moves = scan_orders.continuity.steps(scan_orders.get("hilbert")(shape)[0], shape).abs()
    assert not (moves.amax(1) > 1).any() if len(moves) else True
    assert int((moves.sum(1) > 1).sum()) <= (max(shape) % 2 and not min(shape) % 2)


SHARES = {  # of unit steps at 14x14, 7x7, 3x5, 6x4
    "raster": (0.933, 0.875, 0.857, 0.783),
    "raster:T": (0.933, 0.875, 0.714, 0.870),
    "serpentine": (1, 1, 1, 1),
    "spiral": (1, 1, 1, 1),
    "zigzag8:path(5)": (1, 1, 1, 1),
    "hilbert": (1, 1, 1, 1),
    "hilbert-square": (0.974, 0.979, 0.857, 0.957),
    "morton": (0.503, 0.542, 0.643, 0.522),
    "window(2)": (0.503, 0.562, 0.643, 0.522),
}


@pytest.mark.parametrize("name", SHARES)
def test_locality_is_the_published_one(name):
    shapes = ((14, 14), (7, 7), (3, 5), (6, 4))
    for shape, share in zip(shapes, SHARES[name], strict=True):
        measured = scan_orders.locality(scan_orders.get(name)(shape)[0], shape)
        assert measured.unit_steps == pytest.approx(share, abs=5e-4)


def test_locality_of_raster_is_known():
    measured = scan_orders.locality(torch.arange(12), (3, 4))
    assert measured.unit_steps == pytest.approx(9 / 11)
    assert measured.mean_jump == pytest.approx((9 + 2 * 4) / 11)
    assert measured.neighbour_distance == pytest.approx((9 * 1 + 8 * 4) / 17)


@pytest.fixture(scope="module")
def golden(request):
    folder = request.getfixturevalue("shared_data").parent / "golden"
    file = folder / "scan_orders.json"
    if not file.is_file():
        pytest.skip(f"no golden vectors at {folder}")
    return json.loads(file.read_text())


GOLDEN = {
    "raster": "raster",
    "raster_flip": "raster:reverse",
    "cross2d": "cross",
    "zigzag8_zigma": "zigzag8",
    "window_w2": "window(2)",
    "window_w2_padded": "window-padded(2)",
    "gilbert_order": "hilbert",
    "morton_row_major_pair": "morton",
    "interslice_segmamba": "inter-slice(3)",
    "video_spatial_first": "spatial-first",
    "video_temporal_first": "temporal-first",
    "mid_cls_vim": "raster:tokens(middle)",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_vectors(name, golden):
    wanted = golden[name]
    shape = wanted.get("shape") or [wanted.get("length") or wanted["tokens"]]
    paths = wanted.get("orders") or [wanted["order"]]
    assert scan_orders.get(GOLDEN[name])(shape).tolist() == paths


def test_zigmas_hilbert_is_a_rank_read_as_an_order(golden):
    wrong = torch.tensor(golden["gilbert_rank_as_used_in_zigma_code"]["order"])
    right = scan_orders.get("hilbert")((4, 4))[0]
    assert torch.equal(scan_orders.inverse(right).positions, wrong)
    assert continuity_of(wrong, (4, 4)) == "jumps"


def test_definitions_by_plain_loops():
    height, width = 5, 7
    cells = [(i, j) for i in range(height) for j in range(width)]

    def ids(order):
        return [i * width + j for i, j in order]

    def table(name):
        return scan_orders.get(name)((height, width)).tolist()

    assert table("diagonal")[0] == ids(sorted(cells, key=lambda c: (c[0] + c[1], c[0])))
    jpeg = sorted(cells, key=lambda c: (c[0] + c[1], c[0] if (c[0] + c[1]) % 2 else -c[0]))
    assert table("jpeg")[0] == ids(jpeg)
    ring, spiral, at, step = set(cells), [(0, 0)], (0, 0), (0, 1)
    while len(spiral) < len(cells):
        ahead = (at[0] + step[0], at[1] + step[1])
        if ahead in ring and ahead not in spiral:
            at = ahead
            spiral.append(at)
        else:
            step = (step[1], -step[0])
    assert table("spiral")[0] == ids(spiral)
    parts = [
        [(i, j) for i in range(a, height, 2) for j in range(b, width, 2)]
        for b in (0, 1)
        for a in (0, 1)
    ]
    for k in (1, 3):
        parts[k].sort(key=lambda c: (c[1], c[0]))
    assert [[t for t in row if t >= 0] for row in table("atrous")] == [ids(p) for p in parts]
    rot = [torch.rot90(torch.arange(35).view(5, 7), k).flatten().tolist() for k in range(4)]
    assert table("cross-rot90") == rot


def test_stripes_go_down_and_up():
    order = scan_orders.get("stripes(2)")((3, 4))[0].tolist()
    assert order == [0, 1, 5, 4, 8, 9, 10, 11, 7, 6, 2, 3]
    assert scan_orders.get("stripes(2)").continuity((3, 4)) == "unit"
    assert scan_orders.get("stripes(2)").continuity((4, 4)) == "jumps"


def test_axis_alternation_reads_each_axis_fastest():
    grid = torch.arange(24).view(2, 3, 4)
    paths = scan_orders.get("axis-alternation")((2, 3, 4))
    for pair, axes in enumerate(((0, 1, 2), (0, 2, 1), (2, 1, 0))):
        assert torch.equal(paths[2 * pair], grid.permute(axes).flatten())
        assert torch.equal(paths[2 * pair + 1], paths[2 * pair].flip(0))


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_skillings_code_is_continuous_on_the_cube(bits):
    side = 2**bits
    order = scan_orders.get("hilbert3d")((side, side, side))[0]
    assert continuity_of(order, (side, side, side)) == "unit"
    digits = list(torch.cartesian_prod(*[torch.arange(side)] * 3).unbind(1))
    assert torch.equal(hilbert_code(digits, bits).sort().values, torch.arange(side**3))


def test_partial_flip_keeps_the_last():
    assert scan_orders.get("partial-flip(2)")((5,)).tolist() == [[2, 1, 0, 3, 4]]
    assert scan_orders.get("partial-flip(9)")((3,)).tolist() == [[0, 1, 2]]


def test_shuffles_depend_on_their_seed_alone():
    one, again = scan_orders.get("shuffle(3)")((30,)), scan_orders.get("shuffle( seed = 3)")((30,))
    torch.manual_seed(5)
    assert torch.equal(one, again)
    assert not torch.equal(one, scan_orders.get("shuffle(4)")((30,)))
    rows = scan_orders.get("shuffle-rows(1)")((5, 4))[0].view(5, 4)
    assert torch.equal(rows - rows[:, :1], torch.arange(4).expand(5, 4))


def test_step_labels_name_the_moves():
    order = scan_orders.get("serpentine4")((2, 3))
    assert order[0].tolist() == [0, 1, 2, 5, 4, 3]
    labels = scan_orders.step_labels(order, (2, 3))
    assert labels[0].tolist() == [0, 1, 1, 4, 2, 2]
    assert labels[1].tolist() == [0, 1, 1, 3, 2, 2]
    assert labels[2].tolist() == [0, 4, 1, 3, 1, 4]
    with pytest.raises(ValueError, match="4-neighbour"):
        scan_orders.step_labels(scan_orders.get("raster")((2, 3)), (2, 3))


def test_windows_larger_than_the_grid_are_refused():
    with pytest.raises(ScanOrderError, match="window of 5 is larger than the grid"):
        scan_orders.get("window(5)")((4, 4))
    assert scan_orders.get("window(5)")((1, 5)).tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.slow
def test_a_large_hilbert_curve_takes_seconds_and_is_one():
    order = scan_orders.hilbert.hilbert((2048, 2048))
    assert continuity_of(order[0], (2048, 2048)) == "unit"


def test_orders_are_counted_while_models_are_built_without_memory():
    """``mamba-core info`` builds every preset on the meta device."""
    with torch.device("meta"):
        for name, dims in CASES:
            order = scan_orders.get(f"{name}:reverse")
            assert order.paths == scan_orders.get(name).build(GRIDS[dims][-1]).shape[0]
