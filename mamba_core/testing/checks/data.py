"""The check of a task's own data."""

from __future__ import annotations

from typing import Any

import torch

from mamba_core import registry
from mamba_core.testing.subject import Batch, Skip, TaskUnderTest, check
from mamba_registry.tasks import role_config


@check(mandatory=False)
def data_module_smoke(subject: TaskUnderTest) -> None:
    """The training data gives the model what it takes, and the same sample twice.

    A sample is a function of (seed, epoch, index): this is what makes a resumed run equal an
    uninterrupted one. Skipped where libraries or files are missing.
    """
    split = _training_split(subject)
    assert len(split) > 0, "the training split is empty"
    first, again = split.sample(0, 0), split.sample(0, 0)
    for name, value in first.items():
        assert torch.equal(value, again[name]), f"sample(0, 0) gave two different '{name}'"
    batch = _collate(split, [first, split.sample(0, min(1, len(split) - 1))])
    on_device = {name: value.to(subject.device) for name, value in batch.items()}
    model = subject.model()
    loss = subject.loss(subject.forward(model, on_device), on_device)
    assert torch.isfinite(loss), f"the loss of a batch of real data is {loss.item()}"


def _training_split(subject: TaskUnderTest) -> Any:
    spec = subject.spec
    if spec.data is None or spec.data_config is None:
        raise Skip("the task has no data of its own")
    try:
        config = role_config(spec, "data_config", subject.data)
    except registry.ConfigError as error:
        if subject.data:
            raise
        raise Skip(f"the data config needs values: give data={{...}} ({error})") from error
    try:
        return registry.resolve(spec.data)(config, subject.config).train(seed=0)
    except (ImportError, FileNotFoundError) as error:
        if subject.data:
            raise
        raise Skip(f"the data is not here: {error}") from error


def _collate(split: Any, samples: list[Batch]) -> Batch:
    if hasattr(split, "collate"):
        return split.collate(samples)
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
