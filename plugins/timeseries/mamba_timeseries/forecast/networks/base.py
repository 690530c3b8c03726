"""What the networks share: their interface, patches, and the choice among them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.nn import functional as F


class ForecastNetwork(nn.Module, ABC):
    """From normalised windows to the values of every step."""

    head: nn.Linear
    """The last map of all networks but ``dlinear``."""

    def silence(self) -> None:
        """Make it forecast nothing but the window's mean until it is trained."""
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @abstractmethod
    def forward(self, z: Tensor, observed: Tensor) -> Tensor:
        """Forecast.

        :param z: ``(batch, input_size, channels)``, 0 where nothing was observed.
        :param observed: bool, like ``z``.
        :returns: ``(batch, channels, values)``, ``values = h * outputs per step``.
        """


def cut(z: Tensor, patch: int, stride: int) -> Tensor:
    """Cut windows into overlapping patches; the end is repeated to fill the last one.

    :param z: ``(batch, input_size, channels)``.
    :returns: ``(batch, channels, patches, patch)``; :func:`patches` says how many.
    """
    rows = z.transpose(1, 2)
    needed = patch + stride * (patches(z.shape[1], patch, stride) - 1)
    return F.pad(rows, (0, needed - z.shape[1]), mode="replicate").unfold(-1, patch, stride)


def patches(input_size: int, patch: int, stride: int) -> int:
    """Return how many patches cover a window."""
    return 1 + max(-(-(input_size - patch) // stride), 0)
