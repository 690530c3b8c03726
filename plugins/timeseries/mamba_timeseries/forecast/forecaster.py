"""``Forecaster``: a table of series in, forecasts with quantiles out, in original units."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from mamba_timeseries.errors import FrameError, listed
from mamba_timeseries.forecast import fit as fitting
from mamba_timeseries.forecast import saved
from mamba_timeseries.forecast.candidates import Candidate
from mamba_timeseries.forecast.context import (
    block_rows,
    check_columns,
    check_zone,
    extended,
    followed,
    forecast_table,
    future_known,
    with_future,
)
from mamba_timeseries.forecast.data import make_panels, window
from mamba_timeseries.forecast.estimator import Estimator, rising
from mamba_timeseries.forecast.model import Stream
from mamba_timeseries.forecast.progress import Progress
from mamba_timeseries.forecast.protocol import Array, Scaler
from mamba_timeseries.forecast.scale import SeriesScale, phase_of
from mamba_timeseries.frame import Collection, collect


class Forecaster(Estimator):
    """Fit on a long table (``unique_id, ds, y``), then predict, backtest, update.

    :param model: a preset of ``ts-forecast``; ``repeat``, ``seasonal``, ``window_mean`` or
        ``ridge``; or ``auto``, which fits several and keeps the one that is best on validation.
    :param h: steps to forecast.
    :param input_size: look-back; None takes four seasons, at least ``2 h``, at most half the
        longest series.
    :param freq: step of time such as ``"h"``, ``"MS"`` or 1; None finds it out.
    :param quantiles: levels that are forecast, with 0.5 among them.
    :param intervals: ``model`` trains quantiles; ``conformal`` takes those of the errors on
        validation windows, as baselines always do.
    :param known: columns that are known ahead; ``predict`` then takes them in ``futr_df``.
    :param static: columns that are constant per series.
    :param fill: what is done about gaps; see :func:`mamba_timeseries.frame.collect`.
    :param season: steps per season; None by the step of time (24 for hours, 7 for days, ...).
    :param val_share: last part of every series, to choose by; at least one window's worth.
    :param train: fields of :class:`~mamba_timeseries.forecast.config.ForecastTrain`.
    :param fields: fields of :class:`~mamba_timeseries.forecast.config.ForecastConfig`.
    :param columns: what the columns are called, when not ``unique_id, ds, y``.
    :param seed: of weights and training.
    """

    def fit_collection(self, collection: Collection, *, progress: Progress | None = None) -> Self:
        """:meth:`fit` for series that are checked already."""
        super().fit_collection(collection, progress=progress)
        self._stream_first = None
        self._stream = self._start_stream()
        return self

    @classmethod
    def around(cls, candidate: Candidate, collection: Collection) -> Self:
        """Return a forecaster around a model that was trained elsewhere.

        :param collection: what it forecasts from; series are standardised by all their rows.
        """
        assert candidate.model is not None
        config = candidate.model.config
        one = cls(h=config.h, input_size=config.input_size, quantiles=config.quantiles)
        one.columns, one.freq = collection.columns, collection.freq
        one._ignored = collection.ignored
        one.best, one._context = candidate, collection
        if config.covariates:
            one._known_scaler = Scaler.fit(np.concatenate([s.known for s in collection.series]))
        one._stream = one._start_stream()
        return one

    # forecasting

    def predict(
        self,
        df: Any = None,
        *,
        h: int | None = None,
        quantiles: Sequence[float] | None = None,
        futr_df: Any = None,
    ) -> Any:
        """Forecast what follows the last row of every series.

        :param df: rows to forecast from; None takes those that were fitted or updated.
        :param h: steps; more than trained are forecast from forecasts, which the result's
            ``attrs["recursive"]`` (pandas) says, and a warning.
        :param quantiles: levels; None takes those of the forecaster.
        :param futr_df: the known columns of the following ``h`` steps of every series; static ones
            are carried on by themselves.
        :returns: a table like the one that was fitted: ``unique_id, ds, yhat, q0.1, ...``.
        :raises FrameError: for rows, names or steps that do not fit.
        """
        if self.best is None or self._context is None:
            raise ValueError("fit first")
        context = self._context
        if df is not None:
            context = self._other(df)
        levels = self.levels if quantiles is None else rising(quantiles)
        steps = self.h if h is None else h
        if steps < 1:
            raise ValueError(f"h = {steps} must be at least 1")
        future = future_known(
            context, futr_df, static=self.static, steps=steps, allowed=self._ignored
        )
        stream = self._stream if df is None else None
        return self._forecast(context, steps, levels, future, stream)

    def forecast_collection(self, context: Collection, future: dict[str, Array]) -> Any:
        """:meth:`predict` for checked series, a pandas table; ``future`` is ``(h, known)`` each."""
        return self._forecast(context, self.h, self.levels, future, None)

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit` has run."""
        return self.best is not None

    def _other(self, df: Any) -> Collection:
        """A new table, held against the one that was fitted."""
        assert self._context is not None
        other = collect(df, self.columns, fill=self.fill, freq=self.freq, fitted=True)
        check_columns(other, self._ignored)
        check_zone(self._context, other)
        return other

    def _forecast(
        self,
        context: Collection,
        steps: int,
        levels: tuple[float, ...],
        future: dict[str, Array],
        stream: Stream | None,
    ) -> Any:
        """Forecast in blocks of the trained horizon; later blocks read the earlier ones."""
        assert self.best is not None
        recursive = steps > self.h
        if recursive:
            warnings.warn(
                f"h = {steps} is longer than the trained {self.h}: later steps are forecast from "
                "forecasts, and their quantiles are too narrow",
                stacklevel=3,
            )
        parts: dict[str, list[Array]] = {n: [] for n in context.names}
        now = context
        for start in range(0, steps, self.h):
            known = {n: block_rows(f, start, self.h) for n, f in future.items()}
            block = self._block(now, levels, known, stream if start == 0 else None)
            for name, values in block.items():
                parts[name].append(values)
            if start + self.h < steps:
                now = extended(now, block, known, self.freq)
        joined = {n: np.concatenate(p)[:steps] for n, p in parts.items()}
        table = forecast_table(context, joined, levels, self.freq)
        if context.backend == "pandas":
            table.attrs = {"model": self.best.name, "recursive": recursive}
        return table

    def _block(
        self,
        context: Collection,
        levels: tuple[float, ...],
        known: dict[str, Array],
        stream: Stream | None,
    ) -> dict[str, Array]:
        """One horizon, ``(h, 1 + levels)`` by series, in original units."""
        assert self.best is not None
        model = self.best.model
        config = self._config(self.best.name, context) if model is None else model.config
        carried = with_future(context, known)
        ends = [(len(s), len(s), len(s)) for s in context.series]
        panels = make_panels(carried, config, ends, self._scaled(context), self._known_scaler)
        samples = [
            window(p, config, len(context.by_name[p.names[0]]), target=False) for p in panels
        ]
        batch = {k: torch.stack([s[k] for s in samples]) for k in samples[0]}
        point, quantiles = self._values(batch, levels, stream)
        found: dict[str, Array] = {}
        for panel, p, q in zip(panels, point, quantiles, strict=True):
            joined = np.concatenate([p[..., None], q], axis=-1)  # (h, channels, 1 + levels)
            scaled = panel.invert(joined, start=len(panel.values))
            found |= {name: scaled[:, k] for k, name in enumerate(panel.names)}
        return found

    def _values(
        self, batch: dict[str, torch.Tensor], levels: tuple[float, ...], stream: Stream | None
    ) -> tuple[Array, Array]:
        """Forecasts ``(batch, h, channels)`` and their quantiles, standardised."""
        best = self.best
        assert best is not None
        outputs = None
        if best.model is not None:
            with torch.no_grad():
                outputs = (
                    fitting.run(best.model, batch) if stream is None else best.model.tell(stream)
                )
        point = best.point(batch) if outputs is None else outputs["forecast"].double().numpy()
        if levels and (self.intervals == "conformal" or outputs is None):
            return point, best.conformal(point, levels)
        if outputs is None:
            return point, np.empty((*point.shape, 0))
        return point, best.chosen(outputs["quantiles"], levels)

    def _scaled(self, context: Collection) -> dict[str, SeriesScale]:
        """The training scales; of a series that was not fitted, its own."""
        scales = dict(self._scales)
        cycle = self.best.cycle if self.best is not None else 0
        for s in context.series:
            if s.name not in scales:
                seen = np.where(s.observed, s.y, np.nan)
                scales[s.name] = SeriesScale.fit(seen, phase_of(s.times[0], self.freq), cycle)
        return scales

    # streaming

    @property
    def streams(self) -> bool:
        """Whether :meth:`update` continues a state instead of reading the look-back again."""
        return self._stream is not None

    def update(self, new_rows: Any) -> Self:
        """Take in the rows that follow; weights stay as they are.

        A forecaster that streams reads the new rows only, at a cost that does not depend on how
        many came before; what it then forecasts equals reading all rows since the start of its
        last fitted look-back at once.

        :param new_rows: a table as in :meth:`fit`; a series may be left out of it unless the
            forecaster streams or reads series together.
        :returns: itself.
        :raises FrameError: for rows that do not follow, or unknown series.
        """
        if self._context is None or self.best is None:
            raise ValueError("fit first")
        new = self._other(new_rows)
        self._context = followed(self._context, new, self.freq)
        if self._stream is not None:
            absent = [n for n in self._context.names if n not in new.by_name]
            counts = {len(s) for s in new.series}
            if absent or len(counts) != 1:
                raise FrameError(
                    f"a stream takes equally many rows of every series; missing {listed(absent)}"
                    if absent
                    else f"a stream takes equally many rows of every series, not {sorted(counts)}"
                )
            self._stream = self._read(new, self._stream, 0)
        return self

    def _start_stream(self) -> Stream | None:
        model = None if self.best is None else self.best.model
        if model is None or self._context is None or self.input_size is None:
            return None
        if model.config.channels > 1:
            return None  # a stream is of one series; these are told together
        try:
            stream = model.start(len(self._context.series))
        except TypeError:
            return None
        longest = max(len(s) for s in self._context.series)
        if self._stream_first is None:
            self._stream_first = max(longest - self.input_size, 0)
        return self._read(self._context, stream, self._stream_first, longest)

    def _read(
        self, collection: Collection, stream: Stream, first: int, length: int | None = None
    ) -> Stream:
        """Read steps from ``first`` on of all series, right-aligned to ``length``."""
        assert self.best is not None
        assert self.best.model is not None
        length = length or len(collection.series[0])
        rows = np.zeros((len(collection.series), length))
        seen = np.zeros(rows.shape, dtype=bool)
        scales = self._scaled(collection)
        for k, s in enumerate(collection.series):
            phase = phase_of(s.times[0], self.freq)
            rows[k, length - len(s) :] = scales[s.name].apply(s.y, phase)
            seen[k, length - len(s) :] = s.observed
        with torch.no_grad():
            return self.best.model.read(
                torch.from_numpy(rows[:, first:]).float(), torch.from_numpy(seen[:, first:]), stream
            )

    # keeping

    def save(self, folder: Path | str) -> None:
        """Write what was learnt and the rows it forecasts from; see :mod:`.saved`.

        :param folder: new, or of an earlier :meth:`save`, which is replaced.
        """
        saved.save(self, Path(folder))

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read what :meth:`save` wrote; it forecasts the same, and goes on streaming.

        :raises FileNotFoundError: for a folder without a forecaster.
        """
        one = saved.load(cls, Path(folder))
        one._stream = one._start_stream()
        return one

    # judging

    def backtest(
        self, df: Any, *, n_windows: int = 3, step: int | None = None, **options: Any
    ) -> Any:
        """See :func:`mamba_timeseries.forecast.backtest.backtest`."""
        from mamba_timeseries.forecast.backtest import backtest

        return backtest(self, df, n_windows=n_windows, step=step, **options)

    def plot(self, forecast: Any, **options: Any) -> Any:
        """See :func:`mamba_timeseries.forecast.plot.plot`."""
        from mamba_timeseries.forecast.plot import plot

        if self._context is None:
            raise ValueError("fit first")
        return plot(self._context, forecast, **options)
