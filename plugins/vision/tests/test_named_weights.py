"""Weights in torchvision's manner: their transforms are the predictor's, their facts are true."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

import mamba_vision
from mamba_core import registry
from mamba_core.registry import WeightsError


@pytest.fixture(scope="module")
def weights():
    return mamba_vision.get_weight("mnist_250k")


@pytest.mark.parametrize("size", [(28, 28), (40, 61)])
def test_the_transforms_give_what_the_predictor_feeds(weights, size, tmp_path):
    labeller = registry.predictor("vision-cls", weights="mnist_250k")
    pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    picture, transforms = Image.fromarray(pixels), weights.transforms()
    picture.save(tmp_path / "a.png")
    expected = labeller.read(picture)
    assert isinstance(transforms, v2.Compose)
    assert expected.shape == (1, 28, 28)
    for form in (picture, pixels, torch.from_numpy(pixels)[None], tmp_path / "a.png"):
        assert torch.equal(transforms(form), expected)
    whole = registry.predictor("vision-cls", weights="mnist_250k", crop=1.0)
    assert torch.equal(weights.transforms(crop=1.0)(picture), whole.read(picture))


def test_torchvision_s_way_gives_the_predictor_s_answer(weights):
    """Build, load, transform, softmax, look the category up."""
    model = registry.build("vision-cls", preset=weights.preset).eval()
    model.load_state_dict(weights.get_state_dict())
    picture = Image.linear_gradient("L").resize((28, 28))
    with torch.no_grad():
        chances = model(weights.transforms()(picture)[None])["logits"].softmax(-1)[0]
    answer = registry.predictor("vision-cls", weights=weights.name).classify([picture])[0]
    assert weights.meta["categories"][chances.argmax()] == answer.labels[0]
    assert chances.max() == pytest.approx(answer.probabilities[0])


def test_what_is_known(weights):
    meta = weights.meta
    model = registry.build("vision-cls", weights="mnist_250k")
    assert meta["num_params"] == sum(p.numel() for p in model.parameters())
    assert meta["categories"] == tuple("0123456789")
    assert meta["metrics"] == {"top1": 0.9920, "top5": 0.9999}
    assert meta["licence"].startswith("CC BY-SA")
    model(torch.zeros(1, 1, *meta["min_size"]))
    with pytest.raises(ValueError, match="smaller than one patch"):
        model(torch.zeros(1, 1, meta["min_size"][0], meta["min_size"][1] - 1))


def test_the_recipe_is_the_card_s(weights):
    from importlib.resources import files

    card = files("mamba_vision").joinpath("cards/vision-cls.md").read_text("utf-8")
    assert weights.meta["recipe"] in " ".join(card.replace("\\\n", "").split())


def test_those_of_others_say_where_they_are():
    for spec in registry.spec("vision-cls").weights:
        found = mamba_vision.get_weight(spec.name)
        assert found.url == spec.url
        assert found.meta["address"] == (spec.url or spec.resource)
        assert (found.meta["recipe"] is None) == (spec.url is not None)
    assert mamba_vision.get_weight("vim_tiny-imagenet").meta["min_size"] == (16, 16)
    with pytest.raises(WeightsError, match="mnist_250k"):
        mamba_vision.get_weight("mnist_25k")
