"""Backbones and classifier: published sizes, timm's contract, any image size, any mixer."""

from __future__ import annotations

import pytest
import torch

from mamba_core import registry
from mamba_core.registry import ConfigError
from mamba_vision.backbones.positions import resample_positions
from mamba_vision.classification.presets import PRESETS

EXACT = {
    "vim_tiny": 7_148_008,
    "vim_small": 25_796_584,
    "vim_base": 97_598_440,
    "vim_tiny_stride8": 7_250_344,
    "vmamba_vanilla_tiny": 22_893_448,
    "vmamba_vanilla_small": 44_417_416,
    "vmamba_vanilla_base": 76_254_056,
    "vmamba_tiny_s2l5": 30_705_832,
    "vmamba_small": 50_147_752,
    "vmamba_base": 88_557_800,
    "vmamba_tiny": 30_249_064,
    "vmamba_small_s1l20": 49_012_840,
    "vmamba_base_s1l20": 86_614_504,
    "mambahybrid_tiny": 31_794_248,
}
"""Counted from the official constructors."""
ABOUT = {
    "plainmamba_l1": 7.3e6,
    "plainmamba_l2": 25.7e6,
    "plainmamba_l3": 50.5e6,
    "localvim_tiny": 8e6,
    "localvim_small": 28e6,
    "localvmamba_tiny": 26e6,
    "localvmamba_small": 50e6,
    "efficientvmamba_tiny": 6e6,
    "efficientvmamba_small": 11e6,
    "efficientvmamba_base": 33e6,
    "vssd_tiny": 24.27e6,
    "mamba2d_tiny": 27e6,
    "resnet20": 0.27e6,
    "cct_2_3x2": 0.28e6,
    "cct_7_3x1": 3.76e6,
}
"""As their authors state; ours are within 5 %."""
AT_MOST = {"mnist_250k": 250_000, "vit_mnist_250k": 250_000, "cifar_1m": 1e6, "vit_cifar_1m": 1e6}

FAMILIES = {
    "vim": {"patch_size": 4, "d_model": 16, "depth": 4, "class_token": "middle"},
    "vmamba": {"depths": (1, 1, 1, 1), "width": 8},
    "efficientvmamba": {"depths": (1, 1, 1, 1), "width": 8},
    "plainmamba": {"patch_size": 4, "d_model": 16, "depth": 5, "local": True},
    "resnet": {"width": 4, "depth": 1},
    "hybrid": {
        "depths": (1, 1, 2, 2),
        "width": 8,
        "stem_width": 4,
        "heads": (2, 2),
        "windows": (3, 2),
    },
    "cct": {"d_model": 16, "depth": 2},
}
"""One small model of each architecture."""


def small(kind, **fields):
    architecture = {"kind": kind, **FAMILIES[kind]}
    given = {"image_size": (32, 32), "architecture": architecture, **fields}
    return registry.build("vision-cls", preset="tiny", **given).eval()


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture(scope="module")
def built():
    """Every preset, on the meta device."""
    with torch.device("meta"):
        return {name: registry.build("vision-cls", preset=name) for name in PRESETS}


def test_sizes_are_the_published_ones(built):
    assert {name: parameters(built[name]) for name in EXACT} == EXACT
    for name, published in ABOUT.items():
        assert parameters(built[name]) == pytest.approx(published, rel=0.05), name
    for name, most in AT_MOST.items():
        assert parameters(built[name]) <= most, name


@pytest.mark.parametrize("name", PRESETS)
def test_what_timm_users_look_for(built, name):
    model = built[name]
    modules = dict(model.named_modules())
    assert model.num_features == model.head_hidden_size == model.head.in_features
    assert model.num_classes == model.config.num_classes
    for level in model.feature_info:
        assert level["module"] in modules
        assert level["num_chs"] > 0
        assert level["reduction"] >= 1
    assert model.no_weight_decay() <= {name for name, _ in model.named_parameters()}
    if "A_log" in " ".join(dict(model.named_parameters())):
        assert any("A_log" in name for name in model.no_weight_decay())


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("size", [(32, 32), (37, 50)])
def test_features_maps_and_heads(kind, size):
    """Non-square and odd sizes too: maps have the size their reduction says."""
    model = small(kind)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        features, maps = model.forward_intermediates(images)
        assert torch.equal(features, model.forward_features(images))
        pooled = model.forward_head(features, pre_logits=True)
        assert pooled.shape == (2, model.num_features)
        logits = model(images)["logits"]
        torch.testing.assert_close(model.forward_head(features), logits)
    assert len(maps) == len(model.feature_info)
    for level, info in zip(maps, model.feature_info, strict=True):
        sides = [-(-side // info["reduction"]) for side in size]
        assert level.shape == (2, info["num_chs"], *sides)
    last = model.forward_intermediates(images, 1, intermediates_only=True)
    assert len(last) == 1
    model.reset_classifier(3)
    assert model(images)["logits"].shape == (2, 3)
    model.reset_classifier(0)
    assert model(images)["logits"].shape == pooled.shape


@pytest.mark.parametrize("kind", FAMILIES)
def test_gradient_checkpointing_changes_nothing(kind):
    model = small(kind).train()
    images = torch.randn(2, 3, 32, 32)
    grads = []
    for on in (False, True):
        torch.manual_seed(1)  # stochastic depth draws the same layers
        model.set_grad_checkpointing(on)
        model.zero_grad()
        model(images)["logits"].square().sum().backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("kind", ["vim", "vmamba"])
@pytest.mark.parametrize("mixer", ["mamba2", "attention", "vssd", "ss2d"])
def test_any_mixer(kind, mixer):
    given = {"name": mixer, "headdim": 8} if mixer in ("mamba2", "vssd") else mixer
    fields = {"class_token": "none"} if kind == "vim" else {}
    architecture = {"kind": kind, **FAMILIES[kind], **fields}
    model = small(kind, architecture=architecture, mixer=given, scan_order="cross")
    assert torch.isfinite(model(torch.randn(1, 3, 32, 32))["logits"]).all()


@pytest.mark.parametrize("order", ["hilbert+hilbert:reverse", "raster|raster:T", "spiral"])
def test_any_order(order):
    torch.manual_seed(0)
    model = small("vim", scan_order=order)
    other = small("vim", scan_order="bidirectional")
    if order == "hilbert+hilbert:reverse":  # the same parameters, read otherwise
        other.load_state_dict(model.state_dict())
        images = torch.randn(1, 3, 32, 32)
        assert not torch.allclose(model(images)["logits"], other(images)["logits"])
    assert torch.isfinite(model(torch.randn(1, 3, 32, 32))["logits"]).all()


def test_what_cannot_go_together_is_said():
    with pytest.raises(ConfigError, match="no place for a class token"):
        small("vim", mixer={"name": "vssd", "headdim": 8})
    with pytest.raises(ConfigError, match="has no mixer of tokens to replace"):
        small("resnet", mixer="mamba2")
    with pytest.raises(ConfigError, match="two-dimensional"):
        small("vim", scan_order="snake3d")
    with pytest.raises(ConfigError, match="partition"):
        small("vim", scan_order="atrous")


def test_images_that_do_not_fit(tiny):
    with pytest.raises(ValueError, match="smaller than one patch of 4"):
        tiny(torch.zeros(1, 3, 16, 3))
    with pytest.raises(ValueError, match=r"expected \(batch, 3, height, width\)"):
        tiny(torch.zeros(1, 1, 16, 16))


def test_class_token_row_survives_resampling():
    """A marked class row stays whole and in the middle, and marks nothing else."""
    positions = torch.zeros(1, 14 * 14 + 1, 2)
    positions[:, 98, 0] = 1.0
    larger = resample_positions(positions, (14, 14), (24, 20), class_index=98)
    assert larger.shape == (1, 24 * 20 + 1, 2)
    assert larger[0, :, 0].nonzero().flatten().tolist() == [24 * 20 // 2]
    assert resample_positions(positions, (14, 14), (14, 14), class_index=98) is positions
    with pytest.raises(ValueError, match="197 rows"):
        resample_positions(positions, (14, 14), (7, 7))


def test_resampling_follows_the_grid():
    """A ramp along the rows stays one, on a grid that is not square."""
    ramp = torch.arange(6.0).repeat_interleave(4).view(1, 24, 1)
    larger = resample_positions(ramp, (6, 4), (12, 5)).view(12, 5)
    assert torch.allclose(larger, larger[:, :1].expand(-1, 5), atol=1e-5)
    assert (larger[1:, 0] > larger[:-1, 0]).all()


def test_set_input_size_keeps_the_answer():
    """The model resamples on the fly; setting the size only does it once."""
    model = small("vim")
    images = torch.randn(1, 3, 40, 24)
    before = model(images)["logits"]
    model.set_input_size((40, 24))
    torch.testing.assert_close(model(images)["logits"], before)
    assert model.backbone.positions.weight.shape[1] == 60


def test_bfloat16_autocast_trains_without_nan(tiny):
    model = registry.build("vision-cls", preset="tiny")
    batch = registry.example("vision-cls", preset="tiny", batch_size=4)
    from mamba_vision.classification.objective import loss

    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(model(batch["images"]), batch)
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("order", ["bidirectional", "cross", "raster|raster:reverse"])
def test_a_class_token_is_turned_with_its_path(place, order):
    """Backwards is the whole sequence backwards, so that the token sees all others once."""
    architecture = {"kind": "vim", **FAMILIES["vim"], "class_token": place}
    model = small("vim", architecture=architecture, scan_order=order)
    tables = [order((3, 5)) for order in model.backbone.layers.orders[:2]]
    table = torch.cat(tables[:1] if "|" not in order else tables)
    half = len(table) // 2
    forward = table[:half]
    assert torch.equal(table[half:].sort(0).values, forward.flip(-1).sort(0).values)
    at = {"first": 0, "middle": 7, "last": 15}[place]
    assert (forward[:, at] == 15).all()


def test_efficient_scans_read_each_token_once_beside_convolutions():
    """What stands beside the mixer is added; without it only the atrous scan is left."""
    model = small("efficientvmamba")
    stage = model.backbone.stages[0]
    (block,) = stage.layers.blocks
    scan, convs = block.layers
    assert scan.order.cover == "partition"
    table = scan.order((5, 6))
    assert sorted(table[table >= 0].tolist()) == list(range(30))
    grid = torch.randn(1, 8, 5, 6)
    with torch.no_grad():
        tokens = grid.flatten(2).transpose(1, 2)
        normed = block.norm(tokens)
        expected = tokens + scan(normed, shape=(5, 6)) + convs(normed, shape=(5, 6))
        torch.testing.assert_close(stage(grid).flatten(2).transpose(1, 2), expected)
    other = small("efficientvmamba", mixer="mamba1", scan_order="cross", merge="mean")
    assert torch.isfinite(other(torch.randn(1, 3, 37, 50))["logits"]).all()
