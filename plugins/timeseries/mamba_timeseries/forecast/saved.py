"""A fitted ``Forecaster`` in a folder: settings, arrays, and its model where it has one.

``forecaster.json`` holds settings and names, ``arrays.safetensors`` the rows it forecasts from,
scales, residuals and a baseline's weights, ``model/`` a network as ``save_pretrained`` writes it.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

import mamba_core
from mamba_core.atomic import new_folder
from mamba_timeseries.forecast.baselines import Repeat, Ridge, Seasonal, WindowMean
from mamba_timeseries.forecast.candidates import Candidate, Rule
from mamba_timeseries.forecast.config import ForecastTrain
from mamba_timeseries.forecast.estimator import Estimator
from mamba_timeseries.forecast.model import ForecastModel
from mamba_timeseries.forecast.protocol import Array, Scaler
from mamba_timeseries.forecast.scale import SeriesScale
from mamba_timeseries.frame import Collection, Columns, Series
from mamba_timeseries.times import grid, spelt

F = TypeVar("F", bound=Estimator)
Json = dict[str, Any]

FORMAT = 1
"""Of ``forecaster.json``; raised when older readers would misread it."""
SETTINGS = (
    "h",
    "input_size",
    "intervals",
    "fill",
    "season",
    "seed",
    "val_share",
    "fields",
    "static",
)
_RULES: dict[str, type[Rule]] = {
    "repeat": Repeat,
    "seasonal": Seasonal,
    "window_mean": WindowMean,
    "ridge": Ridge,
}


def save(one: Estimator, folder: Path) -> None:
    """Write a fitted forecaster.

    :param folder: new, or of an earlier one, which is replaced as a whole.
    :raises ValueError: before :meth:`~mamba_timeseries.forecast.forecaster.Forecaster.fit`.
    :raises FileExistsError: for a folder that holds something else.
    """
    if one.best is None or one._context is None:
        raise ValueError("fit first: there is nothing to save yet")
    if folder.exists() and not (folder / "forecaster.json").is_file():
        raise FileExistsError(f"{folder} exists and holds no forecaster: choose another folder")
    arrays, best = _context_arrays(one._context), one.best
    for name, scale in one._scales.items():
        arrays[f"scale/{name}"] = np.array([scale.center, scale.scale, *scale.profile])
    if best.residuals is not None:
        arrays["residuals"] = best.residuals
    if one._known_scaler is not None:
        arrays["known_scaler"] = np.stack([one._known_scaler.center, one._known_scaler.scale])
    if isinstance(best.by, Ridge):
        arrays["ridge"] = best.by.weights
    described = {
        "format": FORMAT,
        "model": one.name,
        "settings": {name: getattr(one, name) for name in SETTINGS},
        "quantiles": one.levels,
        "columns": dataclasses.asdict(one.columns),
        "train": _plain(one.train_config),
        "freq": _freq(one.freq),
        "report": one.report,
        "context": [_times(s) for s in one._context.series],
        "backend": one._context.backend,
        "ignored": one._ignored,
        "stream_first": one._stream_first,
        "best": {"name": best.name, "cycle": best.cycle, **_rule(best.by)},
    }
    with new_folder(folder) as unfinished:
        if best.model is not None:
            mamba_core.save_pretrained(best.model, unfinished / "model")
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, unfinished / _ARRAYS)
        text = json.dumps(described, indent=1)
        (unfinished / "forecaster.json").write_text(text, encoding="utf-8")


_ARRAYS = "arrays.safetensors"


def load(kind: type[F], folder: Path) -> F:
    """Read what :func:`save` wrote.

    :param kind: class to make.
    :raises FileNotFoundError: for a folder without a forecaster.
    :raises ValueError: for one that a later version wrote.
    """
    path = folder / "forecaster.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a folder that Forecaster.save wrote")
    told: Json = json.loads(path.read_text(encoding="utf-8"))
    if told["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {told['format']}, this version reads up to {FORMAT}: update "
            "mamba-timeseries"
        )
    arrays = load_file(folder / _ARRAYS)
    columns = Columns(**{**told["columns"], "known": tuple(told["columns"]["known"])})
    one = kind(
        told["model"],
        quantiles=told["quantiles"],
        freq=told["freq"],
        train=told["train"],
        **told["settings"],
    )
    one.columns, one.freq = columns, _offset(told["freq"])
    one.report = told["report"]
    one._ignored = tuple(told.get("ignored", ()))
    series = tuple(_series(one.freq, made, k, arrays) for k, made in enumerate(told["context"]))
    one._context = Collection(series, one.freq, columns, told["backend"])
    for key, values in arrays.items():
        if key.startswith("scale/"):
            scale = SeriesScale(float(values[0]), float(values[1]), values[2:])
            one._scales[key.removeprefix("scale/")] = scale
    if "known_scaler" in arrays:
        one._known_scaler = Scaler(*arrays["known_scaler"])
    one.best = _candidate(folder, told["best"], arrays)
    one._stream_first = told["stream_first"]
    return one


def _candidate(folder: Path, told: Json, arrays: dict[str, Array]) -> Candidate:
    by: ForecastModel | Rule
    if "rule" in told:
        fields = dict(told["fields"])
        if told["rule"] == "ridge":
            fields["weights"] = arrays["ridge"]
        by = _RULES[told["rule"]](**fields)
    else:
        model = mamba_core.from_pretrained(folder / "model", device="cpu")
        assert isinstance(model, ForecastModel)
        by = model
    return Candidate(told["name"], by, told["cycle"], arrays.get("residuals"))


def _rule(by: ForecastModel | Rule) -> Json:
    for name, kind in _RULES.items():
        if isinstance(by, kind):
            fields = {f.name: getattr(by, f.name) for f in dataclasses.fields(by)}
            fields.pop("weights", None)  # an array, kept with the others
            return {"rule": name, "fields": fields}
    return {}


def _context_arrays(context: Collection) -> dict[str, Array]:
    arrays: dict[str, Any] = {}
    for k, s in enumerate(context.series):
        arrays |= {f"y/{k}": s.y, f"observed/{k}": s.observed, f"known/{k}": s.known}
    return arrays


def _times(series: Series) -> Json:
    first = series.times[0]
    if isinstance(series.times, pd.DatetimeIndex):
        zone = None if first.tz is None else str(first.tz)
        return {"name": series.name, "first": first.isoformat(), "zone": zone}
    return {"name": series.name, "first": int(first)}


def _series(freq: Any, told: Json, k: int, arrays: dict[str, Any]) -> Series:
    first = told["first"]
    if isinstance(first, str):
        stamp = pd.Timestamp(first)
        first = stamp.tz_convert(told["zone"]) if told["zone"] else stamp
    y = arrays[f"y/{k}"]
    times = grid(first, len(y), freq)
    return Series(told["name"], times, y, arrays[f"observed/{k}"], arrays[f"known/{k}"])


def _freq(freq: Any) -> str | int:
    return freq if isinstance(freq, int) else spelt(freq)


def _offset(freq: str | int) -> Any:
    return freq if isinstance(freq, int) else pd.tseries.frequencies.to_offset(freq)


def _plain(config: ForecastTrain) -> Json:
    changed = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if value != getattr(ForecastTrain(), f.name):
            changed[f.name] = value
    return changed
