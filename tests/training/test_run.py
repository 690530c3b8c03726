"""A training from a task id to its results folder, and what goes wrong on the way."""

from __future__ import annotations

import csv
import json
import sys

import pytest
import torch
from safetensors.torch import load_file

import mamba_core
from mamba_core.training import TrainingError
from mamba_registry.errors import ConfigError, DependencyMissingError

QUICK = {
    "max_steps": 8,
    "batch_size": 3,
    "val_every": 4,
    "log_every": 2,
    "warmup_steps": 2,
    "device": "cpu",
}


def train(toy, out, resume=False, data=None, **fields):
    return mamba_core.train(toy.TASK, data=data, train=QUICK | fields, out=out, resume=resume)


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_results_folder(toy, tmp_path):
    result = train(toy, tmp_path / "run")
    names = {path.name for path in result.folder.iterdir()}
    assert names == {
        *("best", "config.json", "curves.png", "last.ckpt", "metrics.csv", "tensorboard")
    }
    assert (result.steps, result.skipped) == (8, 0)
    table = rows(result.folder)
    assert [r["step"] for r in table if r["train_loss"]] == ["2", "4", "6", "8"]
    assert [r["step"] for r in table if r["val_closeness"]] == ["4", "8"]
    assert (result.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    described = json.loads((result.folder / "config.json").read_text())
    assert described["task"] == "acme/toy-reg@1"
    assert described["train"]["batch_size"] == 3


def test_best_model_has_the_score_of_the_result(toy, tmp_path):
    result = train(toy, tmp_path / "run")
    again = mamba_core.evaluate(result.folder, split="val", device="cpu")
    assert again.metrics["closeness"] == pytest.approx(result.score, abs=1e-6)
    assert mamba_core.evaluate(result.model, split="test", device="cpu").items == 7
    saved = json.loads((result.model / "config.json").read_text())
    assert saved["metrics"]["closeness"] == pytest.approx(result.score)


def test_data_may_finish_the_best_model(toy, tmp_path, monkeypatch):
    def finish(self, model, *, seed):
        assert not model.training
        model.layers[1].bias.data.fill_(100.0 + seed)

    monkeypatch.setattr(toy.Source, "finish", finish, raising=False)
    result = train(toy, tmp_path / "run", seed=3)
    bias = load_file(result.model / "model.safetensors")["layers.1.bias"]
    assert bias.tolist() == [103]
    assert result.score < -90  # of the finished model: far off
    again = mamba_core.evaluate(result.folder, split="val", device="cpu", seed=3)
    assert result.metrics == pytest.approx(again.metrics, abs=1e-4)
    resumed = train(toy, tmp_path / "run", resume=True, seed=3)
    assert resumed.metrics == pytest.approx(result.metrics)
    assert load_file(result.model / "model.safetensors")["layers.1.bias"].tolist() == [103]


def test_training_learns(toy, tmp_path):
    result = train(toy, tmp_path / "run", max_steps=200, lr=2e-2, val_every=50)
    first, *_, last = [float(r["train_loss"]) for r in rows(result.folder) if r["train_loss"]]
    assert last < 0.5 * first


def test_validates_at_the_end_whatever_the_interval(toy, tmp_path):
    result = train(toy, tmp_path / "run", max_steps=7)
    assert [r["step"] for r in rows(result.folder) if r["val_loss"]] == ["4", "7"]


def test_epochs_count_samples(toy, tmp_path):
    # 2 epochs of 10 samples by 3: 7 steps, the last batch runs on into the next epoch
    assert train(toy, tmp_path / "run", max_steps=None, max_epochs=2).steps == 7


def test_time_limit_stops_with_a_validation_and_a_checkpoint(toy, tmp_path):
    result = train(toy, tmp_path / "run", max_steps=10**6, max_minutes=1e-9)
    assert result.steps == 1
    assert rows(result.folder)[-1]["val_loss"]
    assert (result.folder / "last.ckpt").exists()


def test_early_stopping(toy, tmp_path):
    result = train(toy, tmp_path / "run", max_steps=400, lr=1e-12, ema=None, patience=2)
    assert result.steps == 12
    assert result.best_step == 4
    fields = {"max_steps": 400, "lr": 1e-12, "ema": None, "patience": 2}
    again = train(toy, tmp_path / "run", resume=True, **fields)
    assert (again.steps, again.score) == (12, result.score)


def test_interrupt_says_how_to_go_on(toy, tmp_path, monkeypatch, capsys):
    def interrupt(self, epoch, index):
        raise KeyboardInterrupt

    monkeypatch.setattr(toy.Split, "sample", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(toy, tmp_path / "run")
    assert "no checkpoint was made yet" in capsys.readouterr().err


def test_gradient_checkpointing_is_handed_to_the_model(toy, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        toy.Model, "set_gradient_checkpointing", lambda self, on=True: seen.append(on)
    )
    train(toy, tmp_path / "run", gradient_checkpointing=True)
    assert seen == [True]


def test_gradient_checkpointing_that_no_part_offers(toy, tmp_path, monkeypatch):
    monkeypatch.delattr(toy.Model, "set_gradient_checkpointing")
    with pytest.raises(TrainingError, match="no part of Model"):
        train(toy, tmp_path / "run", gradient_checkpointing=True)


def test_bf16(toy, tmp_path):
    result = train(toy, tmp_path / "run", precision="bf16")
    assert load_file(result.model / "model.safetensors")["layers.0.weight"].dtype == torch.float32


def test_nan_in_the_data_stops_and_saves_the_batch(toy, tmp_path):
    with pytest.raises(TrainingError, match=r"data is at fault: x, target.*\n.*nan_batch"):
        train(toy, tmp_path / "run", data={"nan_at": 3})
    batch = load_file(tmp_path / "run/nan_batch.safetensors")
    assert batch["x"].isnan().any()


def test_gradients_that_are_not_finite_are_counted(toy, tmp_path):
    toy.Switch.loss = "infinite gradient"
    result = train(toy, tmp_path / "run", ema=None)
    assert result.skipped == 8
    assert [r["skipped"] for r in rows(result.folder) if r["skipped"]] == ["2", "4", "6", "8"]
    torch.manual_seed(0)
    fresh = mamba_core.registry.build(toy.TASK)
    trained = load_file(result.model / "model.safetensors")
    assert all(torch.equal(trained[n], p) for n, p in fresh.named_parameters())


def test_too_many_of_them_stop(toy, tmp_path):
    toy.Switch.loss = "infinite gradient"
    with pytest.raises(TrainingError, match="25 steps in a row"):
        train(toy, tmp_path / "run", max_steps=100, val_every=100)


def test_out_of_memory_is_advice(toy, tmp_path):
    toy.Switch.loss = "out of memory"
    with pytest.raises(TrainingError, match=r"20 GiB\n.*batch_size=1 with accumulate=2") as error:
        train(toy, tmp_path / "run")
    assert "gradient_checkpointing=True" in str(error.value)
    assert not (tmp_path / "run").exists()  # the same folder takes the smaller batch


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none(toy, tmp_path):
    with pytest.raises(TrainingError, match="torch sees no GPU"):
        train(toy, tmp_path / "run", device="gpu")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"device 'cuda': .* finds no such device; here: cpu"):
        mamba_core.evaluate(train(toy, tmp_path / "other").model, device="cuda")


def test_sharding_needs_torchrun(toy, tmp_path):
    with pytest.raises(TrainingError, match="torchrun"):
        train(toy, tmp_path / "run", strategy="fsdp")


def test_missing_extra(toy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(DependencyMissingError, match=r"pip install 'mamba-core\[train\]'"):
        train(toy, tmp_path / "run")


def test_misspelt_field(toy, tmp_path):
    with pytest.raises(ConfigError, match=r"no field 'batchsize'.*batch_size"):
        train(toy, tmp_path / "run", batchsize=3)


def test_folder_with_content_is_not_touched(toy, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        train(toy, tmp_path)
    with pytest.raises(TrainingError, match="no training to resume"):
        train(toy, tmp_path, resume=True)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_the_best_folder_alone_knows_the_data_of_its_training(toy, tmp_path):
    result = train(toy, tmp_path / "run", data={"items": 17})
    ways = [
        mamba_core.evaluate(at, split="train", device="cpu") for at in (result.folder, result.model)
    ]
    assert ways[0] == ways[1]
    assert ways[0].items == 17


def test_evaluate_refuses_an_unknown_split(toy, tmp_path):
    result = train(toy, tmp_path / "run")
    with pytest.raises(TrainingError, match="Did you mean 'test'"):
        mamba_core.evaluate(result.folder, split="tests")


def test_evaluate_says_how_far_it_is(toy, tmp_path):
    result, seen = train(toy, tmp_path / "run"), []
    measured = mamba_core.evaluate(
        result.model, split="val", batch_size=3, progress=lambda *step: seen.append(step)
    )
    assert seen[-1] == ("val", measured.items, measured.items)
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})
