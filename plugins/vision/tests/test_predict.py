"""Classifying images in memory, in files and in folders."""

from __future__ import annotations

import csv
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mamba_core import registry
from mamba_vision.classification.config import ClassifierPredict
from mamba_vision.classification.predict import ImageLabeller
from mamba_vision.images import to_pixels


@pytest.fixture
def labeller(tiny):
    return ImageLabeller(tiny, ClassifierPredict(batch_size=2, top=3))


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)


def test_every_form_of_an_image_gives_one_answer(labeller, pixels, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    tensor = torch.from_numpy(pixels).movedim(-1, 0)
    forms = [path, str(path), Image.fromarray(pixels), pixels, tensor, tensor.float() / 255]
    answers = labeller.classify(forms)
    assert all(answer == answers[0] for answer in answers)
    assert len(answers[0].labels) == 3
    assert list(answers[0].probabilities) == sorted(answers[0].probabilities, reverse=True)
    alone = labeller.classify([pixels])[0]
    assert alone.probabilities == pytest.approx(answers[0].probabilities, rel=1e-4)


def test_probabilities_add_up(tiny, pixels):
    answer = ImageLabeller(tiny, ClassifierPredict(top=10)).classify([pixels])[0]
    assert sum(answer.probabilities) == pytest.approx(1.0)
    assert sorted(answer.labels) == [str(k) for k in range(10)]


def test_other_sizes_are_fitted_and_features_are_pooled(labeller, pixels):
    large = np.asarray(Image.fromarray(pixels).resize((50, 40)))
    features = labeller.features([pixels, large, pixels])
    assert features.shape == (3, 32)
    np.testing.assert_allclose(features[0], features[2], rtol=1e-4, atol=1e-5)
    assert labeller.features([]).shape == (0, 32)


def test_a_folder_with_a_broken_file(tiny, pixels, tmp_path):
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    for k in range(3):
        Image.fromarray(pixels).save(folder / f"{k}.png")
    (folder / "1.png").write_bytes(b"broken")
    (folder / "notes.txt").write_text("left alone")
    seen = []
    labeller = ImageLabeller(tiny, ClassifierPredict(batch_size=2, features=True))
    rows = labeller.run([tmp_path / "in"], tmp_path / "out", progress=lambda *s: seen.append(s))
    assert seen == [("1.png", 2, 3), ("2.png", 3, 3)]
    assert "cannot be read as an image" in rows[1]["error"]
    assert rows[0]["label"] == rows[2]["label"]
    with (tmp_path / "out" / "predictions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["label"] for row in table] == [rows[0]["label"], "", rows[2]["label"]]
    assert np.load(tmp_path / "out" / "features.npy").shape == (2, 32)
    with pytest.raises(FileExistsError, match="overwrite"):
        labeller.run([tmp_path / "in"], tmp_path / "out")
    labeller.run([tmp_path / "in"], tmp_path / "out", overwrite=True)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (torch.full((3, 8, 8), float("nan")), "NaN or infinity"),
        (torch.full((3, 8, 8), 2.0), "must be in 0 to 1"),
        (torch.zeros(1, 8, 8), "expected 3 channels"),
        (np.zeros((8, 8, 4)), "expected 3 channels"),
        (np.zeros((0, 8, 3), dtype=np.uint8), "no pixels"),
        (np.full((8, 8, 3), 300), "in 0 to 255"),
        (np.full((8, 8, 3), -1), "in 0 to 255"),
        (np.full((8, 8, 3), 40_000, dtype=np.uint16), "in 0 to 255"),
        (np.ones((8, 8, 3), dtype=bool), "in 0 to 255"),
        (Image.new("F", (8, 8)), "convert it to 8 bits"),
        (Image.new("I", (8, 8)), "convert it to 8 bits"),
        ("nowhere.png", "does not exist"),
    ],
)
def test_bad_images_are_refused(labeller, image, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        labeller.classify([image])


def test_wide_integers_and_deep_greys_keep_their_brightness(pixels, tmp_path):
    """PIL would turn all that is above 255 white, and torch would wrap around."""
    assert torch.equal(to_pixels(pixels.astype(np.int64), 3), to_pixels(pixels, 3))
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    found = to_pixels(tmp_path / "deep.png", 1)[0].numpy()
    np.testing.assert_allclose(found, deep / 65535, atol=1 / 255)


def enormous() -> bytes:
    """The header of a picture of 2e10 pixels, as a damaged file may have it."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "bmp")
    return stream.getvalue()[:18] + struct.pack("<ii", 200_000, 100_000) + stream.getvalue()[26:]


def test_what_a_folder_holds_stops_nothing(labeller, pixels, tmp_path):
    folder = tmp_path / "in"
    (folder / "pictures.png").mkdir(parents=True)  # a folder with the name of a file
    Image.fromarray(pixels).save(folder / "pictures.png" / "good.png")
    (folder / "enormous.bmp").write_bytes(enormous())
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    rows = labeller.run([folder], tmp_path / "out")
    assert [row["file"].rsplit("/", 1)[1] for row in rows] == [
        "enormous.bmp",
        "gone.jpg",
        "good.png",
    ]
    assert "cannot be read as an image" in rows[0]["error"]
    assert "does not exist" in rows[1]["error"]
    assert "label" in rows[2]
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg does not exist"):
        labeller.run([folder / "gone.jpg"], tmp_path / "other")  # it was asked for


def test_one_path_is_no_list(labeller):
    for one in ("a.png", Path("a.png")):
        with pytest.raises(ValueError, match=r"a\.png is one of the images: give a list"):
            labeller.classify(one)
        with pytest.raises(ValueError, match="give a list"):
            labeller.features(one)


def test_names_of_classes(pixels):
    names = tuple("abcdefghij")
    model = registry.build("vision-cls", preset="tiny", labels=names).eval()
    assert ImageLabeller(model).classify([pixels])[0].labels[0] in names
    with pytest.raises(registry.ConfigError, match="labels has 2 names"):
        registry.build("vision-cls", preset="tiny", labels=("a", "b"))


def test_empty_folder(labeller, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no"):
        labeller.run([tmp_path], tmp_path / "out")
