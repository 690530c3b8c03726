"""Fitting candidates on a table and choosing the best: the first half of ``Forecaster``."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch

from mamba_core import registry
from mamba_timeseries.forecast import candidates as cand
from mamba_timeseries.forecast import fit as fitting
from mamba_timeseries.forecast.candidates import BASELINES, Candidate
from mamba_timeseries.forecast.config import ForecastConfig, ForecastTrain
from mamba_timeseries.forecast.context import (
    season_of,
)
from mamba_timeseries.forecast.data import Panel, WindowSplit, make_panels
from mamba_timeseries.forecast.model import Stream
from mamba_timeseries.forecast.protocol import Scaler
from mamba_timeseries.forecast.scale import SeriesScale
from mamba_timeseries.frame import (
    Collection,
    Columns,
    Fill,
    FrameError,
    Series,
    collect,
    listed,
)

TASK = "ts-forecast"
TOGETHER = ("s_mamba", "s_mamba_residual", "cmamba", "mamba_ts")
"""Presets whose networks read several series at once."""

Intervals = Literal["model", "conformal"]


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
        if h < 1:
            raise ValueError(f"h = {h} must be at least 1")
        self.name, self.h, self.input_size, self.freq = model, h, input_size, freq
        self.levels = tuple(quantiles)
        self.intervals, self.fill, self.season, self.seed = intervals, fill, season, seed
        self.val_share, self.fields = val_share, dict(fields or {})
        base = columns or Columns()
        self.columns = dataclasses.replace(base, known=(*known, *static))
        self.train_config = ForecastTrain(**{"seed": seed, **(train or {})})
        self.best: Candidate | None = None
        self.report: dict[str, dict[str, float]] = {}
        self._context: Collection | None = None
        self._scales: dict[str, SeriesScale] = {}
        self._known_scaler: Scaler | None = None
        self._stream: Stream | None = None
        self._stream_first: int | None = None  # step of the context that the stream began at

    def fit(self, df: Any, *, progress: fitting.Progress | None = None) -> Self:
        """Fit on a table.

        :param df: pandas or polars, long; checked before anything is computed.
        :returns: itself.
        :raises FrameError: for a table that cannot be used, naming series, timestamp and rule.
        """
        collection = collect(df, self.columns, freq=self.freq, fill=self.fill)
        return self.fit_collection(collection, progress=progress)

    def fit_collection(
        self, collection: Collection, *, progress: fitting.Progress | None = None
    ) -> Self:
        """:meth:`fit` for series that are checked already."""
        self._settle(collection)
        names = self._choices(collection) if self.name == "auto" else [self.name]
        held = self.h if self.name == "auto" else 0
        self.report = {}
        tried: list[tuple[float, Candidate]] = []
        for name in names:
            tried.append(self._try(name, collection, held, progress))
            self.report[name] = {"val_mse": tried[-1][0]}
        _, best = min(tried, key=lambda pair: pair[0])
        self.best, self._context = best, collection
        for panel in self._panels(self._config(best.name, collection), collection, held):
            self._scales |= dict(zip(panel.names, panel.scales, strict=True))
        if held:
            self._test(collection, held, tried)
        return self

    def _settle(self, collection: Collection) -> None:
        """Fill in what depends on the data: season, look-back, scalers."""
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
            raise FrameError(
                f"the longest series has {longest} rows; h = {self.h} needs at least {self.h + 2}"
            )
        self.freq = collection.freq

    def _ends(self, series: Series, held: int) -> tuple[int, int, int]:
        """Where training, validation and test of a series end; the test part is ``held``."""
        steps = len(series) - held
        val = max(int(steps * self.val_share), min(self.h, steps // 2))
        return steps - val, steps, len(series)

    def _choices(self, collection: Collection) -> list[str]:
        names = ["repeat", "window_mean", "ridge", "dlinear", "patch_decoder"]
        if 1 < (self.season or 1) <= (self.input_size or 0):
            names.insert(1, "seasonal")
        first = collection.series[0]
        if len(collection.series) > 1 and all(
            s.times.equals(first.times) and np.array_equal(s.known, first.known)
            for s in collection.series
        ):
            names.append("s_mamba")
        return names

    def _config(self, name: str, collection: Collection) -> ForecastConfig:
        together = name in TOGETHER
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
        self, name: str, collection: Collection, held: int, progress: fitting.Progress | None
    ) -> tuple[float, Candidate]:
        """Fit one candidate; its validation MSE and itself."""
        config = self._config(name, collection)
        panels = self._panels(config, collection, held)
        assert self.season is not None
        val = WindowSplit(panels, config, 1)
        if name in BASELINES:
            made = cand.baseline(name, panels, config, season=self.season)
        else:
            torch.manual_seed(self.seed)
            model: Any = registry.build(TASK, config=config)
            said = None if progress is None else lambda _, done, total: progress(name, done, total)
            cand.learn(model, panels, self.train_config, progress=said)
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
                stacklevel=4,
            )
