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
                "s_mamba_residual",
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
        ),
        TaskSpec(
            id="ts-classify",
            domain="ts",
            summary="which class a whole series is of; series of any length, several channels",
            config="mamba_timeseries.classify.config:ClassifierConfig",
            builder="mamba_timeseries.classify.model:Classifier",
            example="mamba_timeseries.classify.model:example",
            data="mamba_timeseries.classify.data:ClassifyDataset",
            data_config="mamba_timeseries.classify.config:ClassifyData",
            loss="mamba_timeseries.classify.objective:loss",
            metrics="mamba_timeseries.classify.objective:metrics",
            metric_names=("accuracy", "balanced_accuracy"),
            predictor="mamba_timeseries.classify.predict:FileClassifier",
            predict_config="mamba_timeseries.classify.config:ClassifyPredict",
            train_config="mamba_timeseries.classify.config:ClassifyTrain",
            inputs={"series": "float[batch, length, channels]", "lengths": "int[batch]"},
            outputs={"logits": "float[batch, classes]"},
            presets=("tiny", "mamba_single_layer"),
            preset_fields={
                "tiny": {"d_model": 32, "mixer": {"name": "mamba2", "d_state": 16, "headdim": 16}},
                "mamba_single_layer": {"d_model": 128},
            },
            default_preset="mamba_single_layer",
            requires=("pandas", "narwhals"),
            card="mamba_timeseries:cards/ts-classify.md",
            causal=True,
        ),
        TaskSpec(
            id="ts-impute",
            domain="ts",
            summary="what is missing in a series, from both sides of the gap",
            config="mamba_timeseries.impute.config:ReconstructorConfig",
            builder="mamba_timeseries.impute.model:Reconstructor",
            example="mamba_timeseries.impute.model:example",
            data="mamba_timeseries.impute.data:ImputeDataset",
            data_config="mamba_timeseries.impute.config:ImputeData",
            loss="mamba_timeseries.impute.objective:loss",
            metrics="mamba_timeseries.impute.objective:metrics",
            metric_names=("mse", "mae", "line_mse"),
            predictor="mamba_timeseries.impute.predict:FileImputer",
            predict_config="mamba_timeseries.impute.config:ImputePredict",
            train_config="mamba_timeseries.forecast.config:ForecastTrain",
            inputs={
                "values": "float[batch, size, channels]",
                "observed": "bool[batch, size, channels]",
            },
            outputs={"filled": "float[batch, size, channels]"},
            presets=("tiny", "small"),
            preset_fields={"tiny": {"size": 32, "d_model": 32, "depth": 1}, "small": {}},
            default_preset="small",
            scan_orders=("bidirectional", "raster", "reverse"),
            requires=("pandas", "narwhals"),
            card="mamba_timeseries:cards/ts-impute.md",
        ),
        TaskSpec(
            id="ts-anomaly",
            domain="ts",
            summary="steps that the steps around them do not explain",
            config="mamba_timeseries.anomaly.config:AnomalyConfig",
            builder="mamba_timeseries.anomaly.model:AnomalyDetector",
            example="mamba_timeseries.anomaly.model:example",
            data="mamba_timeseries.anomaly.data:AnomalyDataset",
            data_config="mamba_timeseries.anomaly.config:AnomalyData",
            loss="mamba_timeseries.anomaly.objective:loss",
            metrics="mamba_timeseries.anomaly.objective:metrics",
            metric_names=("mse", "auroc"),
            predictor="mamba_timeseries.anomaly.predict:FileDetector",
            predict_config="mamba_timeseries.anomaly.config:AnomalyPredict",
            train_config="mamba_timeseries.forecast.config:ForecastTrain",
            inputs={
                "values": "float[batch, size, channels]",
                "observed": "bool[batch, size, channels]",
            },
            outputs={
                "expected": "float[batch, size, channels]",
                "scores": "float[batch, size]",
            },
            presets=("tiny", "small"),
            preset_fields={"tiny": {"size": 32, "d_model": 32, "depth": 1}, "small": {}},
            default_preset="small",
            scan_orders=("bidirectional", "raster", "reverse"),
            requires=("pandas", "narwhals"),
            card="mamba_timeseries:cards/ts-anomaly.md",
        ),
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
