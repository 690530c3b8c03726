"""Labelled images: four forms, augmentation that is a function of its place, bad files."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mamba_core import registry
from mamba_vision.classification.config import ClassifierConfig
from mamba_vision.classification.data import ImageDataset
from mamba_vision.classification.data_config import Augment, ImageData, RandAugment
from mamba_vision.labelling.split import check_classes, hold_out

MODEL = ClassifierConfig(image_size=(8, 8), num_classes=3)


def picture(value, size=(8, 8)):
    return Image.fromarray(np.full((*size, 3), value, dtype=np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Three classes, grey values 0, 100, 200; ten to learn from and two to test of each."""
    for part, count in (("train", 10), ("test", 2)):
        for number, name in enumerate(("ant", "bee", "cat")):
            where = tmp_path / "images" / part / name
            where.mkdir(parents=True)
            for k in range(count):
                picture(100 * number).save(where / f"{k}.png")
    return tmp_path / "images"


def dataset(source, model=MODEL, **fields):
    return ImageDataset(ImageData(source=source, **fields), model)


def test_folder(folder):
    data = dataset({"kind": "folder", "path": folder}, val_share=0.2)
    assert data.classes == ("ant", "bee", "cat")
    train, val, test = data.train(seed=0), data.val(seed=0), data.test(seed=0)
    assert (len(train), len(val), len(test)) == (24, 6, 6)
    sample = test.sample(0, 3)
    assert sample["labels"].item() == 1
    assert sample["targets"].tolist() == [0.0, 1.0, 0.0]
    expected = (100 / 255 - torch.tensor(MODEL.mean)) / torch.tensor(MODEL.std)
    torch.testing.assert_close(sample["images"][:, 0, 0], expected)


def test_tar_gives_what_the_folder_gives(folder, tmp_path):
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as tar:
        tar.add(folder, arcname="some/where")
    one = dataset({"kind": "folder", "path": folder}).test(seed=0)
    other = dataset({"kind": "tar", "path": tmp_path / "images.tar.gz"}).test(seed=0)
    assert len(one) == len(other)
    for k in range(len(one)):
        for name, value in one.sample(0, k).items():
            assert torch.equal(value, other.sample(0, k)[name])


def test_packed_arrays_are_shuffled_by_nobody_and_split_by_class(tmp_path):
    """Rows sorted by class, as MNIST's here: the part held out has every class."""
    labels = np.repeat(np.arange(3), 10)
    images = np.repeat(labels[:, None, None], 64, 1).reshape(30, 8, 8).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    model = ClassifierConfig(image_size=(8, 8), in_chans=1, mean=(0,), std=(1,), num_classes=3)
    data = dataset({"kind": "npz", "path": tmp_path / "a.npz"}, model, val_share=0.1)
    val = data.val(seed=5)
    assert sorted(val.sample(0, k)["labels"].item() for k in range(len(val))) == [0, 1, 2]
    for k in range(3):  # pixel and label stayed together
        sample = val.sample(0, k)
        assert round(sample["images"][0, 0, 0].item() * 255) == sample["labels"].item()


def test_torchvision_data(tmp_path):
    """MNIST's own files, written here."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 20), ("t10k", 10)):
        images = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (count, 28, 28))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(images + bytes(count * 784))
        labels = bytes(k % 10 for k in range(count))
        head = bytes([0, 0, 8, 1]) + count.to_bytes(4, "big")
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + labels)
    model = registry.config("vision-cls", preset="mnist_250k")
    data = dataset({"kind": "torchvision", "name": "MNIST", "root": tmp_path}, model)
    assert len(data.test(seed=0)) == 10
    assert data.test(seed=0).sample(0, 7)["labels"].item() == 7
    with pytest.raises(FileNotFoundError, match="download=True"):
        dataset({"kind": "torchvision", "name": "CIFAR10", "root": tmp_path})


def test_a_sample_is_a_function_of_its_place(folder):
    augment = Augment(
        crop="resized",
        flip=True,
        rand_augment=RandAugment(),
        erasing=0.5,
        mixup=0.8,
        cutmix=1.0,
        label_smoothing=0.1,
    )
    source = {"kind": "folder", "path": folder}
    train = dataset(source, augment=augment).train(seed=1)
    state = torch.random.get_rng_state()
    first = train.sample(2, 3)
    train.sample(0, 0)
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator moved"
    again = dataset(source, augment=augment).train(seed=1).sample(2, 3)
    for name, value in first.items():
        assert torch.equal(value, again[name])
    assert first["targets"].sum() == pytest.approx(1.0)
    assert first["targets"].min() >= 0.1 / 3 - 1e-6
    others = [train.sample(epoch, 3)["images"] for epoch in (0, 1)]
    assert not torch.equal(*others)


def test_mixing_mixes_pixels_and_targets_alike(folder):
    """Grey values are 0, 100, 200 by class: the mean pixel says the shares."""
    plain = ClassifierConfig(image_size=(8, 8), num_classes=3, mean=(0,) * 3, std=(1,) * 3)
    for kind in ("mixup", "cutmix"):
        augment = Augment(**{kind: 1.0})
        source = {"kind": "folder", "path": folder}
        train = dataset(source, plain, augment=augment).train(seed=0)
        samples = [train.sample(0, k) for k in range(12)]
        assert any(0.05 < s["targets"].max() < 0.95 for s in samples)
        for sample in samples:
            grey = (sample["targets"] * torch.tensor([0.0, 100.0, 200.0])).sum() / 255
            assert sample["images"].mean() == pytest.approx(grey.item(), abs=1e-4)


def test_broken_files_are_named_skipped_and_counted(folder):
    (folder / "train" / "ant" / "broken.png").write_bytes(b"no image")
    (folder / "train" / "ant" / "notes.txt").write_text("no image, and not meant to be one")
    with pytest.warns(UserWarning, match=r"1 files cannot be read .*broken\.png"):
        data = dataset({"kind": "folder", "path": folder})
    assert len(data.parts["train"].labels) == 30
    assert len(data.parts["train"].skipped) == 1


def test_files_cut_off_are_found_when_asked_for(folder):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, "png")
    (folder / "train" / "bee" / "half.png").write_bytes(buffer.getvalue()[:3000])
    with pytest.warns(UserWarning, match=r"half\.png"):
        dataset({"kind": "folder", "path": folder, "check": "all"})
    images = dataset({"kind": "folder", "path": folder}).parts["train"]  # its header is whole
    place = [Path(name).name for name in images.names].index("half.png")
    with pytest.raises(ValueError, match=r"half\.png cannot be read .*check='all'"):
        images.read(place, 3)


def test_a_model_takes_the_names_of_its_classes_from_the_data(folder):
    fields = {"image_size": (8, 8), "num_classes": 3}
    model = registry.build("vision-cls", preset="tiny", **fields)
    data = dataset({"kind": "folder", "path": folder}, model.config)
    data.prepare(model)
    assert model.config.labels == model.task.config.labels == ("ant", "bee", "cat")
    own = registry.build("vision-cls", preset="tiny", **fields, labels=("ant", "bee", "cat"))
    before = own.task
    data.prepare(own)
    assert own.task is before
    data.classes = ("0", "1", "2")  # of arrays: no names
    plain = registry.build("vision-cls", preset="tiny", **fields)
    data.prepare(plain)
    assert plain.config.labels == ()


def test_wrong_classes_are_said(folder):
    source = {"kind": "folder", "path": folder}
    with pytest.raises(ValueError, match=r"3 classes \(ant, bee, cat\).*num_classes=3"):
        dataset(source, ClassifierConfig(num_classes=5))
    labels = ("ant", "wasp", "cat")
    check_classes(("0", "1", "2"), ClassifierConfig(num_classes=3, labels=labels))  # arrays
    with pytest.raises(ValueError, match="class 1 is 'bee' in the data and 'wasp'"):
        dataset(source, ClassifierConfig(num_classes=3, labels=labels))


def test_a_part_to_measure_on_is_enough_to_measure(folder):
    """ImageNet's validation images alone, as most who evaluate have them."""
    for part in ("train", "test"):
        shutil.rmtree(folder / part, ignore_errors=True)
    for name, grey in (("ant", 0), ("bee", 100), ("cat", 200)):
        (folder / "val" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (grey,) * 3).save(folder / "val" / name / "one.png")
    data = dataset({"kind": "folder", "path": folder})
    assert [int(data.test(seed=0).sample(0, k)["labels"]) for k in range(3)] == [0, 1, 2]
    assert len(data.val(seed=0)) == 3
    with pytest.raises(FileNotFoundError, match="nothing to learn from: give train/<class>/"):
        data.train(seed=0)


def test_missing_data_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        dataset({"kind": "npz", "path": tmp_path / "no.npz"})
    with pytest.raises(FileNotFoundError, match="holds train"):
        dataset({"kind": "folder", "path": tmp_path / "no"})
    np.savez(tmp_path / "bad.npz", images=np.zeros(3))
    with pytest.raises(ValueError, match=r"lacks .*x_train"):
        dataset({"kind": "npz", "path": tmp_path / "bad.npz"})


def test_held_out_part_has_the_share_of_every_class():
    labels = np.repeat(np.arange(4), [100, 50, 10, 1])
    kept, held = hold_out(labels, 0.1)
    assert np.bincount(labels[held], minlength=4).tolist() == [10, 5, 1, 0]
    assert sorted([*kept, *held]) == list(range(len(labels)))


def test_the_real_subsets(shared):
    """Counts and class order of the small sets of real images."""
    mnist = {"kind": "npz", "path": shared / "data/vision/mnist_ci2500.npz"}
    data = dataset(mnist, registry.config("vision-cls", preset="mnist_250k"), val_share=0.1)
    assert (len(data.train(seed=0)), len(data.val(seed=0)), len(data.test(seed=0))) == (
        1800,
        200,
        500,
    )
    cifar = {"kind": "tar", "path": shared / "data/vision/cifar10_ci2500.tar.xz"}
    data = dataset(cifar, registry.config("vision-cls", preset="cifar_1m"), augment="small")
    assert data.classes[:3] == ("airplane", "automobile", "bird")
    assert len(data.test(seed=0)) == 500
    assert data.train(seed=0).sample(0, 0)["images"].shape == (3, 32, 32)
