"""How a series is brought to the model's units: its mean, its deviation, its cycle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from mamba_timeseries.forecast.protocol import Array, Scaler

_ANCHOR = pd.Timestamp("1900-01-01", tz="UTC")
"""Steps are counted from here; any day before the data would do."""


@dataclass(frozen=True)
class SeriesScale:
    """Mean, deviation and mean cycle of one series, found on its training steps.

    :param profile: ``(cycle,)``, in units of ``scale``; empty when no cycle is taken off.
    """

    center: float
    scale: float
    profile: Array

    @classmethod
    def fit(cls, values: Array, phase: int = 0, cycle: int = 0) -> SeriesScale:
        """Measure a series.

        :param values: ``(steps,)``, NaN where not observed.
        :param phase: of the first step; see :func:`phase_of`.
        :param cycle: steps of the cycle; 0 or 1 takes none off.
        """
        scaler = Scaler.fit(values[:, None] if np.isfinite(values).any() else np.zeros((1, 1)))
        center, scale = float(scaler.center[0]), float(scaler.scale[0])
        profile = fit_profile((values - center) / scale, phase, cycle)
        return cls(center, scale, profile)

    def apply(self, values: Array, phase: int) -> Array:
        """Return ``(steps,)`` or ``(steps, k)`` values in the model's units."""
        return (values - self.center) / self.scale - self._part(values, phase)

    def invert(self, values: Array, phase: int) -> Array:
        """Undo :meth:`apply`.

        :param phase: of the first of ``values``.
        """
        return (values + self._part(values, phase)) * self.scale + self.center

    def _part(self, values: Array, phase: int) -> Array | float:
        if not len(self.profile):
            return 0.0
        part = self.profile[(phase + np.arange(len(values))) % len(self.profile)]
        return part.reshape(-1, *[1] * (values.ndim - 1))


def fit_profile(values: Array, phase: int, cycle: int) -> Array:
    """Return the mean cycle around a moving average one cycle wide, its mean 0.

    What CycleNet (Lin et al., 2409.18479) learns by gradient, in closed form. Nothing is taken
    off where fewer than four cycles are there to see it.

    :param values: ``(steps,)``, NaN where not observed.
    :returns: ``(cycle,)``; empty for a cycle below 2 steps.
    """
    if cycle < 2:
        return np.empty(0)
    if len(values) < 4 * cycle:
        return np.zeros(cycle)
    seen = np.isfinite(values)
    kernel = np.ones(cycle)
    total = np.convolve(np.where(seen, values, 0.0), kernel, "same")
    count = np.convolve(seen.astype(float), kernel, "same")
    around = (values - total / np.maximum(count, 1))[cycle:-cycle]  # whole cycles on both sides
    phases = (phase + cycle + np.arange(len(around))) % cycle
    kept = np.isfinite(around)
    sums = np.bincount(phases[kept], around[kept], minlength=cycle)
    times = np.bincount(phases[kept], minlength=cycle)
    profile = sums / np.maximum(times, 1)
    return profile - profile.mean()


@lru_cache(maxsize=4096)
def phase_of(time: Any, freq: Any) -> int:
    """Return how many steps lie between a fixed day and a time: the same for every table.

    :param time: whole number or timestamp; without a zone it is taken as UTC.
    :param freq: the step, as :class:`~mamba_timeseries.frame.Collection` holds it.
    """
    if isinstance(freq, int):
        return int(time) // freq
    stamp = pd.Timestamp(time)
    stamp = stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
    if isinstance(freq, pd.tseries.offsets.Tick | pd.tseries.offsets.Day):
        return int((stamp - _ANCHOR) // (freq.n * pd.Timedelta(1, unit=_unit(freq))))
    early, late = sorted((_ANCHOR, stamp))
    steps = len(pd.date_range(early, late, freq=freq)) - 1
    return steps if stamp >= _ANCHOR else -steps


def _unit(freq: Any) -> str:
    return str(freq.base.freqstr)
