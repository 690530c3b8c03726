"""What this plugin offers. Imports nothing heavy: heavy parts are named as "module:attribute"."""

from __future__ import annotations

from collections.abc import Iterable

from mamba_registry import MixerSpec, ScanOrderSpec, TaskSpec, hookimpl

__mamba_api__ = (1, 0)


@hookimpl
def mamba_tasks() -> Iterable[TaskSpec]:
    """Offer the tasks of this plugin."""
    return [
        TaskSpec(
            id="ts-forecast",
            domain="ts",
            summary="what comes next in one or several series, with quantiles where asked for",
            config="mamba_timeseries.forecast.config:ForecastConfig",
            builder="mamba_timeseries.forecast.model:ForecastModel",
            example="mamba_timeseries.forecast.model:example",
            data="mamba_timeseries.forecast.data:ForecastDataset",
            data_config="mamba_timeseries.forecast.config:ForecastData",
            loss="mamba_timeseries.forecast.objective:loss",
            metrics="mamba_timeseries.forecast.metrics:metrics",
            metric_names=("mse", "mae", "pinball"),
            predictor="mamba_timeseries.forecast.predict:FileForecaster",
            predict_config="mamba_timeseries.forecast.config:ForecastPredict",
            train_config="mamba_timeseries.forecast.config:ForecastTrain",
            inputs={
                "past": "float[batch, input_size, channels]",
                "observed": "bool[batch, input_size, channels]",
                "known": "float[batch, steps, covariates]",
            },
            outputs={
                "forecast": "float[batch, h, channels]",
                "quantiles": "float[batch, h, channels, levels]",
            },
            presets=(
                "tiny",
                "s_mamba",
                "patch_decoder",
                "patch_transformer",
                "bi_mamba_plus",
                "cmamba",
                "mamba_ts",
                "time_machine",
                "dlinear",
            ),
            preset_fields="mamba_timeseries.forecast.presets:PRESETS",
            default_preset="patch_decoder",
            scan_orders=("bidirectional", "raster", "reverse"),
            requires=("pandas", "narwhals"),
            card="mamba_timeseries:cards/ts-forecast.md",
        )
    ]


@hookimpl
def mamba_mixers() -> Iterable[MixerSpec]:
    """Offer Bi-Mamba+'s mixer."""
    return [
        MixerSpec(
            name="mamba-plus",
            build="mamba_timeseries.forecast.mamba_plus:MambaPlus",
            summary="Mamba-1 with a forget gate on its input (Bi-Mamba+)",
            causal=True,
            streams=True,
            packed=True,
        )
    ]


@hookimpl
def mamba_scan_orders() -> Iterable[ScanOrderSpec]:
    """Offer MambaTS's order of channels."""
    return [
        ScanOrderSpec(
            name="channel-tour",
            dims=None,
            order="mamba_timeseries.forecast.tour:channel_tour",
            summary="patches channel by channel, channels along a learnt tour (MambaTS)",
        )
    ]
