"""Classification, imputation, anomalies: conformance, data, and what a little training gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import mamba_core
from mamba_core import registry
from mamba_core.pretrained import save_pretrained
from mamba_core.testing import parametrize_task_checks
from mamba_registry.tasks import role_config
from mamba_timeseries import FrameError
from mamba_timeseries.anomaly.predict import FileDetector
from mamba_timeseries.classify.data import ClassifyDataset, read_ts
from mamba_timeseries.classify.predict import FileClassifier
from mamba_timeseries.impute.data import hide
from mamba_timeseries.impute.objective import line
from mamba_timeseries.impute.predict import FileImputer


@parametrize_task_checks("ts-classify")
def test_classify_conformance(check):
    check()


@parametrize_task_checks("ts-impute")
def test_impute_conformance(check):
    check()


@parametrize_task_checks("ts-anomaly")
def test_anomaly_conformance(check):
    check()


def dataset(task, model, **fields):
    spec = registry.spec(task)
    return registry.resolve(spec.data)(role_config(spec, "data_config", fields), model.task.config)


def train(task, model, split, steps, batch_size=8):
    spec = registry.spec(task)
    loss = registry.resolve(spec.loss)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    for step in range(steps):
        first = step * batch_size
        samples = [split.sample(step, k % len(split)) for k in range(first, first + batch_size)]
        batch = collate(split, samples)
        optimizer.zero_grad()
        loss(model(**{n: batch[n] for n in spec.inputs}), batch).backward()
        optimizer.step()
    return model.eval()


def collate(split, samples):
    if hasattr(split, "collate"):
        return split.collate(samples)
    return {n: torch.stack([s[n] for s in samples]) for n in samples[0]}


def measure(task, model, split):
    spec = registry.spec(task)
    found = registry.resolve(spec.metrics)()
    batch = collate(split, [split.sample(0, k) for k in range(len(split))])
    with torch.no_grad():
        outputs = model(**{n: batch[n] for n in spec.inputs})
    for metric in found.values():
        metric.update(outputs, batch)
    return {n: float(m.compute()) for n, m in found.items()}


# classification


def ts_file(path, count=24, seed=0):
    rng = np.random.default_rng(seed)
    lines = ["@problemName waves", "@classLabel true slow fast", "@data"]
    for k in range(count):
        time = np.arange(30 + k % 5)
        wave = np.sin(time * (0.3, 1.1)[k % 2] + 6 * rng.random())
        wave += 0.1 * rng.normal(size=len(time))
        lines.append(",".join(f"{v:.4f}" for v in wave) + ":" + ("slow", "fast")[k % 2])
    path.write_text("\n".join(lines))
    return path


def test_waves_are_told_apart(tmp_path):
    files = {n: ts_file(tmp_path / f"{n}.ts", seed=k) for k, n in enumerate(("train", "test"))}
    torch.manual_seed(0)
    model = registry.build("ts-classify", preset="tiny", labels=("slow", "fast"))
    data = dataset("ts-classify", model, **files)
    parts = [data.train(seed=0), data.val(seed=0), data.test(seed=0)]
    assert [len(p) for p in parts] == [20, 4, 24]
    assert sorted(s.label for s in parts[1].series) == ["fast", "fast", "slow", "slow"]
    train("ts-classify", model, parts[0], 60)
    assert measure("ts-classify", model, parts[2])["accuracy"] > 0.9
    series = parts[2].series[0]
    frame = pd.DataFrame({"unique_id": "x", "y": series.values[:, 0]})
    out = FileClassifier(model).classify(frame)
    assert out["label"].tolist() == [series.label]
    assert out[["p_slow", "p_fast"]].sum(axis=1).item() == pytest.approx(1)


def test_ts_with_channels(tmp_path):
    (tmp_path / "a.ts").write_text("# c\n@classLabel true 1 2\n@data\n1,2,3:4,5,6:1\n7,8:9,10:2\n")
    first, second = read_ts(tmp_path / "a.ts")
    assert first.values.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert (second.label, second.values.shape) == ("2", (2, 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("@classLabel true 1\n@data\n1,x:1", "line 3"),
        ("@classLabel true 1\n@data\n1,nan:1", "'line 3', step 1: missing"),
        ("@data\n", "no series after a line @data"),
    ],
)
def test_bad_ts_files(tmp_path, content, message):
    (tmp_path / "a.ts").write_text(content)
    with pytest.raises(FrameError, match=message):
        read_ts(tmp_path / "a.ts")


def test_classes_that_do_not_fit(tmp_path):
    path = ts_file(tmp_path / "a.ts")
    model = registry.build("ts-classify", preset="tiny", classes=3)
    with pytest.raises(FrameError, match=r"2 classes \(fast, slow\), the model classes = 3"):
        dataset("ts-classify", model, train=path, test=path)
    model = registry.build("ts-classify", preset="tiny", channels=2)
    with pytest.raises(FrameError, match="'line 4': 1 channels, the model reads channels = 2"):
        dataset("ts-classify", model, train=path, test=path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        dataset("ts-classify", model, train=tmp_path / "b.ts", test=path)


def test_tables_with_labels(tmp_path):
    rows = pd.DataFrame({"unique_id": ["a"] * 3 + ["b"] * 2, "label": list("xxxyy"), "y": range(5)})
    rows.to_csv(tmp_path / "a.csv", index=False)
    model = registry.build("ts-classify", preset="tiny")
    data = dataset("ts-classify", model, train=tmp_path / "a.csv", test=tmp_path / "a.csv")
    assert isinstance(data, ClassifyDataset)
    assert [len(s.values) for s in data.known] == [3, 2]
    rows.assign(label=list("xyyyy")).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(FrameError, match=r"series 'a': has the classes \['x', 'y'\]"):
        dataset("ts-classify", model, train=tmp_path / "a.csv", test=tmp_path / "a.csv")


# imputation and anomalies


def waves(steps=600, seed=0):
    rng = np.random.default_rng(seed)
    y = 20 + 4 * np.sin(np.arange(steps) * 2 * np.pi / 8) + 0.1 * rng.normal(size=steps)
    times = pd.date_range("2024-01-01", periods=steps, freq="h")
    return pd.DataFrame({"unique_id": "a", "ds": times, "y": y})


def test_gaps_are_filled_better_than_by_a_line(tmp_path):
    waves().to_csv(tmp_path / "a.csv", index=False)
    torch.manual_seed(0)
    model = registry.build("ts-impute", preset="tiny")
    data = dataset("ts-impute", model, path=tmp_path / "a.csv")
    train("ts-impute", model, data.train(seed=0), 150)
    found = measure("ts-impute", model, data.test(seed=0))
    assert found["mse"] < 0.5 * found["line_mse"]
    gap = waves()
    truth = gap["y"].to_numpy().copy()
    gap.loc[[100, 101, 400], "y"] = np.nan
    out = FileImputer(model).fill(gap.drop(250))
    assert out.index[out["filled"]].tolist() == [100, 101, 250, 400]
    assert np.abs(out["y"] - truth).max() < 3
    seen = ~out["filled"]
    np.testing.assert_allclose(out["y"][seen], truth[seen])


def test_hidden_windows_depend_on_seed_epoch_and_index(tmp_path):
    waves(400).to_csv(tmp_path / "a.csv", index=False)
    model = registry.build("ts-impute", preset="tiny")
    data = dataset("ts-impute", model, path=tmp_path / "a.csv")
    one, other = data.train(seed=0), data.train(seed=1)
    assert torch.equal(one.sample(1, 2)["hidden"], one.sample(1, 2)["hidden"])
    assert not torch.equal(one.sample(1, 2)["hidden"], one.sample(2, 2)["hidden"])
    assert not torch.equal(one.sample(1, 2)["hidden"], other.sample(1, 2)["hidden"])
    val = data.val(seed=0)
    assert torch.equal(val.sample(0, 0)["hidden"], data.val(seed=9).sample(5, 0)["hidden"])
    sample = one.sample(0, 0)
    assert not sample["values"][sample["hidden"]].any()


@pytest.mark.parametrize(
    ("share", "gap"), [(0.25, 4), (0.5, 3), (0.1, 10), (0.5, 2), (0.125, 8 / 7)]
)
def test_as_much_is_hidden_as_asked_for(share, gap):
    hidden = hide(np.random.default_rng(0), (20_000, 3), share, gap)
    assert hidden.mean() == pytest.approx(share, rel=0.15)
    starts = (hidden[1:] & ~hidden[:-1]).sum()
    assert hidden.sum() / starts == pytest.approx(gap, rel=0.25)


def test_the_line_is_numpys():
    rng = np.random.default_rng(0)
    values, seen = rng.normal(size=(4, 30, 2)), rng.random((4, 30, 2)) > 0.6
    seen[:, 7] = True
    out = line(torch.from_numpy(values), torch.from_numpy(seen)).numpy()
    for b in range(4):
        for c in range(2):
            known = np.flatnonzero(seen[b, :, c])
            expected = np.interp(np.arange(30), known, values[b, known, c])
            np.testing.assert_allclose(out[b, :, c], expected)


def test_spikes_are_found(tmp_path):
    frame = waves().assign(bad=0)
    spikes = [50, 520, 541, 577]
    frame.loc[spikes, "y"] += 8
    frame.loc[spikes, "bad"] = 1
    frame.to_csv(tmp_path / "a.csv", index=False)
    torch.manual_seed(0)
    model = registry.build("ts-anomaly", preset="tiny")
    data = dataset("ts-anomaly", model, path=tmp_path / "a.csv", label="bad")
    train("ts-anomaly", model, data.train(seed=0), 120)
    assert measure("ts-anomaly", model, data.test(seed=0))["auroc"] > 0.95
    config = role_config(registry.spec("ts-anomaly"), "predict_config", {"share": 10 / 600})
    out = FileDetector(model, config).judge(frame.drop(columns="bad"))
    assert set(out.index[out["anomaly"]]) >= set(spikes)
    assert out["anomaly"].sum() == 10


@pytest.mark.parametrize("task", ["ts-forecast", "ts-impute", "ts-anomaly"])
def test_series_read_together_are_known_by_name_afterwards(task, tmp_path):
    frame = waves(200).drop(columns="unique_id").rename(columns={"y": "heat"})
    frame.assign(load=frame["heat"] * 2).to_csv(tmp_path / "wide.csv", index=False)
    model = registry.build(task, preset="tiny", channels=2)
    data = dataset(task, model, path=tmp_path / "wide.csv")
    data.prepare(model)
    assert model.config.columns == ("heat", "load")
    save_pretrained(model, tmp_path / "kept")
    again = mamba_core.from_pretrained(tmp_path / "kept")
    predictor = registry.resolve(registry.spec(task).predictor)(again)
    assert predictor.table(frame.assign(load=1 * frame["heat"]))["unique_id"].nunique() == 2
    with pytest.raises(FrameError, match="missing 'load'; unknown 'price'"):
        predictor.table(frame.assign(price=1 * frame["heat"]))


def test_a_step_does_not_see_itself():
    model = registry.build("ts-anomaly", preset="tiny").eval()
    values, seen = torch.randn(1, 32, 1), torch.ones(1, 32, 1, dtype=torch.bool)
    with torch.no_grad():
        one = model(values, seen)["expected"]
        other = model(values.index_fill(1, torch.tensor([9]), 50.0), seen)["expected"]
    assert torch.equal(one[:, 9], other[:, 9])
    assert not torch.equal(one[:, 12], other[:, 12])


def test_parts_too_short_are_named(tmp_path):
    waves(60).to_csv(tmp_path / "a.csv", index=False)
    for task in ("ts-impute", "ts-anomaly"):
        model = registry.build(task, preset="tiny")
        data = dataset(task, model, path=tmp_path / "a.csv")
        with pytest.raises(FrameError, match=r"part validation.*6 steps \(series 'a'\), size = 32"):
            data.val(seed=0)
    with pytest.raises(FrameError, match="'a' has 20 steps, the model reads 32"):
        FileDetector(model).judge(waves(20))


def test_unknown_marks_are_named(tmp_path):
    waves().to_csv(tmp_path / "a.csv", index=False)
    model = registry.build("ts-anomaly", preset="tiny")
    with pytest.raises(FrameError, match="no column 'bad'"):
        dataset("ts-anomaly", model, path=tmp_path / "a.csv", label="bad")
