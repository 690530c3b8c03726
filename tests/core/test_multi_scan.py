"""Several paths in one mixer: equal to reading, mixing and merging by hand."""

from __future__ import annotations

import pytest
import torch

from mamba_core import registry, scan_orders
from mamba_core.blocks import Backbone, BackboneConfig
from mamba_core.mixers import Mamba1, Mamba2, MixerChoice, MultiScan, MultiScanConfig
from mamba_core.mixers.mamba1 import F
from mamba_core.mixers.merge import Sum
from mamba_core.mixers.paths import map_inputs
from mamba_kernels import ops

D, L = 8, 7
MIXERS = [{"name": "mamba1", "d_state": 4}, {"name": "mamba2", "d_state": 4, "headdim": 4}]


def build(mixer, order, **options):
    torch.manual_seed(0)
    return MultiScan(D, mixer, order.shape[0], **options).double()


@pytest.fixture
def order():
    generator = torch.Generator().manual_seed(0)
    return torch.stack([torch.randperm(L, generator=generator) for _ in range(3)])


@pytest.fixture
def x():
    return torch.randn(2, L, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("share", ["none", "all"])
@pytest.mark.parametrize("merge", ["sum", "mean"])
def test_whole_mixers_read_permuted_tokens(mixer, share, merge, order, x):
    module = build(mixer, order, share=share, merge=merge)
    readers = [module.mixer, *module.others] if share == "none" else [module.mixer] * 3
    expected = torch.zeros_like(x)
    for reader, path in zip(readers, order, strict=True):
        expected[:, path] += reader(x[:, path])
    expected = expected / 3 if merge == "mean" else expected
    torch.testing.assert_close(module(x, order=order), expected)


def test_shared_projections_are_vims_form(x):
    """out_proj(mean of forward and flipped scans, each gated by z), as in Vim v2."""
    order = scan_orders.get("bidirectional")((L,))
    module = build(MIXERS[0], order, share="projections")
    first = module.mixer
    assert isinstance(first, Mamba1)
    inputs, z = first.project(x)
    ahead, _ = first.scan(inputs)
    back, _ = module.others[0].scan(inputs.flip(1))
    gated = (ahead * F.silu(z) + (back * F.silu(z.flip(1))).flip(1)) / 2
    torch.testing.assert_close(module(x, order=order), first.out_proj(gated))


def test_shared_projections_have_one_set_per_path():
    module = build(MIXERS[0], torch.zeros(2, 1), share="projections")
    names = {name.rsplit(".", 1)[0] for name, _ in module.others[0].named_parameters()}
    assert "in_proj" not in names
    assert {"conv1d", "x_proj", "dt_proj"} <= names


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("share", ["projections", "none", "all"])
@pytest.mark.parametrize("merge", ["sum", "mean", "concat", "gate"])
def test_every_form_trains_every_parameter(mixer, share, merge, order, x):
    module = build(mixer, order, share=share, merge=merge)
    module(x, order=order).square().sum().backward()
    assert [n for n, p in module.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("share", ["projections", "none"])
def test_packed_is_separate(share, x):
    named = scan_orders.get("bidirectional")
    module = build(MIXERS[1], named((1,)), share=share)
    lengths = [3, 4]
    packed = module(
        x[:1],
        order=scan_orders.packed(named, lengths),
        cu_seqlens=torch.tensor([0, 3, 7], dtype=torch.int32),
    )
    parts = x[:1].split(lengths, 1)
    separate = [module(p, order=named((p.shape[1],))) for p in parts]
    torch.testing.assert_close(packed, torch.cat(separate, 1))


@pytest.mark.parametrize("share", ["projections", "none"])
def test_each_item_may_have_its_own_order(share, order, x):
    module = build(MIXERS[0], order, share=share)
    orders = torch.stack([order, order.flip(-1)])
    both = module(x, order=orders)
    for row in range(2):
        torch.testing.assert_close(both[row : row + 1], module(x[row : row + 1], order=orders[row]))


def test_bad_use_is_named(order, x):
    module = build(MIXERS[1], order)
    with pytest.raises(ValueError, match="hand it order"):
        module(x)
    with pytest.raises(ValueError, match="2 paths"):
        module(x, order=order[:2])
    with pytest.raises(TypeError, match="order is a Rank"):
        module(x, order=scan_orders.inverse(order))
    with pytest.raises(ValueError, match="share='projections'"):
        MultiScan(D, "attention", 2, share="projections")
    with pytest.raises(TypeError, match="cannot stream"):
        module.init_state(1)
    assert isinstance(module.mixer, Mamba2)


def gathered(module, x, order, cu_seqlens=None):
    """The readable path: permuted copies through whole mixers or scans, then put back."""
    outputs = []
    packed = {} if cu_seqlens is None else {"cu_seqlens": cu_seqlens}
    if module.share == "projections":
        inputs, gate = module.mixer.project(x)
        for path, row in zip([module.mixer, *module.others], order, strict=True):
            y, _ = path.scan(map_inputs(lambda t, row=row: t[:, row], inputs), **packed)
            outputs.append(torch.zeros_like(y).index_copy(1, row, y))
        if isinstance(module.merge, Sum):
            return module.mixer.combine(module.merge(torch.stack(outputs, 1)), gate)
        outputs = [module.mixer.combine(y, gate) for y in outputs]
    else:
        readers = [module.mixer, *module.others] if module.others else [module.mixer] * len(order)
        for reader, row in zip(readers, order, strict=True):
            y = reader(x[:, row], **packed)
            outputs.append(torch.zeros_like(y).index_copy(1, row, y))
    return module.merge(torch.stack(outputs, 1))


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("share", ["projections", "none", "all"])
@pytest.mark.parametrize("merge", ["sum", "mean", "concat", "gate"])
@pytest.mark.parametrize("packed", [False, True])
def test_one_op_call_is_the_readable_path_in_fp32(mixer, share, merge, packed):
    """Outputs and gradients to 1e-6 of the largest."""
    torch.manual_seed(0)
    named = scan_orders.get("serpentine+shuffle(1)+reverse+raster")
    module = MultiScan(D, mixer, 4, share=share, merge=merge)
    x = torch.randn(1 if packed else 2, 11, D, requires_grad=True)
    edges = torch.tensor([0, 4, 11]) if packed else None
    order = scan_orders.packed(named, [4, 7]) if packed else named((11,))
    weight = torch.randn(x.shape)
    inputs = [x, *module.parameters()]
    results = []
    for y in (module(x, order=order, cu_seqlens=edges), gathered(module, x, order, edges)):
        results.append([y, *torch.autograd.grad((y * weight).sum(), inputs)])
    for got, expected in zip(*results, strict=True):
        scale = max(float(expected.detach().abs().max()), 1.0)
        torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=1e-6)


def test_paths_share_one_call_of_each_op(monkeypatch, order, x):
    calls = []
    for name in ("causal_conv1d", "selective_scan", "ssd"):
        op = getattr(ops, name)
        monkeypatch.setattr(
            ops, name, lambda *a, op=op, name=name, **k: (calls.append(name), op(*a, **k))[1]
        )
    for share in ("projections", "none", "all"):
        for mixer, scan in zip(MIXERS, ("selective_scan", "ssd"), strict=True):
            calls.clear()
            build(mixer, order, share=share)(x, order=order)
            assert calls == ["causal_conv1d", scan]


@pytest.mark.parametrize("mixer", [*MIXERS, "attention"])
@pytest.mark.parametrize("share", ["none", "all", "projections"])
def test_parts_share_the_tokens_out(mixer, share):
    """Each part is a sequence of its own; with odd sides the parts have different lengths."""
    if mixer == "attention" and share == "projections":
        return
    order = scan_orders.get("atrous")((3, 5))
    module = build(mixer, order, share=share, merge="scatter")
    x = torch.randn(2, 15, D, dtype=torch.float64)
    expected = torch.full_like(x, float("nan"))
    for k, row in enumerate(order):
        row = row[row >= 0]
        if share == "projections":
            inputs, gate = module.mixer.project(x[:, row])
            scan = [module.mixer, *module.others][k].scan
            expected[:, row] = module.mixer.combine(scan(inputs)[0], gate)
        else:
            reader = [module.mixer, *module.others][k] if share == "none" else module.mixer
            expected[:, row] = reader(x[:, row])
    y = module(x, order=order)
    torch.testing.assert_close(y, expected)
    y.sum().backward()
    assert [n for n, p in module.named_parameters() if p.grad is None] == []
    with pytest.raises(ValueError, match="share the tokens out"):
        module(x, order=scan_orders.get("cross")((3, 5)))


def test_empty_slots_between_tokens_are_read_as_zeros():
    order = scan_orders.get("window-padded(2)")((3, 5))
    module = build(MIXERS[0], order, merge="sum", share="all")
    x = torch.randn(1, 15, D, dtype=torch.float64)
    inputs, gate = module.mixer.project(x)
    padded = torch.cat([inputs, torch.zeros_like(inputs[:, :1])], 1)[:, order[0]]
    y, _ = module.mixer.scan(padded)
    expected = torch.empty_like(inputs)
    expected[:, order[0][order[0] >= 0]] = y[:, order[0] >= 0]
    torch.testing.assert_close(module(x, order=order), module.mixer.combine(expected, gate))


def test_slices_are_sequences_of_their_own():
    named = scan_orders.get("bidirectional:fold(1)")
    module = MultiScan(D, MIXERS[1], 2, fold=named.folded).double()
    x = torch.randn(2, 12, D, dtype=torch.float64)
    y = module(x, order=named.inside((3, 4)), shape=(3, 4)).unflatten(1, (3, 4))
    plain = MultiScan(D, MIXERS[1], 2).double()
    plain.load_state_dict(module.state_dict())
    columns = scan_orders.get("bidirectional")((3,))
    for j in range(4):
        alone = plain(x.unflatten(1, (3, 4))[:, :, j], order=columns)
        torch.testing.assert_close(y[:, :, j], alone)
    with pytest.raises(ValueError, match="the shape of the grid"):
        module(x, order=named.inside((3, 4)))


def test_an_identity_reader_shows_what_merges_do(order):
    """sum gives K x, mean and scatter give x, concat gives K copies; nothing is left unwritten."""
    with registry.isolated():

        @registry.mixer("as-it-is")
        class AsItIs(torch.nn.Module):
            def __init__(self, d_model: int) -> None:
                super().__init__()

            def forward(self, x):
                return x.clone()

        x = torch.randn(2, L, D)
        merged = {m: MultiScan(D, "as-it-is", 3, merge=m) for m in ("sum", "mean", "concat")}
        torch.testing.assert_close(merged["sum"](x, order=order), 3 * x)
        torch.testing.assert_close(merged["mean"](x, order=order), x)
        copies = torch.eye(D).repeat(1, 3)
        merged["concat"].merge.proj.weight.data.copy_(copies)
        torch.testing.assert_close(merged["concat"](x, order=order), 3 * x)
        parts = scan_orders.get("atrous(3)")((1, L))
        scattered = MultiScan(D, "as-it-is", 9, merge="scatter")
        assert torch.equal(scattered(x, order=parts), x)
        single = MultiScan(D, "as-it-is", 1, merge="none")
        assert torch.equal(single(x, order=order[:1]), x)
    with pytest.raises(ValueError, match="one path per layer"):
        MultiScan(D, "mamba1", 2, merge="none")


def backbone(text, merge="mean", pattern="M-MM", mixer="attention"):
    torch.manual_seed(0)
    fields = {"num_heads": 2, "causal": True} if mixer == "attention" else {}
    return Backbone(
        BackboneConfig(
            d_model=D,
            pattern=pattern,
            mixer=MixerChoice(mixer, **fields),
            scan=MultiScanConfig(scan_order=text, merge=merge),
        )
    ).double()


@pytest.mark.parametrize(
    ("text", "merge", "layers"),
    [
        ("raster|reverse", "mean", ["raster", "reverse", "raster"]),
        ("zigzag8", "none", ["zigzag8:path(0)", "zigzag8:path(1)", "zigzag8:path(2)"]),
        ("cross|bidirectional", "mean", ["cross", "bidirectional", "cross"]),
    ],
)
def test_layers_of_a_stack_take_turns(text, merge, layers):
    stack = backbone(text, merge)
    x = torch.randn(2, 12, D, dtype=torch.float64)
    expected, mixers = x, iter(layers)
    for block in stack.blocks:
        table = None
        if isinstance(block.layers[0], MultiScan):
            table = scan_orders.get(next(mixers))((3, 4))
        expected = block(expected, order=table)
    torch.testing.assert_close(stack(x, shape=(3, 4)), stack.norm(expected))


def test_stacks_take_extra_tokens_slices_parts_and_data():
    x = torch.randn(2, 13, D, dtype=torch.float64)
    stack = backbone("hilbert:tokens(middle)+raster:tokens(middle)")
    assert stack(x, shape=(3, 4)).shape == x.shape
    with pytest.raises(ValueError, match=r"reads 13 tokens of the grid .3, 4., there are 12"):
        stack(x[:, :12], shape=(3, 4))
    one = backbone("raster:tokens(head)")
    assert one(x).shape == x.shape  # without a shape: 12 tokens in a row, and one more
    folded = backbone("raster:fold(0)|raster:fold(1)")
    assert folded(x[:, :12], shape=(3, 4)).shape == (2, 12, D)
    parts = backbone("atrous", "scatter")
    assert parts(x[:, :12], shape=(3, 4)).shape == (2, 12, D)
    with pytest.raises(ValueError, match="merge='scatter'"):
        backbone("atrous")
    with pytest.raises(ValueError, match="merge='scatter'"):
        backbone("cross", "scatter")
    score = torch.randn(2, 13)
    data = backbone("sorted(score)+sorted(score):reverse|raster")
    assert data(x, context={"score": score}).shape == x.shape
    with pytest.raises(ValueError, match=r"reads .'score'."):
        data(x)
