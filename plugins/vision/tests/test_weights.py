"""The weights that come with the package."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from mamba_core import registry


@pytest.fixture(scope="module")
def model():
    return registry.build("vision-cls", weights="mnist_250k").eval()


def test_they_are_small():
    (file,) = files("mamba_vision").joinpath("weights").iterdir()
    assert len(file.read_bytes()) <= 4 * 2**20


def test_the_build_is_the_preset(model):
    assert model.task.preset == "mnist_250k"
    assert sum(p.numel() for p in model.parameters()) == 249_738


def test_drawn_digits_are_read(tmp_path):
    """A one and a zero, by pen: without any data set."""
    one, zero = Image.new("L", (28, 28)), Image.new("L", (28, 28))
    ImageDraw.Draw(one).line((14, 4, 13, 23), fill=255, width=3)
    ImageDraw.Draw(zero).ellipse((7, 4, 20, 23), outline=255, width=3)
    labeller = registry.predictor("vision-cls", weights="mnist_250k")
    found = [answer.labels[0] for answer in labeller.classify([one, zero])]
    assert found == ["1", "0"]


@pytest.mark.slow
def test_real_digits(model, shared):
    path = shared / "data/vision/mnist_ci2500.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path) as data:
        images, labels = data["x_test"], torch.tensor(data["y_test"].astype(np.int64))
    x = (torch.tensor(images)[:, None].float() / 255 - 0.1307) / 0.3081
    with torch.no_grad():
        found = model(x)["logits"].argmax(1)
    assert (found == labels).float().mean() > 0.98
