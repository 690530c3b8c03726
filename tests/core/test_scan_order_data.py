"""Orders read off the data: clouds, content, learned tours; each item by itself."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamba_core import scan_orders
from mamba_core.registry import ScanOrderError
from mamba_core.scan_orders.tour import annealed_tour, greedy_tour, tour_cost

POINTS = ["points-hilbert", "points-morton", "points-snake", "octree", "points-hilbert(cell=0.02)"]


def cloud(*sizes, seed=0):
    return torch.rand(*sizes, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", POINTS)
def test_points_are_each_read_once_and_clouds_do_not_matter_to_each_other(name):
    order, points = scan_orders.get(name), cloud(3, 50)
    table = order({"points": points})
    scan_orders.check_order(table, 50)
    points[1] *= 100
    points[2] -= 7
    assert torch.equal(order({"points": points})[0], table[0])
    assert torch.equal(order({"points": points[1:2]}), order({"points": points})[1:2])


@pytest.mark.parametrize("name", POINTS)
def test_packed_points_are_separate_clouds(name):
    order, points = scan_orders.get(name), cloud(12)
    edges = torch.tensor([0, 5, 5, 12])
    packed = order({"points": points, "cu_seqlens": edges})
    parts = [order({"points": points[None, a:b]})[0] + a for a, b in ((0, 5), (5, 12))]
    assert torch.equal(packed, torch.cat(parts))


def test_equal_points_keep_their_own_order():
    for name in POINTS:
        order = scan_orders.get(name)({"points": torch.ones(1, 9, 3)})
        assert order.tolist() == [list(range(9))]


@pytest.mark.parametrize(
    ("name", "grid"),
    [("points-hilbert(bits=2)", "hilbert3d"), ("points-snake(bits=2)", "snake3d"),
     ("points-morton(bits=2)", "morton"), ("octree(2)", "morton")],
)  # fmt: skip
def test_a_full_grid_of_points_is_read_like_the_volume(name, grid):
    points = torch.cartesian_prod(*[torch.arange(4.0)] * 3)
    order = scan_orders.get(name)({"points": points[None]})
    assert torch.equal(order, scan_orders.get(grid)((4, 4, 4)))


def test_trans_exchanges_the_first_two_axes():
    points = cloud(1, 30)
    swapped = points[..., [1, 0, 2]]
    plain, trans = (scan_orders.get(f"points-hilbert{a}") for a in ("", "(yxz)"))
    assert torch.equal(trans({"points": points}), plain({"points": swapped}))


def test_the_nine_orders_of_a_point_model_take_turns():
    cycle, points = scan_orders.get(scan_orders.POINT_CYCLE), {"points": cloud(1, 40)}
    tables = [cycle.for_layer(layer)(points).tolist() for layer in range(9)]
    assert all(a != b for a, b in itertools.combinations(tables, 2))
    assert cycle.for_layer(9)(points).tolist() == tables[0]


def test_voxels_have_a_fixed_template():
    voxels = torch.tensor([[[0, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 0]]])
    order = scan_orders.get("voxels-hilbert(bits=1)")({"voxels": voxels})
    template = scan_orders.inverse(scan_orders.get("hilbert3d")((2, 2, 2))[0]).positions
    ids = voxels[0] @ torch.tensor([4, 2, 1])
    assert torch.equal(order[0], template[ids].argsort())
    with pytest.raises(ScanOrderError, match=r"run from 0 to 2; a curve of 1 bits holds 0 .. 1"):
        scan_orders.get("voxels-hilbert(bits=1)")({"voxels": 2 * voxels})


@pytest.mark.parametrize("points", [torch.zeros(4, 2), torch.zeros(1, 2, 3, dtype=torch.int64)])
def test_what_is_no_cloud_is_refused(points):
    with pytest.raises(ScanOrderError, match="belong here"):
        scan_orders.get("points-hilbert")({"points": points})
    with pytest.raises(ScanOrderError, match="axes='xxz'"):
        scan_orders.get("points-hilbert(xxz)")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
@settings(deadline=None, max_examples=30)
def test_sorting_is_stable(key):
    order = scan_orders.get("sorted(score)")
    assert order.inputs == ("score",)
    expected = sorted(range(len(key)), key=lambda t: key[t])
    assert order({"score": torch.tensor([key])}).tolist() == [expected]


def test_sorting_packed_stays_inside():
    order = scan_orders.get("sorted(descending=true)")
    context = {"class_id": torch.tensor([1, 2, 2, 5, 9]), "cu_seqlens": torch.tensor([0, 3, 5])}
    assert order(context).tolist() == [1, 2, 0, 4, 3]
    back = scan_orders.get("sorted+sorted:reverse")
    assert back.inputs == ("class_id",)
    assert back.paths == 2
    assert back(context).tolist() == [[0, 1, 2, 3, 4], [2, 1, 0, 4, 3]]
    with pytest.raises(ScanOrderError, match="needs cu_seqlens"):
        back({"class_id": context["class_id"]})
    with pytest.raises(ScanOrderError, match=r"reads \['class_id'\]"):
        scan_orders.paths_of(order, {})


def test_an_order_read_both_ways_is_worked_out_once():
    calls = []

    class Counted:
        inputs = ()

        def __call__(self, context):
            calls.append(1)
            return torch.arange(4)

    one = scan_orders.DataPaths.of([Counted()])
    both = scan_orders.DataPaths.of([one, one.reversed()])
    assert both({"cu_seqlens": torch.tensor([0, 3, 4])}).tolist() == [[0, 1, 2, 3], [2, 1, 0, 3]]
    assert len(calls) == 1


def test_quadtree_reads_the_best_quadrant_finer():
    scores = torch.zeros(2, 4, 4)
    scores[0, 0, 3] = 1  # quadrant 1
    scores[1, 3, 0] = 1  # quadrant 2
    order = scan_orders.get("quadtree-scores")({"scores": scores})
    plain = scan_orders.get("quadtree(1)")((4, 4))[0].view(4, 4)
    fine = scan_orders.get("quadtree(2)")((4, 4))[0].view(4, 4)
    for row, best in enumerate((1, 2)):
        expected = plain.clone()
        expected[best] = fine[best]
        assert torch.equal(order[row], expected.flatten())


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 2), (5, 7)])
def test_quadtree_on_any_grid(shape):
    scores = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    table = scan_orders.get("quadtree-scores")({"scores": scores})
    scan_orders.check_order(table, shape[0] * shape[1])


def test_greedy_and_annealed_tours():
    cost = torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    greedy = greedy_tour(cost)
    assert int(greedy[0]) == int(cost.diagonal().argmin())
    left = set(range(6)) - {int(greedy[0])}
    for a, b in itertools.pairwise(greedy.tolist()):
        assert cost[a, b] == min(cost[a, c] for c in left)
        left.remove(b)
    annealed = annealed_tour(cost, greedy, seed=1, steps=800)
    assert annealed.sort().values.tolist() == list(range(6))
    assert tour_cost(cost, annealed) <= tour_cost(cost, greedy)
    assert torch.equal(annealed, annealed_tour(cost, greedy, seed=1, steps=800))
    best = min(tour_cost(cost, torch.tensor(p)) for p in itertools.permutations(range(6)))
    assert tour_cost(cost, annealed) <= best * 1.2 + 0.1


def test_variate_costs_belong_to_their_own_sample():
    tour = scan_orders.VariateTour(3)
    with pytest.raises(ScanOrderError, match="nothing was recorded"):
        tour.solve()
    loss = torch.tensor([1.0, 3.0])
    tour.record(torch.tensor([[0, 1, 2], [2, 1, 0]]), loss)
    scaled = loss / loss.std()
    expected = torch.zeros(3, 3)
    expected[0, 0] = expected[0, 1] = expected[1, 2] = scaled[0]
    expected[2, 2] = expected[2, 1] = expected[1, 0] = scaled[1]
    torch.testing.assert_close(tour.cost, expected)
    assert tour.solve("greedy").tolist() == [0, 1, 2]
    assert torch.equal(tour.state_dict()["tour"], torch.tensor([0, 1, 2]))


def test_axis_of_a_series_follows_its_correlations():
    time = torch.linspace(0, 12, 80)[:, None]
    alike = torch.sin(time) + 0.01 * torch.rand(80, 5, generator=torch.Generator().manual_seed(0))
    assert scan_orders.series_axis(alike) == "variates"
    apart = torch.rand(80, 5, generator=torch.Generator().manual_seed(0))
    assert scan_orders.series_axis(apart) == "patches"
    assert scan_orders.series_axis(apart[:, :1]) == "patches"
