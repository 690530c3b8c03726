"""Forecasts no table may be without: repeat, seasonal, window mean, ridge. NumPy, float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mamba_timeseries.forecast.protocol import Array, Windows, errors

PENALTIES = (0.1, 1.0, 10.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
"""Of :func:`fit_ridge`, tried on the validation windows."""

_CENTRED_INTERCEPT_PENALTY = 1e-6


@dataclass(frozen=True)
class Repeat:
    """The last value, for every step."""

    h: int

    def __call__(self, past: Array) -> Array:
        """``(windows, input_size, channels) -> (windows, h, channels)``."""
        return np.repeat(past[:, -1:], self.h, axis=1)


@dataclass(frozen=True)
class Seasonal:
    """The last ``season`` values, again and again."""

    h: int
    season: int

    def __call__(self, past: Array) -> Array:
        """``(windows, input_size, channels) -> (windows, h, channels)``.

        :raises ValueError: when the past is shorter than a season.
        """
        if past.shape[1] < self.season:
            raise ValueError(
                f"a season of {self.season} steps needs as many known ones, there are "
                f"{past.shape[1]}: choose a longer input_size"
            )
        steps = np.arange(self.h) % self.season - self.season
        return past[:, steps]


@dataclass(frozen=True)
class WindowMean:
    """The mean of the window, for every step."""

    h: int

    def __call__(self, past: Array) -> Array:
        """``(windows, input_size, channels) -> (windows, h, channels)``."""
        return np.repeat(past.mean(1, keepdims=True), self.h, axis=1)


@dataclass(frozen=True)
class Ridge:
    """One linear map with an intercept from window to forecast, shared by all channels."""

    weights: Array
    """``(input_size + 1, h)``, the intercept last."""
    centred: bool
    """Inputs and forecasts are relative to the window's last value."""
    penalty: float

    def __call__(self, past: Array) -> Array:
        """``(windows, input_size, channels) -> (windows, h, channels)``."""
        base = past[:, -1:] if self.centred else 0.0
        known = (past - base).swapaxes(1, 2)
        forecast = known @ self.weights[:-1] + self.weights[-1]
        return forecast.swapaxes(1, 2) + base


def fit_ridge(
    train: Sequence[Windows],
    val: Sequence[Windows],
    *,
    centred: bool = True,
    penalties: Sequence[float] = PENALTIES,
) -> Ridge:
    """Solve ``(X'X + penalty I) B = X'Y`` and choose the penalty on the validation windows.

    :param train: windows to fit on, all tables and channels together; equal sizes.
    :param val: windows to choose by.
    :param centred: see :attr:`Ridge.centred`.
    :raises ValueError: without training windows.
    """
    if not sum(map(len, train)):
        raise ValueError(
            f"the training rows hold no window of input_size = {train[0].input_size} and "
            f"h = {train[0].h}: choose smaller ones"
            if train
            else "there is no training table"
        )
    size = train[0].input_size
    moments = [_moments(windows, centred) for windows in train]
    gram, cross = sum(m[0] for m in moments), sum(m[1] for m in moments)
    intercept = _CENTRED_INTERCEPT_PENALTY if centred else 0.0
    fits = []
    for penalty in penalties:
        diagonal = np.append(np.full(size, penalty), intercept)
        fits.append(Ridge(np.linalg.solve(gram + np.diag(diagonal), cross), centred, penalty))
    usable = [windows for windows in val if len(windows)]
    if len(fits) == 1 or not usable:
        return fits[len(fits) // 2]
    return min(fits, key=lambda fit: sum(_squares(fit, windows) for windows in usable))


def _squares(fit: Ridge, windows: Windows) -> float:
    result = errors(fit, windows)
    return result.mse * result.windows * windows.values.shape[1]


def _moments(train: Windows, centred: bool) -> tuple[Array, Array]:
    """``X'X (L+1, L+1)`` and ``X'Y (L+1, h)``, a channel at a time to keep memory small."""
    size = train.input_size + 1
    gram, cross = np.zeros((size, size)), np.zeros((size, train.h))
    past, target = train.past(), train.target()
    for channel in range(train.values.shape[1]):
        x, y = past[..., channel], target[..., channel]
        if centred:
            x, y = x - past[:, -1:, channel], y - past[:, -1:, channel]
        x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        gram += x.T @ x
        cross += x.T @ y
    return gram, cross
