"""What a check is, and what it is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mamba_core import registry

if TYPE_CHECKING:
    from mamba_registry.specs import TaskSpec

Batch = dict[str, Tensor]


class Skip(Exception):
    """Raised by a check that does not apply here; the message says why."""


@dataclass(frozen=True)
class Check:
    """One promise every task keeps, as a function that raises ``AssertionError``."""

    name: str
    run: Callable[[TaskUnderTest], None]
    mandatory: bool
    """A report without its outcome is a failure. Only checks that never skip are mandatory."""
    slow: bool
    """Takes seconds; left out unless asked for."""

    @property
    def why(self) -> str:
        """The function's docstring: what the check holds, and why it matters."""
        return inspect.getdoc(self.run) or ""

    @property
    def summary(self) -> str:
        """The first sentence of :attr:`why`."""
        return self.why.split("\n")[0]


def check(
    *, mandatory: bool = True, slow: bool = False
) -> Callable[[Callable[[TaskUnderTest], None]], Check]:
    """Make a check of a function, named as the function is."""

    def wrap(function: Callable[[TaskUnderTest], None]) -> Check:
        return Check(function.__name__, function, mandatory, slow)

    return wrap


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread inside the block.

    A tiny model gains nothing from more, and on a busy machine threads that wait for each
    other make it a hundred times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class TaskUnderTest:
    """A task, one of its presets and a device: everything a check asks for.

    Models and batches are made from fixed seeds, fresh at every call, so that checks cannot
    disturb each other.
    """

    task: str
    preset: str = "tiny"
    device: str = "cpu"
    data: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the task's data config, for the checks that read real data."""

    @property
    def spec(self) -> TaskSpec:
        """The task's record."""
        return registry.spec(self.task)

    @property
    def full_id(self) -> str:
        """The id with its version."""
        return self.spec.full_id

    @property
    def config(self) -> Any:
        """The model config of the preset."""
        return registry.config(self.full_id, preset=self.preset)

    def model(self, *, seed: int = 0) -> nn.Module:
        """Build the model on the device, in eval mode; the same seed gives the same weights."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = registry.build(self.full_id, config=self.config)
        return model.to(self.device).eval()

    def batch(self, *, size: int = 2, seed: int = 0) -> Batch:
        """Return the task's example batch."""
        example = registry.resolve(self.spec.example)
        generator = torch.Generator().manual_seed(seed)
        batch = example(self.config, batch_size=size, generator=generator, device="cpu")
        return {name: value.to(self.device) for name, value in batch.items()}

    def forward(self, model: nn.Module, batch: Batch) -> Batch:
        """Call the model with the inputs its record declares."""
        missing = [name for name in self.spec.inputs if name not in batch]
        assert not missing, f"the example batch lacks the declared inputs {missing}"
        return model(**{name: batch[name] for name in self.spec.inputs})

    def loss(self, outputs: Batch, batch: Batch) -> Tensor:
        """Return the task's training loss."""
        if self.spec.loss is None:
            raise Skip("the task has no loss")
        return registry.resolve(self.spec.loss)(outputs, batch)
