"""timm's contract over all presets, and ``timm.create_model``."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

import mamba_vision
from mamba_core import registry
from mamba_core.registry import ConfigError, WeightsError
from mamba_vision.classification.presets import PRESETS
from mamba_vision.images import from_pil

timm = pytest.importorskip("timm")
CHEAP = ("tiny", "mnist_250k", "digits_8x8", "cifar_250k", "cifar_1m", "resnet20", "cct_2_3x2")
CHEAP += ("vit_mnist_250k", "vit_cifar_250k", "vit_cifar_1m")
EVERY = [
    pytest.param(name, marks=[] if name in CHEAP else pytest.mark.slow, id=name) for name in PRESETS
]
SIZE = (64, 48)
WINDOWED = (224, 192)
"""A window of 7 must fit into the coarsest map, of stride 32."""
PAST = {"norm", "score"}
"""Parts of a backbone behind its layers."""


@pytest.fixture(autouse=True, scope="module")
def _registered():
    assert mamba_vision.register_timm() == mamba_vision.register_timm()  # twice is once


def create(name, **fields):
    return timm.create_model(f"mamba_vision_{name}", **fields)


def test_timm_lists_them():
    known = timm.list_models("mamba_vision_*")
    assert set(known) == {f"mamba_vision_{name}" for name in PRESETS}


@pytest.mark.parametrize("name", PRESETS)
def test_what_timm_reads(name):
    """Default config and layers by depth, of a model whose numbers do not matter."""
    from timm.models import group_parameters

    with torch.device("meta"):
        model = create(name)
    config, state = model.config, model.state_dict()
    assert model.default_cfg["input_size"] == (config.in_chans, *config.image_size)
    assert model.default_cfg["num_classes"] == model.num_classes == config.num_classes
    first = f"{model.default_cfg['first_conv']}.weight"
    assert {first, f"{model.default_cfg['classifier']}.weight"} <= set(state)
    data = timm.data.resolve_model_data_config(model)
    assert (data["mean"], data["std"]) == (config.mean, config.std)
    for coarse in (False, True):
        depth = group_parameters(model, model.group_matcher(coarse), reverse=True)
        last = {name for name in depth if depth[name] == max(depth.values())}
        assert {name.split(".")[1] for name in last - {"head.weight", "head.bias"}} <= PAST
        assert {"head.weight", "head.bias"} <= last
        assert depth[first] == 0
        order = [depth[name] for name, _ in model.named_parameters() if ".blocks." in name]
        assert order == sorted(order)


@pytest.mark.parametrize("name", EVERY)
def test_features_maps_and_heads(name):
    size = WINDOWED if "local" in name else SIZE
    overlap = 8 if name == "vim_tiny_stride8" else 0  # of its patches: the last has no next one
    model = create(name, img_size=size).eval()
    images = torch.randn(1, model.config.in_chans, *size)
    with torch.no_grad():
        features, maps = model.forward_intermediates(images)
        assert torch.equal(features, model.forward_features(images))
        logits = model(images)
        assert logits.shape == (1, model.num_classes)
        assert logits.isfinite().all()
        torch.testing.assert_close(model.forward_head(features), logits)
        pooled = model.forward_head(features, pre_logits=True)
        assert pooled.shape == (1, model.num_features)
        assert len(maps) == len(model.feature_info)
        for level, info in zip(maps, model.feature_info, strict=True):
            sides = [-(-(side - overlap) // info["reduction"]) for side in size]
            assert level.shape == (1, info["num_chs"], *sides)
        model.reset_classifier(7)
        assert model(images).shape == (1, 7)
        model.reset_classifier(0)
        torch.testing.assert_close(model(images), pooled)
        model.reset_classifier(0, "")
        assert torch.equal(model(images), features)


@pytest.mark.parametrize("name", CHEAP)
def test_every_parameter_gets_a_gradient(name):
    model = create(name, drop_path_rate=0.1) if "resnet" not in name else create(name)
    model.set_grad_checkpointing()
    model(torch.randn(8, *model.default_cfg["input_size"])).square().sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@pytest.mark.parametrize("name", CHEAP)
def test_features_only(name):
    model = create(name, features_only=True).eval()
    images = torch.randn(1, model.config.in_chans, *model.config.image_size)
    with torch.no_grad():
        maps = model(images)
    channels, reductions = model.feature_info.channels(), model.feature_info.reduction()
    for level, count, stride in zip(maps, channels, reductions, strict=True):
        assert level.shape[:2] == (1, count)
        assert level.shape[2] == -(-images.shape[2] // stride)
    last = create(name, features_only=True, out_indices=(-1,))
    assert last.feature_info.channels() == channels[-1:]
    assert len(create(name, features_only=True, out_indices=1)(images)) == 1


def test_maps_in_the_forms_of_timm():
    model, images = create("tiny").eval(), torch.randn(2, 3, 16, 16)
    (level,) = model.forward_intermediates(images, [-1], intermediates_only=True)
    for form, moved in (("NHWC", level.movedim(1, -1)), ("NLC", level.flatten(2).mT)):
        (found,) = model.forward_intermediates(
            images, 1, output_fmt=form, intermediates_only=True, stop_early=True
        )
        assert torch.equal(found, moved)
    for wrong in ({"norm": True}, {"return_prefix_tokens": True}, {"output_fmt": "CHWN"}):
        with pytest.raises(ValueError, match="offered are maps"):
            model.forward_intermediates(images, **wrong)


def test_the_logits_are_those_of_the_task():
    ours = registry.build("vision-cls", preset="tiny", num_classes=3).eval()
    theirs = create("tiny", num_classes=3).eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 20, 16)
    assert torch.equal(theirs(images), ours(images)["logits"])
    theirs.set_input_size((20, 16))
    assert theirs.default_cfg["input_size"] == (3, 20, 16)
    torch.testing.assert_close(theirs(images), ours(images)["logits"])


def test_pretrained():
    ours = registry.build("vision-cls", weights="mnist_250k")
    images = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        expected = ours(images)["logits"]
        model = create("mnist_250k", pretrained=True).eval()
        assert torch.equal(model(images), expected)
        assert create("mnist_250k", pretrained=True, num_classes=3)(images).shape == (2, 3)
        colour = create("mnist_250k", pretrained=True, in_chans=3, num_classes=0).eval()
        features = ours.forward_head(ours.forward_features(images), pre_logits=True)
        # a grey image in three equal channels is the grey image
        torch.testing.assert_close(colour(images.expand(-1, 3, -1, -1)), features)
        maps = create("mnist_250k", pretrained=True, features_only=True).eval()(images)
        torch.testing.assert_close(maps, ours.forward_intermediates(images)[1])
    with pytest.raises(WeightsError, match="no weights of 'tiny'"):
        create("tiny", pretrained=True)


def test_timm_s_transform_is_that_of_the_weights():
    """Of an image of another size: the same resizing, cropping and normalising."""
    model = create("tiny")
    data = timm.data.resolve_model_data_config(model)
    picture = Image.radial_gradient("L").convert("RGB").resize((40, 56))
    theirs = timm.data.create_transform(**data)(picture)
    from mamba_vision.images import Preparation

    ours = Preparation(model.config, model.default_cfg["crop_pct"])(from_pil(picture, 3))
    assert theirs.shape == ours.shape
    assert (theirs - ours).abs().max() < 0.05  # PIL's resizing and torch's round otherwise


def test_what_is_not_there_is_said():
    with pytest.raises(ConfigError, match="patch_sise"):
        create("tiny", patch_sise=3)
    with pytest.raises(ValueError, match="this model has 'avg'"):
        create("tiny", global_pool="token")
    with pytest.raises(ValueError, match="a head of 10 classes"):
        create("tiny", global_pool="")
    with pytest.raises(ValueError, match="get_weight"):
        create("tiny.in1k")
    with pytest.raises(ValueError, match="keeps its patches"):
        create("tiny").set_input_size(32, patch_size=8)
    assert create("tiny", num_classes=0, global_pool="")(torch.randn(1, 3, 16, 16)).dim() == 3
