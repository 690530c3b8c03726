"""Networks and baselines behind one face: standardised windows in, forecasts and quantiles out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mamba_timeseries.forecast import fit as fitting
from mamba_timeseries.forecast.baselines import Repeat, Ridge, Seasonal, WindowMean, fit_ridge
from mamba_timeseries.forecast.config import ForecastConfig, ForecastTrain
from mamba_timeseries.forecast.data import Panel, Sample, WindowSplit
from mamba_timeseries.forecast.fit import are_alike, batch_of, run
from mamba_timeseries.forecast.model import ForecastModel
from mamba_timeseries.forecast.networks.mamba_ts import MambaTSNetwork
from mamba_timeseries.forecast.networks.patch_encoder import PatchEncoderNetwork
from mamba_timeseries.forecast.normalise import carried, window_scale
from mamba_timeseries.forecast.progress import Progress
from mamba_timeseries.forecast.protocol import Array, Windows

BASELINES = ("repeat", "seasonal", "window_mean", "ridge")
"""What every backtest runs beside a model."""

_BATCH = 256


Rule = Repeat | Seasonal | WindowMean | Ridge


@dataclass
class Candidate:
    """Something that forecasts, and how far off it was on validation windows.

    :param name: of a preset or a baseline.
    """

    name: str
    by: ForecastModel | Rule
    """What forecasts."""
    cycle: int = 0
    """Steps of the cycle that is taken off what it reads."""
    residuals: Array | None = field(default=None, repr=False)
    """``(errors, h)``, target minus forecast, standardised; all channels together."""

    @property
    def model(self) -> ForecastModel | None:
        """The network, None for a baseline."""
        return self.by if isinstance(self.by, ForecastModel) else None

    def point(self, batch: Sample) -> Array:
        """Forecast windows, ``(batch, h, channels)``, standardised."""
        if isinstance(self.by, ForecastModel):
            with torch.no_grad():
                return run(self.by, batch)["forecast"].double().numpy()
        past, seen = batch["past"].double(), batch["observed"]
        if isinstance(self.by, WindowMean):  # of what was observed
            return self.by(window_scale(past, seen)[0].numpy())
        return self.by(carried(past, seen).numpy())

    def measure(self, split: WindowSplit) -> float:
        """Return the mean squared error over a split and keep the residuals.

        :raises ValueError: for a split without windows.
        """
        if not len(split):
            raise ValueError("no validation window: give longer series or a smaller h")
        parts, squares, count = [], 0.0, 0
        for start in range(0, len(split), _BATCH):
            batch = batch_of(split, list(range(start, min(start + _BATCH, len(split)))))
            seen = batch["target_observed"].numpy()
            error = np.where(seen, batch["target"].numpy() - self.point(batch), np.nan)
            squares += float(np.nansum(np.square(error)))
            count += int(seen.sum())
            parts.append(error.swapaxes(1, 2).reshape(-1, error.shape[1]))
        self.residuals = np.concatenate(parts)
        return squares / max(count, 1)

    def conformal(self, point: Array, levels: Sequence[float]) -> Array:
        """Return quantiles: the forecast plus the residuals' quantile of each step.

        Split conformal prediction, with its correction for few residuals; sorted, so that levels
        cannot cross.

        :param point: ``(batch, h, channels)``.
        :returns: ``(batch, h, channels, levels)``.
        """
        if self.residuals is None:
            raise ValueError(f"{self.name} has not been measured on validation windows yet")
        count = np.isfinite(self.residuals).sum(0).clip(min=1)
        quantiles = np.empty((self.residuals.shape[1], len(levels)))
        for step in range(self.residuals.shape[1]):
            kept = np.sort(self.residuals[np.isfinite(self.residuals[:, step]), step])
            for k, level in enumerate(levels):
                quantiles[step, k] = _corrected(kept, level) if count[step] and len(kept) else 0.0
        return np.sort(point[..., None] + quantiles[None, :, None, :], axis=-1)

    def chosen(self, quantiles: Tensor, levels: Sequence[float]) -> Array:
        """Return some of the network's own quantiles, ``(batch, h, channels, levels)``.

        :param quantiles: all that the network gave.
        :raises ValueError: for levels it was not trained on.
        """
        own = self.model.config.quantiles if self.model is not None else ()
        unknown = [level for level in levels if level not in own]
        if unknown:
            raise ValueError(
                f"{self.name} has the quantiles {own}, not {unknown}: train with these, or choose "
                "intervals = 'conformal'"
            )
        return quantiles.double().numpy()[..., [own.index(level) for level in levels]]


def _corrected(ordered: Array, level: float) -> float:
    """The order statistic that covers ``level`` of new errors, from either side."""
    count = len(ordered)
    if level >= 0.5:
        place = min(int(np.ceil((count + 1) * level)) - 1, count - 1)
    else:
        place = max(int(np.floor((count + 1) * level)) - 1, 0)
    return float(ordered[place])


def network(name: str, model: ForecastModel) -> Candidate:
    """Return a trained model as a candidate."""
    return Candidate(name, model, model.config.cycle)


def begin(model: ForecastModel, panels: Sequence[Panel]) -> None:
    """Set what a model finds in closed form before its training.

    That is the map beside its network, and whether its sequences are made of channels.

    :param panels: what it will be trained on; the penalty is chosen on their validation steps.
    """
    if model.linear is not None and any(p.ends[0] >= _window(model.config) for p in panels):
        fit = _ridge(panels, model.config.input_size, model.config.h)
        model.begin_linear(torch.from_numpy(fit.weights[:-1]))  # its intercept is next to 0
    network = model.network
    if isinstance(network, PatchEncoderNetwork) and network.config.tokens == "correlation":
        rows = [_carried_rows(p)[: p.ends[0]] for p in panels]
        network.mixed.fill_(are_alike(np.concatenate(rows)))


def finish(
    model: ForecastModel, panels: Sequence[Panel], *, seed: int, progress: Progress | None = None
) -> None:
    """Set what a model finds with its trained weights: the tour that MambaTS then reads.

    :param panels: what it was trained on.
    """
    if isinstance(model.network, MambaTSNetwork):
        train = WindowSplit(panels, model.config, 0)
        fitting.fit_tour(model, train, seed=seed, progress=progress)


def learn(
    model: ForecastModel,
    panels: Sequence[Panel],
    config: ForecastTrain,
    *,
    progress: Progress | None = None,
) -> fitting.FitResult:
    """Train a model: what comes before its steps, they, and what comes after.

    :param panels: learnt from and chosen by; see :func:`mamba_timeseries.forecast.fit.fit`.
    """
    train, val = (WindowSplit(panels, model.config, part) for part in range(2))
    begin(model, panels)
    made = fitting.fit(model, train, val, config, progress=progress)
    finish(model, panels, seed=config.seed, progress=progress)
    return made


def _window(config: ForecastConfig) -> int:
    return config.input_size + config.h


def baseline(
    name: str, panels: Sequence[Panel], config: ForecastConfig, *, season: int
) -> Candidate:
    """Fit a baseline on the training steps of some panels.

    :param name: of :data:`BASELINES`.
    :param config: its look-back, horizon and cycle count.
    :raises ValueError: for another name, or a season longer than the look-back.
    """
    input_size, h = config.input_size, config.h
    if name == "repeat":
        return Candidate(name, Repeat(h))
    if name == "window_mean":
        return Candidate(name, WindowMean(h))
    if name == "seasonal":
        if season > input_size:
            raise ValueError(f"season = {season} is longer than input_size = {input_size}")
        return Candidate(name, Seasonal(h, season))
    if name == "ridge":
        return Candidate(name, _ridge(panels, input_size, h), config.cycle)
    raise ValueError(f"no baseline {name!r}: {', '.join(BASELINES)}")


def _carried_rows(panel: Panel) -> Array:
    values = torch.from_numpy(panel.values[None]).double()
    return carried(values, torch.from_numpy(panel.observed[None]))[0].numpy()


def _ridge(panels: Sequence[Panel], input_size: int, h: int) -> Ridge:
    """One map for all series; series too short for a window take no part in fitting it."""
    train, val = [], []
    for panel in panels:
        values = _carried_rows(panel)
        end, stop = panel.ends[:2]
        train.append(Windows(values[:end], input_size, h))
        val.append(Windows(values[max(end - input_size, 0) : stop], input_size, h))
    return fit_ridge(train, val)
