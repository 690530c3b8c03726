"""Orders are permutations, inverses undo them, and what is not an order is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mamba_core import registry, scan_orders
from mamba_core.registry import ScanOrderError

SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)


@given(SHAPES, st.sampled_from(["raster", "reverse", "bidirectional"]))
def test_builtin_orders_are_permutations_and_invert(shape, name):
    order = scan_orders.get(name)(shape)
    length = int(torch.tensor(shape).prod())
    tokens = torch.randn(length, 3)
    for path in order:
        assert torch.equal(path.sort().values, torch.arange(length))
        assert torch.equal(scan_orders.inverse(path).restore(tokens[path]), tokens)


def test_rank_of_several_paths_is_restored_path_by_path():
    order = scan_orders.get("bidirectional")((5,))
    rank = scan_orders.inverse(order)
    tokens = torch.arange(5)
    assert torch.equal(rank[1].restore(tokens[order[1]], dim=0), tokens)
    with pytest.raises(ValueError, match="one path"):
        rank.restore(tokens)


def test_paths_counts_rows():
    assert scan_orders.paths(scan_orders.get("raster")) == 1
    assert scan_orders.paths(scan_orders.get("bidirectional")) == 2


def test_packed_orders_stay_inside_their_sequences():
    order = scan_orders.packed(scan_orders.get("reverse"), [3, 0, 2])
    assert order.tolist() == [[2, 1, 0, 4, 3]]
    assert scan_orders.packed(scan_orders.get("bidirectional"), [0]).shape == (2, 0)


def test_tables_are_remembered():
    order = scan_orders.get("raster")
    assert order((7,)) is order((7,))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_empty_grids_are_refused(shape):
    with pytest.raises(ScanOrderError, match=">= 1"):
        scan_orders.get("raster")(shape)


def test_unknown_name_gets_a_suggestion():
    with pytest.raises(ScanOrderError, match="raster"):
        scan_orders.get("rastor")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (torch.tensor([[0, 1, 1]]), r"\[2\] = 1"),
        (torch.tensor([[0, 3, 1]]), r"\[1\] = 3"),
        (torch.tensor([[0, -1, 1]]), r"\[1\] = -1"),
        (torch.tensor([[0, 1]]), "3 tokens"),
        (torch.tensor([[0, 1, 2]], dtype=torch.int32), "int64"),
        ([[0, 1, 2]], "list"),
    ],
)
def test_what_is_no_order_is_refused_with_the_first_wrong_index(table, message):
    with pytest.raises(ScanOrderError, match=message):
        scan_orders.check_order(table, 3)


def test_a_rank_is_refused_where_an_order_belongs():
    rank = scan_orders.inverse(torch.tensor([2, 0, 1]))
    with pytest.raises(ScanOrderError, match="Rank"):
        scan_orders.check_order(rank, 3)
    with pytest.raises(TypeError, match="Rank"):
        scan_orders.inverse(rank)


def test_a_users_bad_order_is_refused_when_used():
    with registry.isolated():

        @registry.scan_order("twice", dims=1)
        def twice(shape, *, device="cpu"):
            return torch.zeros(1, shape[0], dtype=torch.int64, device=device)

        with pytest.raises(ScanOrderError, match=r"'twice'.*\[1\] = 0"):
            scan_orders.get("twice")((4,))
        with pytest.raises(ScanOrderError, match="1-d"):
            scan_orders.get("twice")((2, 2))


def test_a_table_first_asked_for_while_predicting_serves_training():
    order = scan_orders.get("bidirectional")
    with torch.inference_mode():
        order((31,))
    assert not order((31,)).is_inference()
