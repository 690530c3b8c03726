"""Mixers that read the grid itself, each against its equations as plain loops in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mamba_core import scan_orders
from mamba_core.blocks import Backbone, BackboneConfig
from mamba_core.mixers import MixerChoice, MultiScanConfig, build_mixer
from mamba_core.mixers.grid import over_grid
from mamba_core.mixers.mamba2d import wavefront
from mamba_core.mixers.vssd import non_causal_ssd

D = 8
NAMES = {
    "vssd": {"d_state": 4, "headdim": 8},
    "spatial-mamba": {"d_state": 2},
    "mamba2d": {"d_state": 3},
    "plain-mamba": {"d_state": 4, "conv_size": 3},
    "group-scan": {"mixer": {"name": "mamba1", "d_state": 2}},
    "multi-scale": {"mixer": {"name": "mamba2", "d_state": 4, "headdim": 4}},
}
SHAPES = [(1, 1), (1, 5), (4, 1), (3, 5), (4, 4)]


def make(name, **more):
    torch.manual_seed(0)
    return build_mixer({"name": name, **NAMES.get(name, {}), **more}, D).double().eval()


def tokens(shape, batch=2):
    return torch.randn(batch, shape[0] * shape[1], D, dtype=torch.float64)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_any_grid_and_every_parameter_learns(name, shape):
    mixer = make(name)
    x = tokens(shape).requires_grad_()
    y = mixer(x, shape=shape)
    assert y.shape == x.shape
    y.square().sum().backward()
    assert [n for n, p in mixer.named_parameters() if p.grad is None] == []
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_batch_items_are_independent(name):
    mixer, x = make(name), tokens((3, 4))
    alone = mixer(x[1:], shape=(3, 4))
    x[0] = float("nan")
    close(mixer(x, shape=(3, 4))[1:], alone)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "group-scan"])
def test_grid_must_be_told_and_fit(name):
    mixer, x = make(name), tokens((3, 4))
    for shape in (None, (4, 4), (12,)):
        with pytest.raises(ValueError, match=r"H W = 12"):
            mixer(x, shape=shape)
    with pytest.raises(ValueError, match="packed"):
        mixer(x[:1], shape=(3, 4), cu_seqlens=torch.tensor([0, 5, 12]))
    with pytest.raises(TypeError, match="cannot stream"):
        mixer.init_state(1)


@pytest.mark.parametrize("name", NAMES)
def test_stands_alone_in_a_backbone_with_or_without_an_order(name):
    torch.manual_seed(0)
    choice = MixerChoice(name, **NAMES[name])
    x = torch.randn(2, 12, D)
    for scan in (None, MultiScanConfig(scan_order="cross")):
        torch.manual_seed(1)
        backbone = Backbone(BackboneConfig(d_model=D, pattern="M-", mixer=choice, scan=scan)).eval()
        assert backbone(x, shape=(3, 4)).shape == x.shape


def test_half_precision_keeps_constants():
    for name in ("vssd", "spatial-mamba", "mamba2d", "plain-mamba"):
        mixer = make(name).float().bfloat16()
        y = mixer(torch.randn(1, 12, D).bfloat16(), shape=(3, 4))
        assert y.dtype == torch.bfloat16
        assert y.isfinite().all()
        assert mixer.D.dtype == torch.float32


def test_non_causal_ssd_is_its_sum():
    b, length, heads, p, n = 2, 5, 3, 2, 4
    x = torch.randn(b, length, heads, p, dtype=torch.float64)
    dt, a = torch.rand(b, length, heads).double(), torch.rand(heads).double()
    bs, cs = torch.randn(2, b, length, n, dtype=torch.float64)
    d = torch.randn(heads, dtype=torch.float64)
    expected = torch.empty_like(x)
    for i in range(b):
        for h in range(heads):
            state = torch.zeros(p, n, dtype=torch.float64)
            for t in range(length):
                state += a[h] * dt[i, t, h] * x[i, t, h, :, None] * bs[i, t]
            for t in range(length):
                expected[i, t, h] = state @ cs[i, t] + d[h] * x[i, t, h]
    close(non_causal_ssd(x, dt, a, bs, cs, d), expected)


def test_non_causal_ssd_does_not_depend_on_the_order_of_tokens():
    mixer = make("vssd", d_conv=1)
    x, turn = tokens((3, 4)), torch.randperm(12)
    close(mixer(x[:, turn], shape=(3, 4)), mixer(x, shape=(3, 4))[:, turn])


def mamba1_states(select, x):
    """h of each step by the recurrence, ``(B, L, D, N)``, and C."""
    dt, b, c = select.choose(x)
    dt = F.softplus(dt + select.dt_proj.bias)
    h, out = torch.zeros(*x.shape[::2], b.shape[-1], dtype=x.dtype), []
    for t in range(x.shape[1]):
        decay = torch.exp(dt[:, t, :, None] * select.A)
        h = decay * h + (dt[:, t] * x[:, t])[..., None] * b[:, t, None]
        out.append(h)
    return torch.stack(out, 1), c


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 1)])
def test_spatial_mamba_fuses_the_states_of_one_raster_scan(shape):
    mixer = make("spatial-mamba")
    with torch.no_grad():
        mixer.fusion.alpha.copy_(torch.tensor([0.5, -1.0, 2.0]))
    x = tokens(shape)
    inner, z = mixer.in_proj(x).chunk(2, -1)
    inner = F.silu(over_grid(mixer.conv2d, inner, shape))
    h, c = mamba1_states(mixer.select, inner)
    grid = h.unflatten(1, shape)  # (B, H, W, D, N)
    fused = torch.zeros_like(grid)
    channels = inner.shape[-1]
    for alpha, conv, dilation in zip(
        mixer.fusion.alpha, mixer.fusion.convs, (1, 3, 5), strict=True
    ):
        weight = conv.weight.view(mixer.d_state, channels, 3, 3)
        for i in range(shape[0]):
            for j in range(shape[1]):
                for a in range(3):
                    for b in range(3):
                        row = min(max(i + (a - 1) * dilation, 0), shape[0] - 1)
                        column = min(max(j + (b - 1) * dilation, 0), shape[1] - 1)
                        fused[:, i, j] += alpha * weight[:, :, a, b].T * grid[:, row, column]
    y = torch.einsum("bldn,bln->bld", fused.flatten(1, 2), c) + mixer.D * inner
    close(mixer(x, shape=shape), mixer.out_proj(mixer.norm(y) * F.silu(z)))


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (3, 5), (5, 3)])
def test_wavefront_is_the_recurrence(shape):
    height, width = shape
    a_left, b_left, a_top, b_top = torch.rand(4, 2, height, width, 3, dtype=torch.float64)
    h = torch.zeros_like(a_left)
    for i in range(height):
        for j in range(width):
            left = a_left[:, i, j] * h[:, i, j - 1] + b_left[:, i, j] if j else None
            top = a_top[:, i, j] * h[:, i - 1, j] + b_top[:, i, j] if i else None
            if left is None and top is None:
                h[:, i, j] = b_left[:, i, j]
            elif left is None or top is None:
                h[:, i, j] = top if left is None else left
            else:
                h[:, i, j] = (left + top) / 2
    close(wavefront((a_left, b_left), (a_top, b_top)), h)


def test_mamba2d_reads_out_its_recurrence():
    mixer, shape = make("mamba2d"), (3, 4)
    x = tokens(shape)
    inner, z = mixer.in_proj(x).chunk(2, -1)
    inner = F.silu(over_grid(mixer.conv2d, inner, shape))
    dt_l, b_l, c = mixer.left.choose(inner)
    dt_t, b_t = mixer.top.choose(inner)
    steps = []
    for select, dt, b in ((mixer.left, dt_l, b_l), (mixer.top, dt_t, b_t)):
        dt = F.softplus(dt + select.dt_proj.bias)
        decay = torch.exp(dt[..., None] * select.A)
        steps.append(
            (
                decay.unflatten(1, shape),
                ((dt * inner)[..., None] * b[..., None, :]).unflatten(1, shape),
            )
        )
    h = wavefront(*steps).flatten(1, 2)
    y = (h * c[..., None, :]).sum(-1) + mixer.D * inner
    close(mixer(x, shape=shape), mixer.out_proj(y * F.silu(z)))


def plain_mamba_by_hand(mixer, x, shape, legacy):
    """The paths one by one, everything permuted; in the legacy form only x is."""
    order = scan_orders.get("serpentine4")(shape)
    labels = scan_orders.step_labels(order, shape)
    inner, z = mixer.in_proj(x).chunk(2, -1)
    inner = F.silu(over_grid(mixer.conv2d, inner, shape))
    dt, b, c = mixer.choose(inner)
    dt = F.softplus(dt + mixer.dt_proj.bias)
    total = torch.zeros_like(inner)
    for path, moves in zip(order, labels, strict=True):
        h = torch.zeros(x.shape[0], inner.shape[-1], b.shape[-1], dtype=x.dtype)
        for t, token in enumerate(path):
            made = t if legacy else token
            step = dt[:, made]
            written = b[:, made] + mixer.direction_Bs[moves[t]]
            h = torch.exp(step[..., None] * mixer.A) * h
            h = h + (step * inner[:, token])[..., None] * written[:, None]
            total[:, token] += (h * c[:, made, None]).sum(-1) + mixer.D * inner[:, token]
    return mixer.out_proj(total * F.silu(z))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (4, 3)])
def test_plain_mamba_by_hand_and_its_legacy_form(legacy, shape):
    mixer = make("plain-mamba", legacy_unpermuted_dtbc=legacy)
    x = tokens(shape)
    close(mixer(x, shape=shape), plain_mamba_by_hand(mixer, x, shape, legacy))


def test_plain_mamba_has_the_authors_keys():
    keys = {n: tuple(p.shape) for n, p in make("plain-mamba").state_dict().items()}
    assert keys == {
        "in_proj.weight": (32, 8),
        "conv2d.weight": (16, 1, 3, 3),
        "conv2d.bias": (16,),
        "x_proj.weight": (1 + 8, 16),
        "dt_proj.weight": (16, 1),
        "dt_proj.bias": (16,),
        "A_log": (16, 4),
        "D": (16,),
        "out_proj.weight": (8, 16),
        "direction_Bs": (5, 4),
    }


@pytest.mark.parametrize("share", ["none", "all"])
def test_groups_read_their_own_paths(share):
    mixer = make("group-scan", share=share, gate=False)
    x, shape = tokens((3, 4)), (3, 4)
    parts = []
    for k, (path, part) in enumerate(
        zip(scan_orders.get("cross")(shape), x.chunk(4, -1), strict=True)
    ):
        y = torch.empty_like(part)
        y[:, path] = mixer.mixers[k % len(mixer.mixers)](part[:, path])
        parts.append(y)
    close(mixer(x, shape=shape), mixer.out_proj(mixer.norm(torch.cat(parts, -1))))


def test_groups_of_packed_sequences_are_separate():
    mixer = make("group-scan", scan_order="bidirectional", share="all")
    x = tokens((1, 9), batch=1)
    packed = mixer(x, cu_seqlens=torch.tensor([0, 4, 9]))
    close(packed, torch.cat([mixer(x[:, :4]), mixer(x[:, 4:])], 1))


def test_multi_scale_reads_three_coarse_paths_as_one_sequence():
    mixer, shape = make("multi-scale"), (4, 6)
    x = tokens(shape)
    small = mixer.down(x.transpose(1, 2).unflatten(2, shape))
    assert small.shape[2:] == (2, 3)
    low = small.flatten(2).transpose(1, 2)
    paths = scan_orders.get("cross")((2, 3))[1:]
    read = mixer.coarse(torch.cat([low[:, p] for p in paths], 1)).chunk(3, 1)
    merged = torch.zeros_like(low)
    for path, part in zip(paths, read, strict=True):
        merged[:, path] += part
    big = F.interpolate(merged.transpose(1, 2).unflatten(2, (2, 3)), shape, mode="bilinear")
    close(mixer(x, shape=shape), mixer.fine(x) + big.flatten(2).transpose(1, 2))


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("vssd", {"headdim": 7}, "headdim=7"),
        ("vssd", {"d_conv": 2}, "d_conv=2"),
        ("plain-mamba", {"conv_size": 4}, "conv_size=4"),
        ("group-scan", {"scan_order": "bidirectional+raster"}, "3 groups"),
        ("group-scan", {"scan_order": "atrous"}, "whole grid"),
    ],
)
def test_sizes_that_do_not_fit_are_named(name, fields, message):
    with pytest.raises(ValueError, match=message):
        make(name, **fields)
