"""A backbone alone: maps of the sizes it says, the classifier's weights, features of files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mamba_core import registry
from mamba_core.registry import ConfigError
from mamba_vision.features.predict import FeatureWriter
from mamba_vision.features.presets import PRESETS

SMALL = {
    "image_size": (32, 32),
    "architecture": {"kind": "vmamba", "depths": (1, 1, 1, 1), "width": 8},
}
"""A hierarchy: four strides."""


@pytest.fixture(scope="module")
def extractor():
    torch.manual_seed(0)
    return registry.build("vision-backbone", preset="tiny", **SMALL).eval()


@pytest.mark.slow
def test_every_preset_has_the_four_declared_levels():
    assert tuple(PRESETS) == registry.spec("vision-backbone").presets
    for name in PRESETS:
        with torch.device("meta"):
            model = registry.build("vision-backbone", preset=name)
        assert len(model.levels) == 4, name
        modules = dict(model.named_modules())
        assert all(info["module"] in modules for info in model.feature_info), name


@pytest.mark.parametrize("size", [(32, 32), (37, 50), (64, 4)])
def test_maps_have_the_sizes_that_are_said(extractor, size):
    with torch.no_grad():
        found = extractor(torch.randn(2, 3, *size))
        listed = extractor.pyramid(torch.randn(2, 3, *size))
    for index, (channels, stride) in enumerate(
        zip(extractor.channels, extractor.strides, strict=True)
    ):
        expected = (2, channels, *(-(-side // stride) for side in size))
        assert found[f"map{index}"].shape == listed[index].shape == expected
    assert found["pooled"].shape == (2, extractor.num_features)


def test_chosen_levels_are_those_of_all(extractor):
    some = registry.build("vision-backbone", preset="tiny", **SMALL, out_indices=(1, 3)).eval()
    some.load_state_dict(extractor.state_dict())
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        chosen, found = some(images), extractor(images)
    assert list(chosen) == ["map1", "map3", "pooled"]
    assert all(torch.equal(value, found[name]) for name, value in chosen.items())
    assert some.strides == (8, 32)
    assert [info["reduction"] for info in some.feature_info] == [8, 32]


def test_weights_of_a_classifier_give_its_features():
    classifier = registry.build("vision-cls", preset="tiny", **SMALL).eval()
    extractor = registry.build("vision-backbone", preset="tiny", **SMALL).eval()
    extractor.backbone.load_state_dict(classifier.backbone.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features, maps = classifier.forward_intermediates(images)
        found = extractor(images)
        pooled = classifier.forward_head(features, pre_logits=True)
    assert torch.equal(found["pooled"], pooled)
    for index, level in enumerate(maps):
        assert torch.equal(found[f"map{index}"], level)


def test_levels_that_are_not_there():
    with pytest.raises(ConfigError, match="has the levels 0 to 2"):
        registry.build("vision-backbone", preset="tiny", architecture={"kind": "resnet"})
    for wrong in ((), (1, 0), (1, 1)):
        with pytest.raises(ConfigError, match="each once, rising"):
            registry.build("vision-backbone", preset="tiny", out_indices=wrong)


def test_images_that_do_not_fit(extractor):
    with pytest.raises(ValueError, match="smaller than one patch of 4"):
        extractor(torch.zeros(1, 3, 32, 3))
    with pytest.raises(ValueError, match="expected \\(batch, 3"):
        extractor(torch.zeros(1, 1, 32, 32))


def test_features_of_a_folder(extractor, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"broken")
    writer = FeatureWriter(extractor)
    seen = []
    rows = writer.run([folder], tmp_path / "out", progress=lambda *s: seen.append(s))
    assert seen == [("a.png", 1, 2), ("b.png", 2, 2)]
    assert "cannot be read as an image" in rows[1]["error"]
    assert rows[0]["strides"] == [4, 8, 16, 32]
    with np.load(tmp_path / "out" / "a.npz") as found:
        expected = writer.features([pixels])
        assert sorted(found) == ["map0", "map1", "map2", "map3", "pooled"]
        for name in found.files:
            np.testing.assert_array_equal(found[name], expected[name][0].numpy())
    with pytest.raises(FileExistsError, match="overwrite"):
        writer.run([folder], tmp_path / "out")
    with pytest.raises(ValueError, match="would both be written"):
        writer.run([folder / "a.png", folder / "a.png"], tmp_path / "other")
    with pytest.raises(ValueError, match="at least one"):
        writer.features([])
