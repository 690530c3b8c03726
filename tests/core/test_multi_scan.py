"""Several paths in one mixer: equal to reading, mixing and merging by hand."""

from __future__ import annotations

import pytest
import torch

from mamba_core import scan_orders
from mamba_core.mixers import Mamba1, Mamba2, MultiScan
from mamba_core.mixers.mamba1 import F

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
    with pytest.raises(ValueError, match="share='projections'"):
        MultiScan(D, "attention", 2, share="projections")
    with pytest.raises(TypeError, match="cannot stream"):
        module.init_state(1)
    assert isinstance(module.mixer, Mamba2)
