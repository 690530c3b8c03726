"""Classifying images in memory, in files and in folders."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from mamba_core import registry
from mamba_vision.classification.config import ClassifierPredict
from mamba_vision.classification.predict import ImageLabeller


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
        ("nowhere.png", "does not exist"),
    ],
)
def test_bad_images_are_refused(labeller, image, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        labeller.classify([image])


def test_names_of_classes(pixels):
    names = tuple("abcdefghij")
    model = registry.build("vision-cls", preset="tiny", labels=names).eval()
    assert ImageLabeller(model).classify([pixels])[0].labels[0] in names
    with pytest.raises(registry.ConfigError, match="labels has 2 names"):
        registry.build("vision-cls", preset="tiny", labels=("a", "b"))


def test_empty_folder(labeller, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no"):
        labeller.run([tmp_path], tmp_path / "out")
