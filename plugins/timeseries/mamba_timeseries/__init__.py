"""Time-series tasks for mamba-core.

``Forecaster`` is the interface on data frames; the tasks are built through the registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mamba_timeseries.errors import FrameError
    from mamba_timeseries.forecast.forecaster import Forecaster

__version__ = "0.1.0"

__all__ = ["Forecaster", "FrameError", "__version__"]


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use: the registry imports this package to list it."""
    if name == "Forecaster":
        from mamba_timeseries.forecast.forecaster import Forecaster

        return Forecaster
    if name == "FrameError":
        from mamba_timeseries.errors import FrameError

        return FrameError
    raise AttributeError(f"module 'mamba_timeseries' has no attribute '{name}'")
