"""The model of ``video-cls`` over (t, h, w): sizes, orders, its peer, what cannot go together."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mamba_core import registry, scan_orders
from mamba_core.registry import ConfigError
from mamba_vision.backbones.videomamba import Alternation
from mamba_vision.video.presets import PRESETS

PUBLISHED = {"videomamba_tiny": 7e6, "videomamba_small": 26e6}
"""As the authors state; ours are within 5 %, with the 400 classes of Kinetics."""


def build(**fields):
    torch.manual_seed(0)
    return registry.build("video-cls", preset="tiny", **fields).eval()


@pytest.fixture(scope="module")
def model():
    return build()


def test_sizes_are_the_published_ones():
    for name in PRESETS:
        with torch.device("meta"):
            model = registry.build("video-cls", preset=name)
        count = sum(parameter.numel() for parameter in model.parameters())
        if name in PUBLISHED:
            assert count == pytest.approx(PUBLISHED[name], rel=0.05), name
    assert tuple(PRESETS) == registry.spec("video-cls").presets


@pytest.mark.parametrize("size", [(4, 16, 16), (5, 17, 23), (1, 8, 8)])
def test_any_size_and_number_of_frames(model, size):
    frames, height, width = size
    clips = torch.randn(2, frames, 3, height, width)
    with torch.no_grad():
        logits = model(clips)["logits"]
        assert logits.shape == (2, 10)
        torch.testing.assert_close(model(clips[1:])["logits"], logits[1:], rtol=1e-4, atol=1e-5)


def test_one_frame_is_an_image_to_vim():
    """With its positions and class token, VideoMamba on one frame is Vim with summed paths."""
    column = {"d_model": 16, "depth": 2, "patch_size": 8, "class_token": "first"}
    mixing = {"mixer": "mamba1", "scan_order": "bidirectional", "merge": "sum"}
    given = {"image_size": (16, 16), "num_classes": 10}
    video = {"kind": "videomamba", "mixing": mixing, **column}
    image = {"kind": "vim", "mixing": mixing, **column}
    ours = registry.build("video-cls", preset="tiny", frames=1, architecture=video, **given)
    vim = registry.build("vision-cls", preset="tiny", architecture=image, **given)
    state = ours.state_dict()
    nn.init.zeros_(ours.backbone.time_positions)
    state = {name: value for name, value in ours.state_dict().items() if "time" not in name}
    state["backbone.patch_embed.weight"] = state["backbone.patch_embed.weight"][:, :, 0]
    vim.load_state_dict(state)
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = vim.eval()(images)["logits"]
        torch.testing.assert_close(ours.eval()(images[:, None])["logits"], expected)


def test_layers_take_turns_at_the_axes():
    """Mamba-ND: layer i reads arrangement i // 2 mod 3, backwards when i is odd."""
    mamba_nd = registry.build("video-cls", preset="clips_250k")
    grid, shape = torch.arange(24).view(2, 3, 4), (2, 3, 4)
    tables = [order(shape)[0] for order in mamba_nd.backbone.layers.orders]
    arrangements = ((0, 1, 2), (0, 2, 1), (2, 1, 0))
    for layer, table in enumerate(tables):
        path = grid.permute(arrangements[layer // 2 % 3]).flatten()
        assert torch.equal(table, path.flip(0) if layer % 2 else path), layer
    some = {"kind": "videomamba", "class_token": "none", "d_model": 16, "depth": 3, "patch_size": 8}
    chosen = {**some, "alternation": {"axes": ("hwt",), "both_ways": False}}
    other = build(architecture=chosen)
    time_first = scan_orders.get("temporal-first")(shape)[0]
    assert all(torch.equal(o(shape)[0], time_first) for o in other.backbone.layers.orders)
    with pytest.raises(ConfigError, match="alternation"):
        build(architecture=chosen, scan_order="raster")
    with pytest.raises(ValueError, match="axes is empty"):
        Alternation(axes=())


@pytest.mark.parametrize(
    "fields",
    [
        {"scan_order": "hilbert3d+hilbert3d:reverse"},
        {"scan_order": "snake3d|temporal-first:reverse", "class_token": "last"},
        {"scan_order": "axis-alternation", "merge": "none"},
        {"scan_order": "raster:fold(0)|raster:fold(1, 2)", "class_token": "none"},
        {"mixer": "attention"},
        {"mixer": {"name": "vssd", "headdim": 8}, "class_token": "none"},
        {"mixer": "mamba2d", "class_token": "none"},
    ],
    ids=str,
)
def test_any_order_and_mixer(fields):
    """A mixer that reads grids itself sees the frames one below another."""
    given = dict(fields)
    token = given.pop("class_token", "first")
    column = {"kind": "videomamba", "d_model": 16, "depth": 2, "patch_size": 8}
    model = build(architecture={**column, "class_token": token}, **given)
    clips = torch.randn(1, 4, 3, 16, 24)
    with torch.no_grad():
        features = model.forward_head(model.forward_features(clips), pre_logits=True)
        turned = model.forward_head(model.forward_features(clips.flip(1)), pre_logits=True)
    assert torch.isfinite(features).all()
    assert (features - turned).abs().max() > 1e-4, "blind to time"


def test_what_cannot_go_together_is_said():
    first = {"kind": "videomamba", "class_token": "first"}
    with pytest.raises(ConfigError, match=r"\(t, h, w\)"):
        build(scan_order="cross")
    with pytest.raises(ConfigError, match="sees no other token"):
        build(scan_order="temporal-first", architecture=first)
    attention = {"name": "attention", "num_heads": 2, "causal": False}
    build(scan_order="temporal-first", architecture=first, mixer=attention)
    with pytest.raises(ConfigError, match="no place for a class token"):
        build(mixer={"name": "vssd", "headdim": 8})


def test_the_peer_does_not_see_the_order_of_frames():
    image = {"kind": "vim", "d_model": 16, "depth": 1, "patch_size": 8, "class_token": "none"}
    peer = build(architecture={"kind": "frame-mean", "image": image}, mixer="mamba1")
    clips = torch.randn(2, 4, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(peer(clips)["logits"], peer(clips.flip(1))["logits"])


def test_clips_that_do_not_fit(model):
    with pytest.raises(ValueError, match=r"expected \(batch, frames, 3, height, width\)"):
        model(torch.zeros(1, 4, 1, 16, 16))
    with pytest.raises(ValueError, match="at least one frame"):
        model(torch.zeros(1, 0, 3, 16, 16))
    with pytest.raises(ValueError, match="smaller than one patch of 8"):
        model(torch.zeros(1, 4, 3, 16, 7))


def test_gradient_checkpointing_changes_nothing():
    model, clips = build().train(), torch.randn(2, 4, 3, 16, 16)
    grads = []
    for on in (False, True):
        torch.manual_seed(1)
        model.set_grad_checkpointing(on)
        model.zero_grad()
        model(clips)["logits"].square().sum().backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*grads, strict=True))
