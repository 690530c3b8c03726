"""``Forecaster`` as an sktime forecaster (``pip install mamba-timeseries[sktime]``).

sktime 1.2 asks for pandas below 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sktime.forecasting.base import BaseForecaster

from mamba_timeseries.forecast.forecaster import Forecaster

_NAME = "series"


class MambaForecaster(BaseForecaster):
    """One series, point forecasts and quantiles.

    Quantiles are conformal: the forecast plus quantiles of the errors on validation windows, so
    that any level can be asked for.

    :param model: a preset of ``ts-forecast``, a baseline, or ``auto``.
    :param options: further arguments of
        :class:`~mamba_timeseries.forecast.forecaster.Forecaster`, such as ``input_size``.
    """

    _tags: ClassVar[dict[str, Any]] = {
        "y_inner_mtype": "pd.Series",
        "X_inner_mtype": "pd.DataFrame",
        "capability:multivariate": False,
        "capability:exogenous": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:insample": False,
        "capability:missing_values": True,
        "requires-fh-in-fit": True,
    }

    def __init__(
        self, model: str = "patch_decoder", options: Mapping[str, Any] | None = None
    ) -> None:
        self.model, self.options = model, options  # as given: sktime clones by these names
        super().__init__()

    def _fit(self, y: pd.Series, X: None, fh: Any) -> MambaForecaster:
        steps = int(np.asarray(fh.to_relative(self.cutoff)).max())
        self.forecaster_ = Forecaster(
            self.model,
            h=steps,
            quantiles=(0.5,),
            intervals="conformal",
            fill="mask",
            **(self.options or {}),
        ).fit(_table(y))
        return self

    def _predict(self, fh: Any, X: None) -> pd.Series:
        table = self.forecaster_.predict(quantiles=())
        places, index = self._places(fh)
        return pd.Series(table["yhat"].to_numpy()[places], index, name=self._y.name)

    def _predict_quantiles(self, fh: Any, X: None, alpha: list[float]) -> pd.DataFrame:
        table = self.forecaster_.predict(quantiles=sorted(alpha))
        places, index = self._places(fh)
        name = self._y.name if self._y.name is not None else 0
        columns = pd.MultiIndex.from_product([[name], alpha])
        values = table[[f"q{level:g}" for level in alpha]].to_numpy()[places]
        return pd.DataFrame(values, index, columns)

    def _update(self, y: pd.Series, X: None = None, update_params: bool = True) -> MambaForecaster:
        known = self.forecaster_._context
        assert known is not None
        later = _table(y)
        fresh = later[later["ds"] > known.series[0].times[-1]]
        if len(fresh):
            self.forecaster_.update(fresh)
        return self

    def _places(self, fh: Any) -> tuple[Any, Any]:
        places = np.asarray(fh.to_relative(self.cutoff)).astype(int) - 1
        return places, fh.to_absolute_index(self.cutoff)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return settings for sktime's own checks."""
        return [{"model": "ridge", "options": {"input_size": 3}}, {"model": "repeat"}]


def _table(y: pd.Series) -> pd.DataFrame:
    index = y.index
    times = index.to_timestamp() if isinstance(index, pd.PeriodIndex) else index
    return pd.DataFrame({"unique_id": _NAME, "ds": times, "y": y.to_numpy(dtype=float)})
