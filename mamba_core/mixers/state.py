"""What a causal mixer remembers between calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class MixerState:
    """An opaque tree of tensors, one row per sequence.

    A mixer makes it (``init_state``), reads it and returns a new one (``prefill``, ``step``);
    the caller only carries it, picks rows, moves it or stores it. Nothing is written in place,
    so an earlier state stays usable: keep it to branch or to rewind.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Each ``(batch, ...)``."""
    children: tuple[MixerState, ...] = ()

    def select(self, rows: Tensor) -> MixerState:
        """Return the state of some sequences, in a new order, with repetition if asked for.

        :param rows: int64 ``(n,)``. Reordering a batch, dropping finished sequences and
            widening to beams are all this call.
        """
        return self.map(lambda tensor: tensor.index_select(0, rows.to(tensor.device)))

    def map(self, change: Callable[[Tensor], Tensor]) -> MixerState:
        """Return the same tree with ``change`` applied to every tensor."""
        return MixerState(
            {name: change(tensor) for name, tensor in self.tensors.items()},
            tuple(child.map(change) for child in self.children),
        )

    def to(self, device: torch.device | str) -> MixerState:
        """Return the state on another device, with its dtypes kept."""
        return self.map(lambda tensor: tensor.to(device))

    def detach(self) -> MixerState:
        """Return the state without its autograd history (truncated backpropagation)."""
        return self.map(Tensor.detach)

    def flatten(self, prefix: str = "") -> dict[str, Tensor]:
        """Return one flat dict of names to tensors, ready for safetensors."""
        flat = {f"{prefix}{name}": tensor.contiguous() for name, tensor in self.tensors.items()}
        for index, child in enumerate(self.children):
            flat |= child.flatten(f"{prefix}{index}.")
        return flat

    def unflatten(self, flat: Mapping[str, Tensor], prefix: str = "") -> MixerState:
        """Return a state of this one's structure holding the tensors of :meth:`flatten`.

        :raises KeyError: when a tensor of this structure is missing from ``flat``.
        """
        return MixerState(
            {name: flat[f"{prefix}{name}"] for name in self.tensors},
            tuple(
                child.unflatten(flat, f"{prefix}{index}.")
                for index, child in enumerate(self.children)
            ),
        )

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        own = sum(tensor.nbytes for tensor in self.tensors.values())
        return own + sum(child.nbytes for child in self.children)
