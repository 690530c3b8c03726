"""Windows of a table, and what is hidden in them: functions of (seed, epoch, index)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_timeseries.errors import FrameError, listed
from mamba_timeseries.forecast.data import Panel, Reads, keep_columns, make_panels
from mamba_timeseries.frame import Collection, collect_file
from mamba_timeseries.impute.config import ImputeData, ReconstructorConfig, WindowData

if TYPE_CHECKING:
    from mamba_timeseries.impute.model import Reconstructor

Sample = dict[str, Tensor]

_HELD_OUT_SEED = 1
"""Of what is hidden in validation and test windows, whatever the seed of the training."""


def panels_of(collection: Collection, data: WindowData, model: Reads) -> list[Panel]:
    """Return checked series cut into the parts that the data config says."""
    return make_panels(collection, model, [data.ends(len(s)) for s in collection.series])


class Stretches:
    """Windows of one part of some panels, none across a border.

    :param part: 0 training, 1 validation, 2 test.
    :param stride: steps from window to window.
    :raises FrameError: when no series has a whole window in this part.
    """

    def __init__(self, panels: list[Panel], part: int, size: int, stride: int) -> None:
        self.panels, self.size = panels, size
        self.places: list[tuple[int, int]] = []
        for which, panel in enumerate(panels):
            first = panel.ends[part - 1] if part else 0
            last = panel.ends[part] - size
            self.places += [(which, start) for start in range(first, last + 1, stride)]
        if not self.places:
            longest = max(p.ends[part] - (p.ends[part - 1] if part else 0) for p in panels)
            raise FrameError(
                f"part {('training', 'validation', 'test')[part]}: the longest stretch has "
                f"{longest} steps (series {listed(panels[0].names)}), size = {size} are needed: "
                "choose a smaller size, or other shares"
            )

    def __len__(self) -> int:
        return len(self.places)

    def cut(self, index: int) -> tuple[Panel, int]:
        """Return a window's panel and first step."""
        which, start = self.places[index]
        return self.panels[which], start


class HiddenWindows:
    """Windows with stretches hidden.

    :param seed: of what is hidden.
    :param fresh: hide other steps in every epoch.
    """

    def __init__(self, stretches: Stretches, data: ImputeData, *, seed: int, fresh: bool) -> None:
        self.stretches, self.data, self.seed, self.fresh = stretches, data, seed, fresh

    def __len__(self) -> int:
        return len(self.stretches)

    def sample(self, epoch: int, index: int) -> Sample:
        """Return ``values``, ``observed``, ``truth``, ``hidden`` ``(size, channels)``."""
        panel, start = self.stretches.cut(index)
        part = slice(start, start + self.stretches.size)
        truth, seen = panel.values[part], panel.observed[part]
        rng = np.random.default_rng([self.seed, epoch if self.fresh else 0, index])
        hidden = hide(rng, truth.shape, self.data.hidden, self.data.gap) & seen
        return {
            "values": torch.from_numpy(np.where(hidden, 0, truth).astype(np.float32)),
            "observed": torch.from_numpy(seen & ~hidden),
            "truth": torch.from_numpy(truth.copy()),
            "hidden": torch.from_numpy(hidden),
        }


def hide(
    rng: np.random.Generator, shape: tuple[int, ...], share: float, gap: float
) -> NDArray[np.bool_]:
    """Return stretches of geometric length ``gap`` that hide about ``share`` of the steps.

    :param shape: ``(steps, channels)``; channels are hidden by themselves.
    """
    hidden = np.zeros(shape, dtype=bool)
    start = min(share / max(gap * (1 - share), share), 1.0)
    state = rng.random(shape[1]) < share
    for step in range(shape[0]):
        hidden[step] = state
        draw = rng.random(shape[1])
        state = np.where(state, draw >= 1 / gap, draw < start)
    return hidden


class ImputeDataset:
    """The parts of a file; see :class:`~mamba_timeseries.impute.config.ImputeData`."""

    def __init__(self, data: ImputeData, model: ReconstructorConfig) -> None:
        self.data, self.model = data, model
        collection = collect_file(data.path, data.columns(), freq=data.freq, fill="mask")
        self.panels = panels_of(collection, data, model)

    def prepare(self, model: Reconstructor) -> None:
        """Keep the names of the series that are read together."""
        keep_columns(model, self.panels)

    def train(self, *, seed: int) -> HiddenWindows:
        """Return the windows to learn from, hidden anew in every epoch."""
        return self._part(0, self.data.stride, seed, True)

    def val(self, *, seed: int) -> HiddenWindows:
        """Return the windows to choose a model by: the same ones for every ``seed``."""
        return self._part(1, self.model.size, _HELD_OUT_SEED, False)

    def test(self, *, seed: int) -> HiddenWindows:
        """Return the windows to report: the same ones for every ``seed``."""
        return self._part(2, self.model.size, _HELD_OUT_SEED, False)

    def _part(self, part: int, stride: int, seed: int, fresh: bool) -> HiddenWindows:
        stretches = Stretches(self.panels, part, self.model.size, stride)
        return HiddenWindows(stretches, self.data, seed=seed, fresh=fresh)


def cover(panel: Panel, size: int) -> tuple[list[int], Tensor, Tensor]:
    """Cut a whole panel into windows that overlap by half.

    :returns: their first steps, and ``values`` and ``observed`` ``(windows, size, channels)``.
    :raises FrameError: for one shorter than a window.
    """
    steps = len(panel.values)
    if steps < size:
        raise FrameError(
            f"series {listed(panel.names)} has {steps} steps, the model reads {size} at once"
        )
    starts = sorted({*range(0, steps - size + 1, max(size // 2, 1)), steps - size})
    values = torch.stack([torch.from_numpy(panel.values[s : s + size]) for s in starts])
    seen = torch.stack([torch.from_numpy(panel.observed[s : s + size]) for s in starts])
    return starts, values, seen
