"""Fitting candidates on a table and choosing the best: the first half of ``Forecaster``."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, Self, get_args

import numpy as np
import torch

from mamba_core import registry
from mamba_registry.configs import make_config
from mamba_timeseries.errors import FrameError, listed
from mamba_timeseries.forecast import candidates as cand
from mamba_timeseries.forecast.candidates import BASELINES, Candidate
from mamba_timeseries.forecast.config import ForecastConfig, ForecastTrain
from mamba_timeseries.forecast.context import check_static, on_one_grid, season_of
from mamba_timeseries.forecast.data import Panel, WindowSplit, make_panels
from mamba_timeseries.forecast.model import Stream
from mamba_timeseries.forecast.progress import Progress, shown
from mamba_timeseries.forecast.protocol import Scaler
from mamba_timeseries.forecast.scale import SeriesScale
from mamba_timeseries.frame import Collection, Columns, Fill, Series, collect

TASK = "ts-forecast"
TOGETHER = ("s_mamba", "s_mamba_residual", "cmamba", "mamba_ts")
"""Presets whose networks read several series at once."""

Intervals = Literal["model", "conformal"]


def rising(levels: Sequence[float]) -> tuple[float, ...]:
    """Return levels of quantiles in order.

    :raises ValueError: for a level outside of 0 to 1, or one that occurs twice.
    """
    ordered = tuple(sorted(levels))
    if any(not 0 < level < 1 for level in ordered) or len(set(ordered)) < len(ordered):
        raise ValueError(f"quantiles = {tuple(levels)} must lie between 0 and 1, each one once")
    return ordered


def _check_settings(h: int, input_size: int | None, val_share: float, intervals: Intervals) -> None:
    for name, value, least in (("h", h, 1), ("input_size", input_size, 2)):
        if value is not None and (not isinstance(value, Integral) or value < least):
            raise ValueError(f"{name} = {value!r} must be a whole number, at least {least}")
    if not 0 <= val_share < 1:
        raise ValueError(f"val_share = {val_share} must lie between 0 and 1")
    if intervals not in get_args(Intervals):
        every = ", ".join(get_args(Intervals))
        raise ValueError(f"intervals = {intervals!r} must be one of {every}")


class Estimator:
    """Settings, candidates and what was learnt; see
    :class:`~mamba_timeseries.forecast.forecaster.Forecaster` for the arguments."""

    def __init__(
        self,
        model: str = "patch_decoder",
        *,
        h: int,
        input_size: int | None = None,
        freq: Any = None,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        intervals: Intervals = "model",
        known: Sequence[str] = (),
        static: Sequence[str] = (),
        fill: Fill = "error",
        season: int | None = None,
        val_share: float = 0.2,
        train: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
        columns: Columns | None = None,
        seed: int = 0,
    ) -> None:
        presets = registry.spec(TASK).presets
        if model not in (*presets, *BASELINES, "auto"):
            every = ", ".join(("auto", *BASELINES, *presets))
            raise ValueError(f"model = {model!r} must be one of {every}")
        _check_settings(h, input_size, val_share, intervals)
        self.name, self.h, self.input_size, self.freq = model, h, input_size, freq
        self.levels = rising(quantiles)
        self.intervals, self.fill, self.season, self.seed = intervals, fill, season, seed
        self.val_share, self.fields = val_share, dict(fields or {})
        base = columns or Columns()
        self.static = tuple(static)
        self.columns = dataclasses.replace(base, known=(*known, *static))
        self.train_config = make_config(ForecastTrain, {"seed": seed, **(train or {})})
        self.best: Candidate | None = None
        self.report: dict[str, dict[str, float]] = {}
        self._context: Collection | None = None
        self._ignored: tuple[str, ...] = ()
        self._scales: dict[str, SeriesScale] = {}
        self._known_scaler: Scaler | None = None
        self._stream: Stream | None = None
        self._stream_first: int | None = None  # step of the context that the stream began at

    def fit(self, df: Any, *, progress: Progress | None = None) -> Self:
        """Fit on a table.

        :param df: pandas or polars, long; checked before anything is computed.
        :param progress: called with ``(model, steps done, in all)``; None draws a bar on a
            terminal.
        :returns: itself.
        :raises FrameError: for a table that cannot be used, naming series, timestamp and rule.
        """
        collection = collect(df, self.columns, freq=self.freq, fill=self.fill)
        return self.fit_collection(collection, progress=progress)

    def fit_collection(self, collection: Collection, *, progress: Progress | None = None) -> Self:
        """:meth:`fit` for series that are checked already."""
        self.settle(collection)
        check_static(collection, self.static)
        held = self.h if self.name == "auto" else 0
        names = self._choices(collection, held) if self.name == "auto" else [self.name]
        self.report = {}
        tried: list[tuple[float, Candidate]] = []
        with shown(progress, "fitting") as tell:
            for name in names:
                tried.append(self._try(name, collection, held, tell))
                self.report[name] = {"val_mse": tried[-1][0]}
        self._ignored = collection.ignored
        _, best = min(tried, key=lambda pair: pair[0])
        self.best, self._context = best, collection
        for panel in self._panels(self._config(best.name, collection), collection, held):
            self._scales |= dict(zip(panel.names, panel.scales, strict=True))
        if held:
            self._test(collection, held, tried)
        return self

    def __repr__(self) -> str:
        """Say what was asked for, and what came of it."""
        asked = f"Forecaster({self.name!r}, h={self.h})"
        if self.best is None:
            return f"{asked}, not fitted"
        ranked = sorted(self.report, key=lambda name: self.report[name]["val_mse"])
        told = ", ".join(f"{name} {self.report[name]['val_mse']:.4g}" for name in ranked)
        return f"{asked}: {self.best.name!r} forecasts (squared error on validation: {told})"

    def settle(self, collection: Collection) -> None:
        """Fill in what depends on the data: season, look-back, step of time."""
        longest = max(len(s) for s in collection.series)
        short = [s.name for s in collection.series if len(s) < 2]
        if short:
            raise FrameError(f"series {listed(short)}: one row only; at least 2 are needed")
        if self.season is None:
            self.season = season_of(collection.freq)
        if self.input_size is None:
            wished = max(4 * self.season, 2 * self.h, 8)
            self.input_size = max(min(wished, longest // 2), 2)
        if longest <= self.h + 1:
            name = next(s.name for s in collection.series if len(s) == longest)
            raise FrameError(
                f"series {name!r}: {longest} rows, the longest series; h = {self.h} needs at least "
                f"{self.h + 2}"
            )
        self.freq = collection.freq

    def _ends(self, series: Series, held: int) -> tuple[int, int, int]:
        """Where training, validation and test of a series end; the test part is ``held``."""
        steps = len(series) - held
        val = max(int(steps * self.val_share), min(self.h, steps // 2))
        return steps - val, steps, len(series)

    def baselines(self, collection: Collection, held: int = 0) -> list[str]:
        """Return the baselines that series of this length allow, after :meth:`settle`.

        :param held: last steps of every series that nothing is fitted on.
        """
        names = list(BASELINES)
        if (self.season or 1) > (self.input_size or 0):
            names.remove("seasonal")  # it would look behind the look-back
        if self._learnt_from(collection, held)[0] < self._window:
            names.remove("ridge")
        return names

    def _choices(self, collection: Collection, held: int) -> list[str]:
        names = self.baselines(collection, held)
        if self.season == 1:
            names.remove("seasonal")  # the same as repeat
        together = ["s_mamba"] if on_one_grid(collection) else []
        return [*names, "dlinear", "patch_decoder", *together]

    @property
    def _window(self) -> int:
        return (self.input_size or 0) + self.h

    def _learnt_from(self, collection: Collection, held: int) -> tuple[int, Series]:
        """The most training steps that a series has, and which one."""
        return max(
            ((self._ends(s, held)[0], s) for s in collection.series), key=lambda pair: pair[0]
        )

    def _config(self, name: str, collection: Collection) -> ForecastConfig:
        together = name in TOGETHER or (name == "bi_mamba_plus" and on_one_grid(collection))
        fields: dict[str, Any] = {
            "input_size": self.input_size,
            "h": self.h,
            "channels": len(collection.names) if together else 1,
            "columns": collection.names if together else (),
            "covariates": len(self.columns.known),
            "quantiles": self.levels if self.intervals == "model" else (),
        }
        if name == "patch_decoder" and self.columns.known:
            fields["norm"] = "instance"  # streams take no covariates, so nothing is lost
        preset = "repeat" if name in BASELINES else name
        if preset == "repeat":
            # the naive ones are yardsticks as they are; ridge reads what the networks read
            cycle = self.fields.get("cycle", 0) if name == "ridge" else 0
            alone = {"columns": (), "channels": 1, "quantiles": (), "cycle": cycle}
            return ForecastConfig(**{**fields, **alone})
        return registry.config(TASK, preset=preset, **{**fields, **self.fields})

    def _panels(self, config: ForecastConfig, collection: Collection, held: int) -> list[Panel]:
        ends = [self._ends(s, held) for s in collection.series]
        panels = make_panels(collection, config, ends, cycle=config.cycle)
        if config.covariates:
            rows = [s.known[: max(e[0], 1)] for s, e in zip(collection.series, ends, strict=True)]
            self._known_scaler = Scaler.fit(np.concatenate(rows))
            panels = make_panels(
                collection, config, ends, known_scaler=self._known_scaler, cycle=config.cycle
            )
        return panels

    def _try(
        self, name: str, collection: Collection, held: int, progress: Progress
    ) -> tuple[float, Candidate]:
        """Fit one candidate; its validation MSE and itself."""
        steps, longest = self._learnt_from(collection, held)
        if name == "ridge" and steps < self._window:
            raise FrameError(
                f"series {longest.name!r}, {longest.times[-1]}: {len(longest)} rows up to here "
                f"leave {steps} to learn from, the most of all series; ridge needs input_size + h "
                f"= {self._window}: choose smaller ones, or a network, which masks what is missing"
            )
        config = self._config(name, collection)
        panels = self._panels(config, collection, held)
        assert self.season is not None
        val = WindowSplit(panels, config, 1)
        if name in BASELINES:
            made = cand.baseline(name, panels, config, season=self.season)
        else:
            torch.manual_seed(self.seed)
            model: Any = registry.build(TASK, config=config)
            cand.learn(
                model,
                panels,
                self.train_config,
                progress=lambda _, done, total: progress(name, done, total),
            )
            made = cand.network(name, model)
        return made.measure(val), made

    def _test(
        self, collection: Collection, held: int, tried: list[tuple[float, Candidate]]
    ) -> None:
        """Measure all candidates on the held-out end, and warn of a winner that is no good."""
        for _, one in tried:
            config = self._config(one.name, collection)
            split = WindowSplit(self._panels(config, collection, held), config, 2)
            residuals = one.residuals
            self.report[one.name]["test_mse"] = one.measure(split)
            one.residuals = residuals
        assert self.best is not None
        yardstick = "seasonal" if "seasonal" in self.report else "repeat"
        ours = self.report[self.best.name]["test_mse"]
        naive = self.report[yardstick]["test_mse"]
        if ours > naive:
            warnings.warn(
                f"{self.best.name} won on validation, but on the last {held} steps its squared "
                f"error is {ours:.4g}, that of '{yardstick}' {naive:.4g} (standardised): do not "
                "trust it without a backtest",
                stacklevel=5,
            )
