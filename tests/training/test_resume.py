"""A run that stopped and went on equals one that did not, bit for bit, on a CPU."""

from __future__ import annotations

import csv

import pytest
import torch
from safetensors.torch import load_file

import mamba_core
from mamba_core.training import TrainingError

# 10 samples an epoch, 3 x 2 a step: checkpoints lie inside epochs; dropout uses the generators
FIELDS = {
    "max_steps": 15,
    "batch_size": 3,
    "accumulate": 2,
    "val_every": 6,
    "checkpoint_every": 4,
    "log_every": 1,
    "warmup_steps": 3,
    "lr": 1e-2,
    "ema": 0.9,
    "patience": 5,
    "device": "cpu",
}


def train(toy, out, resume=False, **fields):
    return mamba_core.train(toy.TASK, train=FIELDS | fields, out=out, resume=resume)


def differences(a, b, path=""):
    """Where two nested states differ."""
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else [path]
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [f"{path}: {a.keys() ^ b.keys()}"]
        return [d for key in a for d in differences(a[key], b[key], f"{path}.{key}")]
    if isinstance(a, list | tuple):
        pairs = zip(a, b, strict=True)
        return [d for i, (x, y) in enumerate(pairs) for d in differences(x, y, f"{path}[{i}]")]
    return [] if a == b else [f"{path}: {a} != {b}"]


def state(folder):
    """Everything of a checkpoint that the future of the run depends on."""
    saved = torch.load(folder / "last.ckpt", weights_only=True)
    names = ("state_dict", "optimizer_states", "lr_schedulers", "mamba_rng", "global_step")
    found = {name: saved[name] for name in names}
    stopping = [v for k, v in saved["callbacks"].items() if k.startswith("EarlyStopping")]
    return found | {"stopping": stopping, "best": load_file(folder / "best/model.safetensors")}


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture
def whole(toy, tmp_path):
    """A run without a stop."""
    return train(toy, tmp_path / "whole").folder


# samples until the data fails; the last checkpoint is then at step 4 (mid-epoch),
# 6 (a validation's), 8 and 12 (both at once: every 4 and every 6)
@pytest.mark.parametrize(("samples", "step"), [(31, 4), (44, 6), (55, 8), (83, 12)])
def test_resumed_run_is_the_same_run(toy, tmp_path, whole, samples, step):
    folder = tmp_path / "broken"
    toy.Switch.fail_after = samples
    with pytest.raises(ConnectionError):
        train(toy, folder)
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == step
    toy.Switch.fail_after = None
    torch.manual_seed(123)  # whatever the process did before must not matter
    result = train(toy, folder, resume=True)
    assert result.steps == 15
    assert differences(state(whole), state(folder)) == []
    assert rows(whole) == rows(folder)


def test_another_seed_is_another_run(toy, tmp_path, whole):
    train(toy, tmp_path / "other", seed=1)
    assert differences(state(whole), state(tmp_path / "other"))


def test_stopping_twice_is_the_same_too(toy, tmp_path, whole):
    folder = tmp_path / "broken"
    for samples in (31, 20, None):
        toy.Switch.fail_after = samples
        if samples is None:
            train(toy, folder, resume=True)
        else:
            with pytest.raises(ConnectionError):
                train(toy, folder, resume=folder.exists())
    assert differences(state(whole), state(folder)) == []
    assert rows(whole) == rows(folder)


def test_resuming_a_finished_run_changes_nothing(toy, whole):
    before = state(whole)
    result = train(toy, whole, resume=True)
    assert result.steps == 15
    assert result.score == pytest.approx(
        max(float(r["val_closeness"] or "-inf") for r in rows(whole))
    )
    assert differences(before, state(whole)) == []


def test_resume_without_a_folder_starts(toy, tmp_path):
    assert train(toy, tmp_path / "new", resume=True).steps == 15


def test_resume_with_other_settings_is_refused(toy, whole):
    with pytest.raises(TrainingError, match=r"train\.lr was 0\.01, now 0\.1"):
        train(toy, whole, resume=True, lr=0.1)


def test_settings_that_do_not_matter_may_change(toy, whole):
    train(toy, whole, resume=True, workers=1, checkpoint_every=2)


def test_damaged_checkpoint(toy, whole):
    (whole / "last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match=r"last\.ckpt cannot be read"):
        train(toy, whole, resume=True)


def test_workers_do_not_change_the_run(toy, tmp_path, whole):
    train(toy, tmp_path / "workers", workers=2)
    assert differences(state(whole), state(tmp_path / "workers")) == []
