"""Checks of what happens to a model outside training: files, devices, processes."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from mamba_core.testing.subject import Batch, TaskUnderTest, check

RTOL, ATOL = 1e-3, 1e-3
"""float32 against float64: rounding, not another function."""


def _reloaded(subject: TaskUnderTest, model: nn.Module) -> nn.Module:
    from mamba_core.pretrained import from_pretrained, save_pretrained

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save_pretrained(model, path)
        return from_pretrained(path, device=subject.device)


@check()
def save_load_is_bit_exact(subject: TaskUnderTest) -> None:
    """A model that was saved and loaded has the same tensors and gives the same outputs.

    A buffer that is not saved, or rebuilt otherwise, changes results only after loading.
    """
    model, batch = subject.model(seed=3), subject.batch()
    again = _reloaded(subject, model)
    state = again.state_dict()
    for name, value in model.state_dict().items():
        assert name in state, f"'{name}' is not saved"
        assert torch.equal(value, state[name]), f"'{name}' changed by saving and loading"
    with torch.no_grad():
        before, after = subject.forward(model, batch), subject.forward(again, batch)
    for name, value in before.items():
        assert torch.equal(value, after[name]), f"output '{name}' changed by saving and loading"


@check()
def loads_in_eval_mode(subject: TaskUnderTest) -> None:
    """A loaded model is in eval mode.

    Dropout that is still on makes a good model look poor, and no error says so.
    """
    model = subject.model().train()
    training = [name for name, m in _reloaded(subject, model).named_modules() if m.training]
    assert not training, f"in training mode after loading: {training[:5]}"


@check()
def moves_device_and_dtype(subject: TaskUnderTest) -> None:
    """``model.double()`` computes in float64, and ``.to(device)`` takes everything along.

    A tensor made with a fixed dtype or left on the CPU fails on the first other machine.
    """
    batch = subject.batch()
    model = subject.model()
    with torch.no_grad():
        single = subject.forward(model, batch)
        double = subject.forward(model.double(), {k: _double(v) for k, v in batch.items()})
    for name, value in double.items():
        if value.is_floating_point():
            assert value.dtype == torch.float64, f"'{name}' of a float64 model: {value.dtype}"
            moved = (value - single[name]).abs().max()
            assert torch.allclose(value.float(), single[name], rtol=RTOL, atol=ATOL), (
                f"output '{name}' differs by {moved:.3g} between float32 and float64"
            )
    if torch.cuda.is_available():
        _run_on(subject, "cuda")


def _double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


def _run_on(subject: TaskUnderTest, device: str) -> None:
    batch: Batch = {name: value.to(device) for name, value in subject.batch().items()}
    with torch.no_grad():
        for name, value in subject.forward(subject.model().to(device), batch).items():
            assert value.device.type == device, f"output '{name}' is on {value.device}"


@check()
def pickles_for_workers(subject: TaskUnderTest) -> None:
    """Config, batch and model go to another process and come back equal.

    Data workers and launchers that spawn processes pickle what they are given.
    """
    config = pickle.loads(pickle.dumps(subject.config))
    assert config == subject.config, "the config comes back from pickle unequal"
    batch = subject.batch()
    for name, value in pickle.loads(pickle.dumps(batch)).items():
        assert torch.equal(value, batch[name]), f"'{name}' comes back from pickle unequal"
    model = pickle.loads(pickle.dumps(subject.model()))
    with torch.no_grad():
        subject.forward(model, batch)
