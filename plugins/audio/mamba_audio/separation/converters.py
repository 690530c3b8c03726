"""State dicts under other names than today's."""

from __future__ import annotations

from torch import Tensor

_FRAMES = ("encoder.", "decoder.")


def before_networks(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a single-path model that was saved before networks had a place of
    their own in the model."""
    return {
        f"frames.{name}" if name.startswith(_FRAMES) else f"network.{name}": value
        for name, value in state.items()
    }
