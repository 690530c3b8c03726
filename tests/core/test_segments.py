"""Several sets of tokens in one sequence: joined, read in their orders, split back exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamba_core import scan_orders
from mamba_core.mixers import MultiScan
from mamba_core.registry import ScanOrderError
from mamba_core.scan_orders import Segments

SIDES = st.integers(1, 4)
SIZES = st.lists(st.tuples(SIDES, SIDES, st.integers(0, 5)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=40)
@given(SIZES, st.booleans())
def test_packed_sets_come_back_bit_for_bit(sizes, both_ways):
    segments = Segments(both_ways, image="hilbert:tokens(head)", text="raster")
    layout = segments.layout(
        *({"image": (h, w)} | ({"text": (n,)} if n else {}) for h, w, n in sizes)
    )
    totals = layout.totals()
    sets = {name: torch.randn(1, total, 3) for name, total in totals.items() if total}
    joined = layout.join(sets)
    back = layout.split(joined)
    assert back.keys() == sets.keys()
    for name, tokens in sets.items():
        assert torch.equal(back[name], tokens)
    order, edges = layout.order(), layout.cu_seqlens
    assert order.shape == (2 if both_ways else 1, int(edges[-1]))
    for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        scan_orders.check_order(order[:, a:b] - a, b - a)


def test_each_set_is_read_in_its_order_and_the_whole_backwards():
    segments = Segments(both_ways=True, image="raster:T", text="reverse")
    layout = segments.layout({"image": (2, 3), "text": (2,)})
    assert layout.order().tolist() == [[0, 3, 1, 4, 2, 5, 7, 6], [6, 7, 5, 2, 4, 1, 3, 0]]
    image, text = torch.randn(4, 6, 2), torch.randn(4, 2, 2)
    joined = layout.join({"image": image, "text": text})
    assert torch.equal(joined, torch.cat([image, text], 1))


def test_sets_with_one_path_go_with_those_of_several():
    segments = Segments(image="cross", text="raster")
    order = segments.layout({"image": (2, 2), "text": (3,)}).order()
    assert order.shape == (4, 7)
    assert order[:, 4:].tolist() == [[4, 5, 6]] * 4
    with pytest.raises(ScanOrderError, match="same, or one"):
        Segments(a="cross", b="bidirectional")


def test_packed_segments_are_mixed_like_each_alone():
    segments = Segments(both_ways=True, image="hilbert", text="raster")
    shapes = [{"image": (2, 3), "text": (4,)}, {"image": (3, 3)}]
    layout = segments.layout(*shapes)
    torch.manual_seed(0)
    mixer = MultiScan(8, {"name": "mamba2", "d_state": 4, "headdim": 4}, 2).double()
    x = torch.randn(1, 19, 8, dtype=torch.float64)
    packed = mixer(x, order=layout.order(), cu_seqlens=layout.cu_seqlens)
    parts = [
        mixer(part, order=segments.layout(one).order())
        for part, one in zip(x.split([10, 9], 1), shapes, strict=True)
    ]
    torch.testing.assert_close(packed, torch.cat(parts, 1))


def test_bad_segments_are_named():
    segments = Segments(image="hilbert")
    with pytest.raises(ScanOrderError, match="no order for the set 'text'"):
        segments.layout({"text": (3,)})
    layout = segments.layout({"image": (2, 3)})
    with pytest.raises(ScanOrderError, match="'image' has 6 tokens here; 5 are given"):
        layout.join({"image": torch.zeros(1, 5, 2)})
    with pytest.raises(ScanOrderError, match="'points' needs an order of the shape"):
        Segments(points="points-hilbert")
    with pytest.raises(ScanOrderError, match="at least one"):
        Segments()
