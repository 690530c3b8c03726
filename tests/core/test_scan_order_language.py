"""The text of an order: what it means, what is refused and where the message points."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamba_core import registry, scan_orders
from mamba_core.registry import ScanOrderError
from mamba_core.scan_orders import lookup

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
ONE_PATH = ["raster", "hilbert", "spiral", "morton", "stripes(2)", "shuffle(1)", "diagonal"]


def table(text, shape=(3, 4)):
    return scan_orders.get(text)(shape)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(ONE_PATH), SHAPES)
def test_algebra(name, shape):
    assert torch.equal(table(f"{name}:reverse:reverse", shape), table(name, shape))
    assert torch.equal(table(f"{name}:T:T", shape), table(name, shape))
    assert torch.equal(table(f"{name}:reverse:T", shape), table(f"{name}:T:reverse", shape))
    assert torch.equal(table(f"{name}:rot90:rot90(3)", shape), table(name, shape))
    assert torch.equal(table(f"{name}:flip(0):flip(0)", shape), table(name, shape))
    assert torch.equal(table(f"{name}:axes(1, 0)", shape), table(f"{name}:T", shape))
    both = table(f"{name}+{name}:reverse", shape)
    assert torch.equal(both, torch.cat([table(name, shape), table(f"{name}:reverse", shape)]))


def test_transposing_is_reading_the_transposed_grid():
    ids = torch.arange(12).view(3, 4)
    assert torch.equal(table("raster:T")[0], ids.T.flatten())
    base = table("hilbert", (4, 3))[0]
    expected = (base % 3) * 4 + base // 3  # token (a, b) of the transposed grid is (b, a)
    assert torch.equal(table("hilbert:T")[0], expected)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("raster + raster:T + raster:reverse + raster:T:reverse", "cross"),
        ("(raster+raster:T):reverse", "reverse+raster:T:reverse"),
        ("window(size=2)", "window(2)"),
        ("raster:blocks(2)", "window(2)"),
        ("raster:T:blocks(2, 'raster:T')", "window(2):T"),
        ("zigzag8:path(0)", "serpentine"),
        ("serpentine+serpentine:reverse+serpentine:T+serpentine:T:reverse", "serpentine4"),
    ],
)
def test_equal_expressions(text, same):
    for shape in ((3, 4), (5, 5), (1, 6)):
        assert torch.equal(table(text, shape), table(same, shape))


def test_volumes_by_axes():
    shape = (2, 3, 4)
    assert torch.equal(table("raster:axes(1, 2, 0)", shape), table("temporal-first", shape))
    assert torch.equal(table("inter-slice(2)", shape), table("temporal-first", shape))


def test_blocks_of_a_curve_hold_together():
    order = table("hilbert:blocks(3, spiral)", (7, 8))[0]
    block = (order // 8 // 3) * 3 + order % 8 // 3
    assert len(torch.unique_consecutive(block)) == 9


def test_compose_reads_what_was_read():
    p, q = table("hilbert"), table("shuffle(1)")
    composed = scan_orders.compose(p, q, table("reverse"))
    assert torch.equal(composed[0], p[0][q[0]].flip(0))
    assert scan_orders.compose(p, table("cross")).shape == (4, 12)
    with pytest.raises(ScanOrderError, match="12 and of 4"):
        scan_orders.compose(p, table("raster", (2, 2)))
    with pytest.raises(ScanOrderError, match="4 paths do not compose with 2"):
        scan_orders.compose(table("cross"), table("bidirectional"))


def test_extra_tokens_stand_where_they_should():
    assert table("raster:tokens(head)", (4,)).tolist() == [[4, 0, 1, 2, 3]]
    assert table("raster:tokens(tail, 2)", (3,)).tolist() == [[0, 1, 2, 3, 4]]
    assert table("raster:tokens(middle)", (6,)).tolist() == [[0, 1, 2, 6, 3, 4, 5]]
    assert table("raster:tokens(ends, 2)", (3,)).tolist() == [[3, 0, 1, 2, 4]]
    # two registers among seven: one after every two tokens, three are left
    assert table("raster:tokens(spread, 2)", (7,)).tolist() == [[0, 1, 7, 2, 3, 8, 4, 5, 6]]
    assert table("raster:tokens(lines)", (2, 3)).tolist() == [[0, 1, 2, 6, 3, 4, 5, 7]]
    assert table("raster:tokens(lines):T", (2, 3)).tolist() == [[0, 3, 6, 1, 4, 7, 2, 5, 8]]
    assert table("raster:tokens(head):reverse", (3,)).tolist() == [[2, 1, 0, 3]]
    assert scan_orders.get("raster:tokens(lines):T").extra((2, 3)) == 3
    both = table("(raster+reverse):tokens(middle):tokens(head)", (4,))
    assert both.tolist() == [[5, 0, 1, 4, 2, 3], [5, 3, 2, 4, 1, 0]]


def test_folding_reads_slices_one_after_another():
    order = scan_orders.get("bidirectional:fold(0)")
    assert order((2, 3)).tolist() == [[0, 1, 2, 3, 4, 5], [2, 1, 0, 5, 4, 3]]
    assert order.inside((2, 3)).tolist() == [[0, 1, 2], [2, 1, 0]]
    assert scan_orders.get("raster:fold(1)")((2, 3)).tolist() == [[0, 3, 1, 4, 2, 5]]
    assert order.folded == (0,)
    assert scan_orders.get("hilbert:fold(0)").dims == 3


def test_layers_take_turns():
    turns = scan_orders.get("raster|raster:T|hilbert")
    names = [turns.for_layer(layer)((3, 4)).tolist() for layer in range(4)]
    assert names == [table(t).tolist() for t in ("raster", "raster:T", "hilbert", "raster")]
    with pytest.raises(ScanOrderError, match="for_layer"):
        turns((3, 4))
    cycle = scan_orders.get("zigzag8").cycle()
    assert torch.equal(cycle.for_layer(9)((3, 4)), table("zigzag8")[1:2])


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("hilbrt:reverse", 0, "Did you mean 'hilbert'"),
        ("hilbert:revers", 8, "Did you mean 'reverse'"),
        ("raster++raster", 7, "name of an order belongs here"),
        ("", 0, "name of an order"),
        ("window(3", 6, "never closed"),
        ("(raster", 0, "never closed"),
        ("raster)", 6, "does not belong here"),
        ("raster $", 7, "means nothing"),
        ("window(0)", 0, "greater than or equal to 1"),
        ("window(a=2)", 0, "it takes size"),
        ("window(2, 3)", 0, "takes size"),
        ("window(2, size=3)", 0, "given twice"),
        ("window(size=2, 3)", 15, "without a name come before"),
        ("raster+shuffle(seed=x)", 7, "valid integer"),
        ("raster(1)", 0, "takes no values"),
        ("raster:tokens(somewhere)", 7, "'head', 'tail'"),
        ("raster:tokens(ends, 3):T", 7, "even"),
        ("raster:axes(0, 0)", 7, "every axis"),
        ("raster:fold(x)", 7, "numbers of axes"),
        ("cross:path(4)", 6, "paths 0 .. 3"),
        ("sorted:T", 7, "not of the data"),
        ("sorted(3)", 0, "valid string"),
    ],
)
def test_errors_point_at_the_character(text, at, message):
    with pytest.raises(ScanOrderError, match=message) as caught:
        scan_orders.get(text)
    first, shown, caret = str(caught.value).split("\n")[:1] + str(caught.value).split("\n")[-2:]
    assert f"character {at}:" in first
    assert shown == "  " + text
    assert caret == "  " + " " * at + "^"


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("raster+atrous", (4, 4), "'\\+' joins orders"),
        ("cross+temporal-first", (4, 4), "2-d and 3-d"),
        ("raster+sorted", (4, 4), "of the data"),
        ("cross", (2, 2, 2), "2-d inputs"),
        ("raster:flip(1)", (4,), "axes 0 .. 0"),
        ("raster:tokens(lines)+raster:T:tokens(lines)", (2, 3), None),
        ("(raster:tokens(lines))+(raster:tokens(lines):T)", (2, 3), r"\[2, 3\] extra tokens"),
        ("raster", (2**16, 2**16), "tokens; kernels number"),
        ("raster:fold(0)", (4,), "no axis"),
    ],
)
def test_what_does_not_fit_is_refused(text, shape, message):
    if message is None:
        assert table(text, shape).shape == (2, 8)
        return
    with pytest.raises(ScanOrderError, match=message):
        scan_orders.get(text)(shape)


def test_tables_and_orders_are_remembered_but_registrations_count():
    assert scan_orders.get("hilbert:T") is scan_orders.get("hilbert:T")
    assert table("hilbert:T") is table("hilbert:T")
    with registry.isolated():
        registry.register_scan_order("mine", lambda s, *, device="cpu": table("raster", s), dims=2)
        assert torch.equal(table("mine"), table("raster"))
        registry.register_scan_order(
            "mine", lambda s, *, device="cpu": table("reverse", s), dims=2, replace=True
        )
        assert torch.equal(table("mine"), table("reverse"))
    with pytest.raises(ScanOrderError, match="mine"):
        scan_orders.get("mine")


def test_the_cache_is_bounded(monkeypatch):
    monkeypatch.setattr(lookup, "_cache", lookup._TableCache())
    monkeypatch.setattr(lookup, "CACHE_BYTES", 10_000)
    for side in range(10, 40):
        table("spiral", (side, side))
    assert lookup._cache._bytes <= 10_000 + 39 * 39 * 8
    assert len(lookup._cache._tables) < 10


@pytest.mark.parametrize("text", ["hilbert:T", "raster|hilbert:T", "zigzag8"])
def test_orders_are_copied_and_pickled_by_name(text):
    order = scan_orders.get(text)
    order = order.cycle() if text == "zigzag8" else order
    for other in (copy.deepcopy(order), pickle.loads(pickle.dumps(order))):
        assert torch.equal(other.for_layer(1)((3, 4)), order.for_layer(1)((3, 4)))


def own(make, *, dims=1, causal=False):
    return scan_orders.of_function(make, dims=dims, name="own", causal=causal)


def test_a_plain_function_is_an_order_and_may_have_parameters():
    def evens(shape, *, device="cpu", step: int = 2):
        return (torch.arange(shape[0], device=device) % step).argsort(stable=True)[None]

    assert own(evens)((5,)).tolist() == [[0, 2, 4, 1, 3]]
    with registry.isolated():
        registry.register_scan_order("evens", evens, dims=1)
        assert scan_orders.get("evens(3)")((5,)).tolist() == [[0, 3, 1, 4, 2]]


def test_bad_orders_are_refused_with_the_first_wrong_index():
    random = own(lambda s, *, device="cpu": torch.randperm(s[0])[None])
    with pytest.raises(ScanOrderError, match=r"not deterministic: \[0\]\[\d+\] was"):
        random((64,))
    with pytest.raises(ScanOrderError, match=r"\[1\]\[2\] = 0.*already read"):
        own(lambda s, *, device="cpu": torch.tensor([[0, 1, 2], [0, 1, 0]]))((3,))
    with pytest.raises(ScanOrderError, match="its last axis must be the 3 tokens"):
        own(lambda s, *, device="cpu": torch.arange(2)[None])((3,))
    with pytest.raises(ScanOrderError, match="it was asked for on meta"):
        own(lambda s, *, device="cpu": torch.arange(3)[None])((3,), device="meta")
    with pytest.raises(ScanOrderError, match=r"not causal: \[0\]\[1\] = 1 belongs to time step 1"):
        own(lambda s, *, device="cpu": torch.tensor([[2, 1, 0]]), causal=True)((3,))
    with pytest.raises(ScanOrderError, match="2 paths, not one"):
        own(lambda s, *, device="cpu": torch.arange(3).repeat(2, 1), causal=True)((3,))
    rank = scan_orders.inverse(torch.arange(3)[None])
    with pytest.raises(ScanOrderError, match="is a Rank"):
        own(lambda s, *, device="cpu": rank)((3,))


def test_causal_orders_may_turn_inside_a_time_step():
    frames = torch.tensor([[1, 0, 3, 2]])
    scan_orders.check_causal(frames, (2, 2))
    with pytest.raises(ScanOrderError, match="time step 0, after one of step 1"):
        scan_orders.check_causal(frames.flip(1), (2, 2))


@pytest.mark.parametrize(
    ("paths", "cover", "message"),
    [
        ([[0, 2, -1], [1, 3, 4]], "partition", None),
        ([[0, -1, 2], [1, 3, 4]], "partition", r"\[0\]\[2\] = 2 follows an empty slot"),
        ([[0, 2, -1], [1, 3, 3]], "partition", r"\[1\]\[2\] = 3: this token was already"),
        ([[0, 2, -1], [1, 3, -1]], "partition", "never reads token 4"),
        ([[0, 2, -1], [1, 3, 9]], "partition", r"\[1\]\[2\] = 9: token ids run"),
        ([[0, -1, 1, 2, 3, -1, 4]], "padded", None),
        ([[0, -1, 1, 2, 3, -1, 0]], "padded", "never reads token 4"),
        ([[0, 1, 2, 3, 4, 0]], "padded", r"\[0\]\[5\] = 0"),
        ([[0, 1, 2, 3, -1]], "all", r"\[0\]\[4\] = -1"),
    ],
)
def test_partial_covers_are_what_they_say(paths, cover, message):
    table = torch.tensor(paths)
    if message is None:
        assert scan_orders.check_cover(table, 5, cover) is table
        return
    with pytest.raises(ScanOrderError, match=message):
        scan_orders.check_cover(table, 5, cover)


def test_packed_refuses_what_cannot_be_packed():
    with pytest.raises(ScanOrderError, match="cannot read packed"):
        scan_orders.packed(scan_orders.get("raster:tokens(head)"), [3, 4])


def test_the_decorator_takes_what_the_record_holds():
    with registry.isolated():

        @registry.scan_order("halves", dims=1, cover="partition", continuity="unit")
        def halves(shape, *, device="cpu"):
            tokens = torch.arange(shape[0], device=device)
            return torch.stack(
                [tokens[::2], torch.nn.functional.pad(tokens[1::2], (0, 1), value=-1)]
            )

        order = scan_orders.get("halves:reverse")
        assert order((5,)).tolist() == [[4, 2, 0], [3, 1, -1]]
        assert (order.cover, order.paths) == ("partition", 2)
        with pytest.raises(ScanOrderError, match="loses the others"):
            scan_orders.get("halves:path(0)")


def test_a_plugins_order_may_be_used_in_expressions():
    from mamba_registry.specs import ScanOrderSpec

    spec = ScanOrderSpec(name="acme/own", dims=2, order="mamba_core.scan_orders.continuous:spiral")
    with registry.isolated(spec):
        assert torch.equal(table("acme/own:reverse"), table("spiral:reverse"))
