"""The trainer's parts alone: order of samples, optimiser groups, schedule, average, imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import mamba_core
from mamba_core.training import TrainConfig
from mamba_core.training.data import SampleStream, eval_batches
from mamba_core.training.optim import lr_share, make_optimizer, update_average

HERE = Path(__file__).parent


def take(stream, count):
    return [place for batch, _ in zip(stream, range(count), strict=False) for place in batch]


def test_an_epoch_holds_every_sample_once():
    places = take(SampleStream(10, 3, seed=0, start=0), 20)  # six epochs
    for epoch in range(6):
        assert sorted(i for e, i in places if e == epoch) == list(range(10))
    assert [i for e, i in places if e == 0] != [i for e, i in places if e == 1]


def test_processes_share_each_step():
    whole = take(SampleStream(10, 4, seed=3, start=0), 6)
    halves = [take(SampleStream(10, 2, seed=3, rank=r, world=2, start=0), 6) for r in range(2)]
    mixed = [p for at in range(0, 12, 2) for half in halves for p in half[at : at + 2]]
    assert mixed == whole


def test_a_stream_starts_anywhere():
    whole = take(SampleStream(7, 3, seed=1, start=0), 9)
    assert take(SampleStream(7, 3, seed=1, start=4), 5) == whole[12:]


def test_seed_changes_the_order():
    first, second = (take(SampleStream(50, 10, seed=s, start=0), 5) for s in (0, 2**32))
    assert first != second


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_counts_each_item_once_and_processes_meet(world):
    shares = [eval_batches(7, 2, rank=r, world=world) for r in range(world)]
    assert len({len(batches) for batches, _ in shares}) == 1
    counted = [i for batches, count in shares for b in batches[:count] for _, i in b]
    assert sorted(counted) == list(range(7))


def test_vectors_and_marked_parameters_do_not_decay():
    model = nn.Linear(3, 2)
    model.A_log = nn.Parameter(torch.zeros(2, 4))
    model.A_log._no_weight_decay = True
    decayed, free = make_optimizer(model, TrainConfig(weight_decay=0.3)).param_groups
    assert decayed["weight_decay"] == 0.3
    assert [id(p) for p in decayed["params"]] == [id(model.weight)]
    assert free["weight_decay"] == 0
    assert {id(p) for p in free["params"]} == {id(model.bias), id(model.A_log)}


def test_learning_rate_warms_up_and_follows_a_cosine():
    share = lr_share(TrainConfig(warmup_steps=10, final_lr=0.1), 110)
    assert share(0) == pytest.approx(0.1)
    assert share(9) == share(10) == 1
    assert share(60) == pytest.approx(0.55)
    assert share(110) == share(200) == pytest.approx(0.1)


def test_average_follows_the_weights():
    model, average = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    model.weight.data.fill_(3)
    model.running_mean.fill_(5)
    update_average(average, model, 0.75, step=1000)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.running_mean.tolist() == [5, 5]
    update_average(average, model, 0.999, step=0)  # the first steps average over less
    assert average.weight.tolist() == pytest.approx([2.85, 2.85])


def test_the_bar_of_a_terminal_says_the_loss():
    from mamba_core.training.bar import TrainingBar

    book = SimpleNamespace(loss=None)
    bar = TrainingBar(book)
    assert bar.get_metrics(None, None) == {}
    book.loss = 0.123456
    assert bar.get_metrics(None, None) == {"loss": "0.1235"}
    assert bar._get_train_description(3).strip() == "Epoch 3"


def test_the_config_is_light():
    code = (
        "import sys; from mamba_core.training import TrainConfig; "
        "print([m for m in ('torch', 'numpy', 'lightning') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_building_and_predicting_leave_lightning_alone():
    code = (
        "import sys, mamba_core; mamba_core.registry.list(); mamba_core.from_pretrained; "
        "mamba_core.predict; print('lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


PROGRAM = """
import sys
import torch
import acme_toy_training as toy
import mamba_core

torch.set_num_threads(1)
if __name__ == "__main__":
    strategy, out, samples, batch = sys.argv[1:]
    toy.Switch.fail_after = int(samples) or None
    mamba_core.registry.register(toy.make_spec())
    fields = dict(max_steps=6, batch_size=int(batch), val_every=4, checkpoint_every=2, lr=1e-2,
                  warmup_steps=1, device="cpu", strategy=strategy)
    mamba_core.train(toy.TASK, model={"dropout": 0.0}, train=fields, out=out, resume=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_as_one(toy, tmp_path, strategy):
    """Without dropout, two processes with half the batch take the same steps; resumed too."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}

    def run(*words):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        return subprocess.run(
            [*launcher, "--nproc-per-node=2", str(program), *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    two = tmp_path / "two"
    assert run(strategy, str(two), "11", "2").returncode != 0
    assert torch.load(two / "last.ckpt", weights_only=True)["global_step"] == 4
    done = run(strategy, str(two), "0", "2")
    assert done.returncode == 0, done.stderr[-3000:]

    one = tmp_path / "one"
    fields = {"max_steps": 6, "batch_size": 4, "val_every": 4, "lr": 1e-2, "warmup_steps": 1}
    mamba_core.train(toy.TASK, model={"dropout": 0.0}, train=fields | {"device": "cpu"}, out=one)
    expected = load_file(one / "best/model.safetensors")
    for name, value in load_file(two / "best/model.safetensors").items():
        torch.testing.assert_close(value, expected[name])
    epochs = [d.joinpath("metrics.csv").read_text().count("\n") for d in (one, two)]
    assert epochs[0] == epochs[1]
