"""Clouds of points: groups, curves, independence of batch mates, files, bad input, training."""

from __future__ import annotations

import csv
import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamba_core import registry, scan_orders
from mamba_core.registry import ConfigError, DependencyMissingError
from mamba_vision.points.clouds import normalised, resampled
from mamba_vision.points.config import PointsPredict
from mamba_vision.points.data import PointsDataset, varied
from mamba_vision.points.data_config import CloudAugment, PointsData
from mamba_vision.points.groups import farthest_points, gather, neighbours
from mamba_vision.points.predict import CloudLabeller
from mamba_vision.points.presets import PRESETS

PUBLISHED = {"pointmamba_small": 12.3e6}
"""As its authors state."""
needs_h5py = pytest.mark.skipif(
    importlib.util.find_spec("h5py") is None, reason="h5py is not installed: mamba-vision[points]"
)


def build(**fields):
    torch.manual_seed(0)
    return registry.build("points-cls", preset="tiny", **fields).eval()


@pytest.fixture(scope="module")
def model():
    return build()


def cloud(count=80, seed=0, **scale):
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    for axis, factor in scale.items():
        points[:, "xyz".index(axis)] *= factor
    return points


def test_sizes_are_the_published_ones():
    assert tuple(PRESETS) == registry.spec("points-cls").presets
    for name, published in PUBLISHED.items():
        with torch.device("meta"):
            model = registry.build("points-cls", preset=name)
        count = sum(parameter.numel() for parameter in model.parameters())
        assert count == pytest.approx(published, rel=0.05)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 1000))
def test_centres_are_those_written_out(count, wanted, seed):
    """Point by point in float64, as the definition says."""
    points = cloud(count, seed).double()
    wanted = min(wanted, count)
    mean = points.mean(0)
    chosen = [int((points - mean).norm(dim=1).argmax())]
    while len(chosen) < wanted:
        apart = torch.cdist(points, points[chosen]).amin(1)
        chosen.append(int(apart.argmax()))
    found = farthest_points(points[None], wanted)[0]
    assert found.tolist() == chosen
    assert len(set(chosen)) == wanted


def test_groups_hold_the_nearest_points():
    points = cloud(40)[None]
    centres = gather(points, farthest_points(points, 6))
    near = neighbours(points, centres, 5)
    apart = torch.cdist(centres, points)
    expected = apart.argsort(-1)[..., :5]
    assert torch.equal(near.sort(-1).values, expected.sort(-1).values)
    assert neighbours(points, centres, 100).shape == (1, 6, 40)
    with pytest.raises(ValueError, match="41 centres of 40 points"):
        farthest_points(points, 41)


def test_a_cloud_does_not_see_its_batch_mates(model):
    """Whatever the largest coordinate of another cloud is."""
    own = cloud()[None]
    with torch.no_grad():
        alone = model(own)["logits"]
        for factor in (1.0, 50.0):
            pair = torch.cat([own, factor * cloud(seed=1)[None]])
            torch.testing.assert_close(model(pair)["logits"][:1], alone, rtol=1e-4, atol=1e-5)


def test_the_order_of_points_in_the_file_does_not_matter(model):
    points = cloud()
    mixed = points[torch.randperm(80)]
    with torch.no_grad():
        expected = model(points[None])["logits"]
        torch.testing.assert_close(model(mixed[None])["logits"], expected, rtol=1e-4, atol=1e-5)


def test_two_curves_one_after_the_other():
    """PointMamba's form: each sequence with a scale and a shift of its own."""
    model = build(scan_order="points-hilbert(xyz, 10, 0.02)+points-hilbert(yxz, 10, 0.02)")
    backbone, points = model.backbone, cloud()[None]
    seen = {}

    def keep(module, args, kwargs):
        seen["x"] = args[0]

    backbone.column.register_forward_pre_hook(keep, with_kwargs=True)
    with torch.no_grad():
        backbone.scale[1].fill_(2.0)
        backbone.shift[1].fill_(0.5)
        features = backbone.forward_features(points)
        centres = gather(points, farthest_points(points, 8))
        near = gather(points, neighbours(points, centres, 8)) - centres[:, :, None]
        tokens, where = backbone.tokens(near), backbone.positions(centres)
    assert features.shape == (1, 16, 32)
    first = scan_orders.get("points-hilbert(xyz, 10, 0.02)")({"points": centres})[0]
    second = scan_orders.get("points-hilbert(yxz, 10, 0.02)")({"points": centres})[0]
    torch.testing.assert_close(seen["x"][0, :8], (tokens + where)[0, first])
    torch.testing.assert_close(seen["x"][0, 8:], (2 * tokens + 0.5 + where)[0, second])


@pytest.mark.parametrize(
    "fields",
    [
        {"scan_order": "points-morton+points-snake:reverse"},
        {"scan_order": "octree"},
        {"scan_order": "bidirectional"},
        {"scan_order": "bidirectional", "merge": "mean"},
        {"scan_order": "points-hilbert+points-hilbert:reverse", "merge": "sum"},
        {"scan_order": "points-hilbert|points-snake(yxz)", "merge": "none"},
        {"mixer": "mamba1"},
        {"mixer": "attention"},
        {"mixer": {"name": "vssd", "headdim": 8}},
    ],
    ids=str,
)
def test_any_order_and_mixer(fields):
    model = build(**fields)
    logits = model(torch.stack([cloud(), cloud(seed=1)]))["logits"]
    assert torch.isfinite(logits).all()
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_what_cannot_go_together_is_said():
    with pytest.raises(ConfigError, match="merge='none'"):
        build(scan_order="points-hilbert|points-morton")
    with pytest.raises(ConfigError, match="is for grids"):
        build(scan_order="cross")
    with pytest.raises(ConfigError, match="reads class_id"):
        build(scan_order="sorted", merge="mean")
    with pytest.raises(ConfigError, match="no mixer of tokens to replace"):
        build(architecture={"kind": "pointnet"}, mixer="mamba2")


def test_clouds_that_do_not_fit(model):
    with pytest.raises(ValueError, match="a cloud has 7 points, the model makes 8 groups"):
        model(torch.zeros(1, 7, 3))
    with pytest.raises(ValueError, match=r"expected \(batch, points, 3\)"):
        model(torch.zeros(1, 80, 4))


def test_columns_besides_the_places():
    model = build(features=2)
    points = torch.cat([cloud(), torch.rand(80, 2)], dim=1)[None]
    other = points.clone()
    other[..., 3:] += 1
    with torch.no_grad():
        assert not torch.equal(model(points)["logits"], model(other)["logits"])


def test_places_are_brought_to_the_unit_sphere(model):
    points = normalised(5 + 3 * cloud(), model.config)
    assert points.mean(0).abs().max() < 1e-5
    assert points.norm(dim=1).max().item() == pytest.approx(1.0)
    same = torch.ones(9, 3)
    assert torch.isfinite(normalised(same, model.config)).all(), "all points in one place"
    metres = registry.config("points-cls", preset="tiny", normalise="centre", unit=10.0)
    torch.testing.assert_close(normalised(5 + cloud(), metres), normalised(cloud(), metres))


def test_resampling_keeps_what_it_can():
    points = torch.arange(10.0)[:, None].expand(-1, 3)
    assert resampled(points, 10, shuffled=False)[:, 0].tolist() == list(range(10))
    assert resampled(points, 5, shuffled=False)[:, 0].tolist() == [0, 2, 4, 6, 8]
    assert resampled(points, 12, shuffled=False)[:, 0].tolist() == [*range(10), 0, 1]
    drawn = resampled(points, 25, shuffled=True)[:, 0].long()
    assert torch.bincount(drawn).amin() >= 2


def test_variation_keeps_the_third_axis_and_distances():
    points = cloud()
    turned = varied(points, CloudAugment(rotate=True))
    torch.testing.assert_close(turned[:, 2], points[:, 2])
    apart, expected = torch.cdist(turned, turned), torch.cdist(points, points)
    torch.testing.assert_close(apart, expected, atol=2e-3, rtol=1e-4)
    assert not torch.allclose(turned[:, 0], points[:, 0])
    assert torch.equal(varied(points, CloudAugment()), points)


@pytest.fixture
def folder(tmp_path):
    """Two classes, flat and long; files of two kinds."""
    for part, count in (("train", 10), ("test", 2)):
        for number, (name, axis) in enumerate((("flat", "z"), ("long", "x"))):
            where = tmp_path / "clouds" / part / name
            where.mkdir(parents=True)
            for k in range(count):
                factor = 0.1 if name == "flat" else 5.0
                points = cloud(70 + k, 100 * number + k, **{axis: factor}).numpy()
                if k % 2:
                    np.savez(where / f"{k}.npz", points=points)
                else:
                    np.save(where / f"{k}.npy", points)
    return tmp_path / "clouds"


def dataset(source, **fields):
    config = registry.config("points-cls", preset="tiny", num_classes=2)
    return PointsDataset(PointsData(source=source, **fields), config)


def test_labelled_folder(folder):
    augment = {"resample": True, "rotate": True, "scale": (0.8, 1.2), "jitter": 0.01, "shift": 0.1}
    source = {"kind": "folder", "path": folder}
    data = dataset(source, val_share=0.2, augment=augment)
    assert data.classes == ("flat", "long")
    train, val, test = data.train(seed=0), data.val(seed=0), data.test(seed=0)
    assert (len(train), len(val), len(test)) == (16, 4, 4)
    assert test.sample(0, 3)["labels"].item() == 1
    assert test.sample(0, 3)["points"].shape == (64, 3)
    first, again = train.sample(1, 2), dataset(source, val_share=0.2, augment=augment)
    again = again.train(seed=0).sample(1, 2)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["points"], train.sample(2, 2)["points"])


def test_arrays_with_a_mark_for_the_test(tmp_path):
    clouds = np.stack([cloud(64, k).numpy() for k in range(8)])
    labels, test = np.arange(8) % 2, np.arange(8) >= 6
    centimetres = np.round(100 * clouds).astype(np.int16)
    names = np.array(["a", "b"])
    np.savez(tmp_path / "a.npz", p=centimetres, y=labels, t=test, n=names)
    source = {"kind": "arrays", "train": [tmp_path / "a.npz"], "points": "p", "labels": "y"}
    whole = {**source, "is_test": "t", "names": "n", "scale": 0.01}
    data = dataset(whole, val_share=0.5)
    assert data.classes == ("a", "b")
    assert len(data.parts["train"].clouds) == 6
    torch.testing.assert_close(
        data.parts["test"].clouds[0], torch.from_numpy(clouds[6]), atol=0.006, rtol=0
    )
    with pytest.raises(ValueError, match=r"source\.test names no file"):
        dataset(source)
    with pytest.raises(ValueError, match=r"lacks q: it holds p, y, t, n"):
        dataset({**whole, "points": "q"})
    with pytest.raises(FileNotFoundError, match="does not exist"):
        dataset({**whole, "train": [tmp_path / "b.npz"]})


@needs_h5py
def test_arrays_of_hdf5(tmp_path):
    """ModelNet40's and ScanObjectNN's form: data and label, in files of their own."""
    import h5py

    for part, count in (("train", 4), ("test", 2)):
        with h5py.File(tmp_path / f"{part}.h5", "w") as file:
            file["data"] = np.stack([cloud(64, k).numpy() for k in range(count)])
            file["label"] = (np.arange(count) % 2)[:, None]
    source = {"kind": "arrays", "train": [tmp_path / "train.h5"], "test": [tmp_path / "test.h5"]}
    data = dataset(source)
    assert [len(data.parts[part].clouds) for part in ("train", "test")] == [4, 2]
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["points"] = cloud(64).numpy()
    answers = CloudLabeller(build()).classify([tmp_path / "one.h5", cloud(64)])
    assert answers[0] == answers[1]


def test_without_h5py_the_way_out_is_said(tmp_path, monkeypatch):
    import builtins

    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "h5py":
            raise ImportError("no h5py")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    (tmp_path / "a.h5").write_bytes(b"")
    with pytest.raises(DependencyMissingError, match=r"mamba-vision\[points\]"):
        CloudLabeller(build()).classify([tmp_path / "a.h5"])


def test_bad_clouds_are_named_skipped_and_counted(folder):
    flat = folder / "train" / "flat"
    (flat / "broken.npy").write_bytes(b"no cloud")
    np.save(flat / "few.npy", cloud(7).numpy())
    np.save(flat / "wide.npy", np.zeros((80, 4)))
    nan = cloud().numpy()
    nan[3, 1] = np.nan
    np.save(flat / "nan.npy", nan)
    with pytest.warns(UserWarning, match=r"4 files cannot be read as clouds .*broken\.npy"):
        data = dataset({"kind": "folder", "path": folder})
    assert len(data.parts["train"].clouds) == 20
    left = " | ".join(data.parts["train"].skipped)
    for rule in (
        "cannot be read as a cloud",
        "has 7 points, the model makes 8",
        "holds NaN",
        "(80, 4)",
    ):
        assert rule in left
    rows = CloudLabeller(build()).run([flat], folder / "out")
    said = {row["file"].rsplit("/", 1)[1]: row["error"] for row in rows if "error" in row}
    assert sorted(said) == ["broken.npy", "few.npy", "nan.npy", "wide.npy"]
    assert "cannot be read as a cloud" in said["broken.npy"]
    assert "has 7 points, the model makes 8 groups" in said["few.npy"]
    assert "NaN or infinity" in said["nan.npy"]
    assert "expected (points, 3)" in said["wide.npy"]


def test_every_form_of_a_cloud_gives_one_answer(model, tmp_path):
    points = cloud()
    np.save(tmp_path / "a.npy", points.numpy())
    np.savez(tmp_path / "a.npz", points.numpy())
    forms = [tmp_path / "a.npy", str(tmp_path / "a.npz"), points, points.numpy(), points.tolist()]
    answers = CloudLabeller(model, PointsPredict(top=5)).classify(forms)
    assert all(answer == answers[0] for answer in answers)
    assert sum(answers[0].probabilities) == pytest.approx(1.0)
    np.savez(tmp_path / "two.npz", a=points.numpy(), b=points.numpy())
    with pytest.raises(ValueError, match="holds a, b"):
        CloudLabeller(model).classify([tmp_path / "two.npz"])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        CloudLabeller(model).classify(["nowhere.npy"])


def test_a_folder_of_clouds(model, folder):
    seen = []
    labeller = CloudLabeller(model, PointsPredict(batch_size=3, features=True))
    rows = labeller.run([folder / "test"], folder / "out", progress=lambda *s: seen.append(s))
    assert [done for _, done, _ in seen] == [3, 4]
    assert len(rows) == 4
    with (folder / "out" / "predictions.csv").open() as file:
        assert [r["label"] for r in csv.DictReader(file)] == [r["label"] for r in rows]
    assert np.load(folder / "out" / "features.npy").shape == (4, 32)
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no"):
        labeller.run([folder / "empty"], folder / "other")


def test_the_real_clouds_and_their_baselines(shared):
    """Counts; hand-made features, with and without logarithms, as the card has them."""
    from mamba_vision.points.reproduce import baselines, source

    path = shared / "data/vision/dales_objects500_1024pts.npz"
    config = registry.config("points-cls", preset="pointmamba_300k")
    data = PointsDataset(PointsData(source=source(path)), config)
    assert data.classes == ("building", "car", "fence", "pole", "tree")
    assert [len(data.parts[part].clouds) for part in ("train", "test")] == [349, 150]
    assert np.bincount(data.parts["test"].labels).tolist() == [30] * 5
    found = baselines(path)
    assert found["metric, plain"] == pytest.approx(0.953, abs=5e-4)
    assert found["unit-sphere, plain"] == pytest.approx(0.940, abs=5e-4)


@pytest.mark.slow
def test_trained_saved_measured_and_used(folder):
    import mamba_core

    data = {"source": {"kind": "folder", "path": str(folder)}, "val_share": 0.2}
    result = mamba_core.train(
        "points-cls",
        preset="tiny",
        out=folder / "run",
        model={"num_classes": 2, "labels": ("flat", "long")},
        data=data,
        train={
            "max_steps": 60,
            "val_every": 60,
            "batch_size": 4,
            "lr": 5e-3,
            "warmup_steps": 5,
            "ema": None,
        },
    )
    assert result.score == 1.0
    measured = mamba_core.evaluate(folder / "run" / "best", data=data)
    assert measured.metrics["top1"] == 1.0
    rows = mamba_core.predict(folder / "run", [folder / "test"], folder / "answers")
    assert [row["label"] for row in rows] == ["flat", "flat", "long", "long"]
