"""Segmentation: decoders over every family, images with masks, mIoU, masks for files."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from mamba_core import registry
from mamba_core.registry import ConfigError
from mamba_vision.segmentation.config import IGNORE, SegmenterConfig, SegmenterPredict
from mamba_vision.segmentation.data import MaskDataset
from mamba_vision.segmentation.data_config import MaskAugment, MaskData
from mamba_vision.segmentation.metrics import metrics
from mamba_vision.segmentation.objective import loss
from mamba_vision.segmentation.predict import ImageSegmenter, palette

FAMILIES = {
    "vim": {"patch_size": 4, "d_model": 16, "depth": 4},
    "vmamba": {"depths": (1, 1, 1, 1), "width": 8},
    "plainmamba": {"patch_size": 4, "d_model": 16, "depth": 5},
    "resnet": {"width": 4, "depth": 1},
    "hybrid": {"depths": (1, 1, 2, 2), "width": 8, "stem_width": 4, "heads": (2, 2)},
    "cct": {"d_model": 16, "depth": 2},
}
"""One small backbone of each family."""
STEPS = {"resnet": 2, "cct": 0}
"""Up the U-Net: one less than the family has levels; the others have four."""
PLAIN = SegmenterConfig(image_size=(8, 8), num_classes=3, mean=(0,) * 3, std=(1,) * 3)


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return registry.build("vision-seg", preset="tiny").eval()


@pytest.fixture
def folder(tmp_path):
    """Six images 8x8 whose left half is black (class 0), whose right half is grey 100 (class 1)
    with one void pixel."""
    for name in ("images", "masks"):
        (tmp_path / name / "deep").mkdir(parents=True)
    pixels, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    pixels[:, 4:], mask[:, 4:], mask[0, 0] = 100, 1, 11
    for k in range(6):
        Image.fromarray(pixels).save(tmp_path / "images" / "deep" / f"{k}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / "deep" / f"{k}.png")
    return tmp_path


def dataset(folder, model=PLAIN, **fields):
    pairs = {"images": folder / "images", "masks": folder / "masks"}
    return MaskDataset(MaskData(train=pairs, **{"ignore": (11,), **fields}), model)


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("decoder", ["upernet", "unet", "unet without image"])
def test_every_backbone_under_every_decoder(kind, decoder):
    """Odd sizes too; and every parameter that is trained gets a gradient."""
    fields = {"kind": "upernet", "channels": 16}
    if decoder != "upernet":
        steps = (16,) * STEPS.get(kind, 3)
        fields = {"kind": "unet", "channels": steps, "image_channels": 8 * (decoder == "unet")}
    architecture = {"kind": kind, **FAMILIES[kind], "drop_path": 0.0}
    if kind == "resnet":
        del architecture["drop_path"]
    model = registry.build(
        "vision-seg",
        preset="tiny",
        image_size=(32, 32),
        architecture=architecture,
        decoder=fields,
    )
    logits = model(torch.randn(1, 3, 37, 50))["logits"]
    assert logits.shape == (1, 5, 37, 50)
    logits.square().mean().backward()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing


def test_decoder_and_levels_must_agree():
    with pytest.raises(ConfigError, match="4 levels, so give 3 numbers"):
        registry.build("vision-seg", preset="tiny", decoder={"kind": "unet", "channels": (8,)})
    with pytest.raises(ConfigError, match="labels has 2 names"):
        registry.build("vision-seg", preset="tiny", labels=("a", "b"))


def test_weights_of_a_backbone_go_over(tiny):
    extractor = registry.build("vision-backbone", preset="tiny")
    tiny.backbone.load_state_dict(extractor.backbone.state_dict())


def test_images_that_do_not_fit(tiny):
    with pytest.raises(ValueError, match="smaller than one patch of 4"):
        tiny(torch.zeros(1, 3, 16, 3))


def test_loss_leaves_ignored_pixels_out():
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    masks = torch.randint(3, (2, 4, 4))
    masks[:, :2] = IGNORE
    value = loss({"logits": logits}, {"masks": masks})
    rows = logits[:, :, 2:].movedim(1, -1).log_softmax(-1)
    assert value.item() == pytest.approx(-rows.gather(-1, masks[:, 2:, :, None]).mean().item())
    value.backward()
    assert not logits.grad[:, :, :2].any()
    nothing = loss({"logits": logits}, {"masks": torch.full_like(masks, IGNORE)})
    assert nothing.item() == 0


def test_metrics_equal_a_count_by_hand():
    """Over several batches, with void, and a class (3) that nobody has or finds."""
    found = metrics()
    logits, masks = torch.randn(3, 2, 4, 5, 6), torch.randint(3, (3, 2, 5, 6))
    logits[:, :, 3] = -100
    masks[torch.rand(masks.shape) < 0.3] = IGNORE
    for one, truth in zip(logits, masks, strict=True):
        for metric in found.values():
            metric.update({"logits": one}, {"masks": truth})
    counted = masks != IGNORE
    answer, truth = logits.argmax(2)[counted], masks[counted]
    ious = [
        ((answer == k) & (truth == k)).sum() / ((answer == k) | (truth == k)).sum()
        for k in range(3)
    ]
    assert found["miou"].compute().item() == pytest.approx(sum(ious).item() / 3)
    right = (answer == truth).float().mean().item()
    assert found["pixel_accuracy"].compute().item() == pytest.approx(right)
    found["miou"].reset()
    nothing = torch.full_like(masks[0], IGNORE)
    found["miou"].update({"logits": logits[0]}, {"masks": nothing})
    assert found["miou"].compute().isnan()


def test_a_sample_is_pixels_and_classes(folder):
    data = dataset(folder, val_share=0.3)
    train, val, test = data.train(seed=0), data.val(seed=0), data.test(seed=0)
    assert (len(train), len(val), len(test)) == (4, 2, 2)
    assert not {*train.places.tolist()} & {*val.places.tolist()}
    sample = train.sample(0, 0)
    assert type(sample["images"]) is type(sample["masks"]) is torch.Tensor
    assert sample["masks"].dtype == torch.int64
    assert sample["masks"][0].tolist() == [IGNORE, 0, 0, 0, 1, 1, 1, 1]
    torch.testing.assert_close(sample["images"][0, 1, 4:], torch.full((4,), 100 / 255))


def test_images_and_masks_are_varied_alike(folder):
    """Grey says the class, in every cropped and mirrored sample; and colours change pixels only."""
    augment = MaskAugment(scale=(0.3, 1.0), flip=True)
    train = dataset(folder, augment=augment).train(seed=1)
    seen = set()
    for epoch in range(8):
        sample = train.sample(epoch, 0)
        again = train.sample(epoch, 0)
        assert all(torch.equal(value, again[name]) for name, value in sample.items())
        grey, mask = sample["images"][0], sample["masks"]
        assert grey[mask == 0].mean() < 0.1 or not (mask == 0).any()
        assert grey[mask == 1].mean() > 0.3 or not (mask == 1).any()
        assert set(mask.unique().tolist()) <= {0, 1, IGNORE}
        seen.add(tuple(mask[4].tolist()))
    assert len(seen) > 2
    coloured = dataset(folder, augment=MaskAugment(colour=0.5)).train(seed=1).sample(0, 0)
    plain = dataset(folder).train(seed=1).sample(0, 0)
    assert torch.equal(coloured["masks"], plain["masks"])
    assert not torch.equal(coloured["images"], plain["images"])


def test_masks_of_another_size_than_the_model_take_the_nearest(folder):
    model = SegmenterConfig(image_size=(16, 20), num_classes=3)
    sample = dataset(folder, model).train(seed=0).sample(0, 0)
    assert sample["images"].shape == (3, 16, 20)
    assert sample["masks"].shape == (16, 20)
    assert set(sample["masks"].unique().tolist()) == {0, 1, IGNORE}


def test_unknown_labels_are_said(folder):
    with pytest.raises(ValueError, match=r"0\.png has the labels 11; the model knows 0 to 2"):
        dataset(folder, ignore=(255,), check="all")
    lazy = dataset(folder, ignore=(255,))
    with pytest.raises(ValueError, match=r"set model\.num_classes, or add them to data\.ignore"):
        lazy.train(seed=0).sample(0, 0)


def test_bad_pairs_are_named_skipped_and_counted(folder):
    images, masks = folder / "images" / "deep", folder / "masks" / "deep"
    (images / "0.png").write_bytes(b"broken")
    (masks / "1.png").write_bytes(b"broken")
    (masks / "2.png").unlink()
    Image.new("L", (4, 4)).save(masks / "3.png")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(images / "4.png")
    (images / "4.png").write_bytes((images / "4.png").read_bytes()[:3000])
    Image.new("L", (64, 64)).save(masks / "4.png")
    with pytest.warns(UserWarning, match="4 images are left out: .*0.png cannot be read"):
        data = dataset(folder)
    assert len(data.parts["train"]) == 2
    for reason in ("1.png cannot be read", "no mask of its name", r"(8, 8) pixels, its mask"):
        assert any(reason in text for text in data.parts["train"].skipped)
    with (
        pytest.warns(UserWarning, match="5 images are left out"),
        pytest.raises(ValueError, match="one image cannot be split"),
    ):
        dataset(folder, check="all")
    with pytest.raises(FileNotFoundError, match="is no folder"):
        dataset(folder / "nowhere")


def test_colours_are_no_masks(folder):
    Image.new("RGB", (8, 8)).save(folder / "masks" / "deep" / "0.png")
    source = dataset(folder).parts["train"]
    with pytest.raises(ValueError, match="is RGB: a mask has one channel"):
        source.read(0, 3)


def test_files_to_masks_and_overlays(tiny, tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(inside / "a.png")
    (inside / "b.png").write_bytes(b"broken")
    Image.fromarray(pixels[:2]).save(inside / "c.png")
    segmenter, seen = ImageSegmenter(tiny), []
    rows = segmenter.run([inside], tmp_path / "out", progress=lambda *s: seen.append(s))
    assert seen[-1] == ("c.png", 3, 3)
    assert "cannot be read as an image" in rows[1]["error"]
    assert "2x30 pixels, smaller than one patch of 4" in rows[2]["error"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a_mask.png", "a_overlay.png"]
    mask = segmenter.segment(pixels)
    assert mask.shape == (20, 30)
    assert mask.dtype == np.uint8
    with Image.open(rows[0]["mask"]) as picture:
        assert np.array_equal(np.asarray(picture), mask)
        assert np.array_equal(np.asarray(picture.convert("RGB")), palette(5)[mask])
    with Image.open(rows[0]["overlay"]) as picture:
        half = (pixels.astype(float) + palette(5)[mask]) / 2
        assert np.abs(np.asarray(picture) - half).max() <= 1
    assert sum(rows[0]["shares"].values()) == pytest.approx(1)
    with pytest.raises(FileExistsError, match="overwrite"):
        segmenter.run([inside / "a.png"], tmp_path / "out")
    only = ImageSegmenter(tiny, SegmenterPredict(overlay=False))
    assert "overlay" not in only.run([inside / "a.png"], tmp_path / "other")[0]


def test_an_image_of_the_models_size_is_answered_by_the_model(tiny):
    image = torch.rand(3, 16, 16)
    mean, std = (torch.tensor(v)[:, None, None] for v in (tiny.config.mean, tiny.config.std))
    with torch.no_grad():
        logits = tiny(((image - mean) / std)[None])["logits"]
    assert np.array_equal(ImageSegmenter(tiny).segment(image), logits[0].argmax(0).numpy())


def test_colours_of_classes_differ():
    assert len(np.unique(palette(150), axis=0)) == 150


@pytest.mark.slow
def test_trained_saved_measured_and_used(folder):
    """Black is class 0 and grey is class 1: a few steps are enough to tell them apart."""
    import mamba_core

    pairs = {"images": str(folder / "images"), "masks": str(folder / "masks")}
    data = {"train": pairs, "test": pairs, "ignore": (11,)}
    result = mamba_core.train(
        "vision-seg",
        preset="tiny",
        out=folder / "run",
        model={"num_classes": 3, "labels": ("black", "grey", "white")},
        data=data,
        train={"max_steps": 60, "batch_size": 4, "lr": 1e-2, "warmup_steps": 5, "ema": None},
    )
    assert result.score > 0.8
    measured = mamba_core.evaluate(folder / "run" / "best", data=data)
    assert measured.metrics["miou"] > 0.8
    rows = mamba_core.predict(folder / "run", [folder / "images"], folder / "out")
    assert len(rows) == 6
    assert rows[0]["shares"]["grey"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_position_prior_on_camvid(shared, tmp_path):
    """The most frequent class of each pixel scores what was measured elsewhere: reader, void and
    metric are right on real masks."""
    with tarfile.open(shared / "data/vision/camvid_240x180.tar.xz") as tar:
        tar.extractall(tmp_path)
    (root,) = (path.parent for path in tmp_path.rglob("trainannot"))
    model = registry.config("vision-seg", preset="camvid_unet")
    parts = {
        name: {"images": root / name, "masks": root / f"{name}annot"}
        for name in ("train", "val", "test")
    }
    sources = MaskDataset(MaskData(**parts, ignore=(11,)), model).parts
    assert [len(sources[name]) for name in parts] == [367, 101, 233]
    counts = torch.zeros(11, 180, 240)
    for _, mask in sources["train"].files:
        classes = sources["train"].classes_of(mask)
        for k in range(11):
            counts[k] += classes == k
    found = metrics()
    for _, mask in sources["test"].files:
        for metric in found.values():
            truth = sources["test"].classes_of(mask)[None]
            metric.update({"logits": counts[None]}, {"masks": truth})
    assert found["miou"].compute().item() == pytest.approx(0.1703, abs=5e-5)
    assert found["pixel_accuracy"].compute().item() == pytest.approx(0.6158, abs=5e-5)
