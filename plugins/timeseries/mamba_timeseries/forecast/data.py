"""Training, validation and test windows of a table of series.

A window is a function of its index only. Later parts borrow ``input_size`` steps before their
border as known past. Values are standardised by the training steps of their series.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_timeseries.errors import FrameError, listed
from mamba_timeseries.forecast.config import (
    CMamba,
    ForecastConfig,
    ForecastData,
    MambaTS,
    SMamba,
)
from mamba_timeseries.forecast.protocol import Array, Scaler
from mamba_timeseries.forecast.scale import SeriesScale, phase_of
from mamba_timeseries.frame import Collection, Series, collect_file

if TYPE_CHECKING:
    from mamba_timeseries.forecast.model import ForecastModel

Sample = dict[str, Tensor]


class Reads(Protocol):
    """What a model's config says about the tables it reads."""

    @property
    def channels(self) -> int:
        """Series that are read together; 1 reads every series by itself."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Their names, in the order the model reads them."""
        ...

    @property
    def covariates(self) -> int:
        """Columns that are known ahead."""
        ...


@dataclass(frozen=True)
class Panel:
    """Series that are read together, standardised, on one grid of times.

    With ``channels = 1`` there is a panel per series, else one of all series.
    """

    names: tuple[str, ...]
    values: NDArray[np.float32]
    """``(steps, channels)``."""
    observed: NDArray[np.bool_]
    """``(steps, channels)``."""
    known: NDArray[np.float32]
    """``(steps, covariates)``, standardised."""
    scales: tuple[SeriesScale, ...]
    """One per channel."""
    phase: int
    """Of the first step, in its cycle."""
    ends: tuple[int, int, int]
    """Where training, validation and test end, in steps."""

    def invert(self, values: Array, start: int = 0) -> Array:
        """Return values in original units.

        :param values: ``(steps, channels)`` or ``(steps, channels, k)``.
        :param start: the step that the first of them is of.
        """
        columns = [s.invert(values[:, c], self.phase + start) for c, s in enumerate(self.scales)]
        return np.stack(columns, axis=1)


class WindowSplit:
    """All windows of stride 1 of one part of some panels.

    :param part: 0 training, 1 validation, 2 test.
    """

    def __init__(self, panels: Sequence[Panel], config: ForecastConfig, part: int) -> None:
        self.panels, self.config = panels, config
        self.firsts = [_first(panel, config, part) for panel in panels]
        counts = [
            max(panel.ends[part] - config.h - first + 1, 0)
            for panel, first in zip(panels, self.firsts, strict=True)
        ]
        self.offsets = np.concatenate([[0], np.cumsum(counts)])

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def sample(self, epoch: int, index: int) -> Sample:
        """Return ``past``, ``observed``, ``known``, ``target``, ``target_observed``, ``levels``;
        see :func:`~mamba_timeseries.forecast.model.example`."""
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        which = int(np.searchsorted(self.offsets, index, side="right")) - 1
        at = self.firsts[which] + index - int(self.offsets[which])
        return window(self.panels[which], self.config, at)


def _first(panel: Panel, config: ForecastConfig, part: int) -> int:
    """The first step that a window of a part forecasts; one step at least is known before it.

    A series too short for a whole training window gives one that is padded in front.
    """
    if part:
        return max(panel.ends[part - 1], 1)
    return max(min(config.input_size, panel.ends[0] - config.h), 1)


def window(panel: Panel, config: ForecastConfig, at: int, *, target: bool = True) -> Sample:
    """Return the window whose first forecast step is ``at``; steps before the series are padding.

    :param target: False when nothing is known from ``at`` on but the covariates.
    """
    size, h = config.input_size, config.h
    first = at - size
    pad = max(-first, 0)
    past = _padded(panel.values[max(first, 0) : at], pad)
    observed = _padded(panel.observed[max(first, 0) : at], pad)
    sample = {
        "past": torch.from_numpy(past),
        "observed": torch.from_numpy(observed),
        "known": torch.from_numpy(_padded(panel.known[max(first, 0) : at + h], pad)),
    }
    if target:
        sample |= {
            "target": torch.from_numpy(panel.values[at : at + h].copy()),
            "target_observed": torch.from_numpy(panel.observed[at : at + h].copy()),
            "levels": torch.tensor(config.quantiles),
        }
    return sample


def _padded(rows: NDArray[Any], pad: int) -> NDArray[Any]:
    return np.concatenate([np.zeros((pad, rows.shape[1]), rows.dtype), rows])


class ForecastDataset:
    """The parts of a file; see :class:`~mamba_timeseries.forecast.config.ForecastData`.

    :param data: which file, and how it is cut.
    :param model: says how long windows are and how many series one holds.
    """

    def __init__(self, data: ForecastData, model: ForecastConfig) -> None:
        columns = data.columns(data.known)
        collection = collect_file(data.path, columns, freq=data.freq, fill=data.fill)
        _warn_of_single_channels(collection, model)
        ends = [data.ends(len(s)) for s in collection.series]
        self.panels, self.model = make_panels(collection, model, ends, cycle=model.cycle), model
        if not len(self.train(seed=0)):
            longest = max(collection.series, key=len)
            raise FrameError(
                f"series {longest.name!r}, {longest.times[-1]}: {len(longest)} rows up to here, "
                f"the most of all series, leave {data.ends(len(longest))[0]} to learn from; h = "
                f"{model.h} needs {model.h + 1}: give longer series, a smaller h, or other shares"
            )

    def prepare(self, model: ForecastModel) -> None:
        """Set what the model finds in closed form from the training rows."""
        from mamba_timeseries.forecast.candidates import begin

        begin(model, self.panels)
        keep_columns(model, self.panels)

    def finish(self, model: ForecastModel, *, seed: int) -> None:
        """Set what the model finds with its trained weights."""
        from mamba_timeseries.forecast.candidates import finish
        from mamba_timeseries.forecast.progress import shown

        with shown(None, "after training") as tell:
            finish(model, self.panels, seed=seed, progress=tell)

    def train(self, *, seed: int) -> WindowSplit:
        """Return the windows to learn from."""
        return WindowSplit(self.panels, self.model, 0)

    def val(self, *, seed: int) -> WindowSplit:
        """Return the windows to choose a model by."""
        return WindowSplit(self.panels, self.model, 1)

    def test(self, *, seed: int) -> WindowSplit:
        """Return the windows to report."""
        return WindowSplit(self.panels, self.model, 2)


def _warn_of_single_channels(collection: Collection, model: ForecastConfig) -> None:
    """Say so when a network that mixes series is given them one by one."""
    count = len(collection.series)
    if model.channels == 1 and count > 1 and isinstance(model.network, SMamba | CMamba | MambaTS):
        warnings.warn(
            f"network {model.network.kind!r} is made to read series together, but channels = 1 "
            f"gives it the {count} of the table one by one: set channels = {count} "
            f"(--model.channels {count}) to mix them",
            stacklevel=3,
        )


def make_panels(
    collection: Collection,
    model: Reads,
    ends: Sequence[tuple[int, int, int]],
    scales: dict[str, SeriesScale] | None = None,
    known_scaler: Scaler | None = None,
    cycle: int = 0,
) -> list[Panel]:
    """Standardise series and put them together as the model reads them.

    :param ends: of each series, its training, validation and test.
    :param scales: by series name, in place of those found on the training steps.
    :param known_scaler: of the covariates, likewise.
    :param cycle: steps of the cycle to take off; 0 takes none off.
    :raises FrameError: for names, times or covariates that do not fit the model.
    """
    _check_covariates(collection, model)
    if model.channels == 1 and not model.columns:
        return [
            _panel(collection, [s.name], end, scales, known_scaler, cycle)
            for s, end in zip(collection.series, ends, strict=True)
        ]
    names = match_columns(collection, model)
    _check_one_grid(collection)
    return [_panel(collection, names, ends[0], scales, known_scaler, cycle)]


def match_columns(collection: Collection, model: Reads) -> list[str]:
    """Return the series in the order the model reads them, matched by name.

    :raises FrameError: for missing, unknown or too many series.
    """
    names = list(model.columns or collection.names)
    missing = [n for n in names if n not in collection.by_name]
    extra = [n for n in collection.names if n not in names]
    if missing or extra:
        parts = [f"missing {listed(missing)}"] if missing else []
        parts += [f"unknown {listed(extra)}"] if extra else []
        raise FrameError(f"the model reads the series {listed(names)}: {'; '.join(parts)}")
    if len(names) != model.channels:
        raise FrameError(
            f"the table has {len(names)} series ({listed(names)}), the model reads channels = "
            f"{model.channels} together: set channels (--model.channels {len(names)}), or 1 to "
            "forecast each by itself"
        )
    return names


def keep_columns(model: Any, panels: Sequence[Panel]) -> None:
    """Write the names of the series that a model reads together into its config.

    They are saved with it, so that it later takes tables of these series only.
    """
    config = model.config
    if config.channels > 1 and not config.columns:
        model.config = dataclasses.replace(config, columns=panels[0].names)
        model.task = dataclasses.replace(model.task, config=model.config)


def _check_covariates(collection: Collection, model: Reads) -> None:
    known = collection.columns.known
    if len(known) != model.covariates:
        raise FrameError(
            f"the table has {len(known)} known columns ({listed(known)}), the model takes "
            f"covariates = {model.covariates}"
        )


def _check_one_grid(collection: Collection) -> None:
    first = collection.series[0]
    for other in collection.series[1:]:
        if not other.times.equals(first.times):
            ends = f"{other.times[0]} to {other.times[-1]}"
            raise FrameError(
                f"series {other.name!r} has the times {ends}, series {first.name!r} "
                f"{first.times[0]} to {first.times[-1]}: series that are read together need the "
                "same ones; cut them, or use channels = 1"
            )
        if not np.array_equal(other.known, first.known):
            row = int(np.argwhere((other.known != first.known).any(1))[0, 0])
            raise FrameError(
                f"series {other.name!r}, {other.times[row]}: known columns differ from those of "
                f"{first.name!r}; series that are read together share them"
            )


def _panel(
    collection: Collection,
    names: list[str],
    ends: tuple[int, int, int],
    scales: dict[str, SeriesScale] | None,
    known_scaler: Scaler | None,
    cycle: int,
) -> Panel:
    series = [collection.by_name[n] for n in names]
    observed = np.stack([s.observed for s in series], axis=1)
    phase = phase_of(series[0].times[0], collection.freq)
    found = scales if scales is not None and all(n in scales for n in names) else {}
    own = tuple(found.get(s.name) or _measured(s, ends[0], phase, cycle) for s in series)
    values = np.stack([scale.apply(s.y, phase) for s, scale in zip(series, own, strict=True)], 1)
    known = series[0].known
    if known.shape[1]:
        known = (known_scaler or Scaler.fit(known[: max(ends[0], 1)])).apply(known)
    return Panel(
        tuple(names),
        np.where(observed, values, 0).astype(np.float32),
        observed,
        known.astype(np.float32),
        own,
        phase,
        ends,
    )


def _measured(series: Series, end: int, phase: int, cycle: int) -> SeriesScale:
    """The scale of a series by its training steps, one at least."""
    seen = np.where(series.observed, series.y, np.nan)[: max(end, 1)]
    return SeriesScale.fit(seen, phase, cycle)
