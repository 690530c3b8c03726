"""What this plugin offers. Imports nothing heavy: heavy parts are named as "module:attribute"."""

from __future__ import annotations

from collections.abc import Iterable

from mamba_registry import CommandSpec, TaskSpec, hookimpl

__mamba_api__ = (1, 0)


_INPUTS = {
    "items": "int[tokens]",
    "times": "float[tokens]",
    "cu_seqlens": "int[edges]",
    "event_codes": "int[tokens, event_categories]",
    "event_numbers": "float[tokens, event_columns]",
}
_OUTPUTS = {"hidden": "float[tokens, d_model]", "item_vectors": "float[items, d_model]"}


@hookimpl
def mamba_tasks() -> Iterable[TaskSpec]:
    """Offer the tasks of this plugin."""
    return [
        TaskSpec(
            id="rec-next",
            domain="rec",
            summary="a user's next item, from a state that every event updates in constant time",
            config="mamba_recsys.next_item.config:NextItemConfig",
            builder="mamba_recsys.next_item.model:NextItemModel",
            example="mamba_recsys.next_item.model:example",
            data="mamba_recsys.next_item.data:NextItemDataset",
            data_config="mamba_recsys.next_item.config:NextItemData",
            loss="mamba_recsys.next_item.objective:loss",
            metrics="mamba_recsys.next_item.metrics:metrics",
            metric_names=("ndcg", "hr", "mrr", "ndcg_new", "hr_new", "mrr_new"),
            predictor="mamba_recsys.next_item.predict:FileRecommender",
            predict_config="mamba_recsys.next_item.config:NextItemPredict",
            train_config="mamba_recsys.next_item.config:NextItemTrain",
            inputs=_INPUTS,
            outputs=_OUTPUTS,
            presets=(
                "tiny",
                "mamba4rec",
                "mamba4rec_published",
                "mamba_prenorm",
                "mamba2_packed",
                "tim4rec",
                "sigma",
                "echomamba",
                "sasrec",
                "gru4rec",
                "hstu",
            ),
            preset_fields="mamba_recsys.next_item.presets:PRESETS",
            default_preset="mamba4rec",
            requires=("pandas", "narwhals", "scipy"),
            card="mamba_recsys:cards/rec-next.md",
            causal=True,
        ),
        TaskSpec(
            id="rec-session",
            domain="rec",
            summary="the next item of an anonymous session, from the first event on",
            config="mamba_recsys.next_item.config:NextItemConfig",
            builder="mamba_recsys.next_item.model:NextItemModel",
            example="mamba_recsys.next_item.model:example",
            data="mamba_recsys.session.data:SessionDataset",
            data_config="mamba_recsys.session.config:SessionData",
            loss="mamba_recsys.next_item.objective:loss",
            metrics="mamba_recsys.session.metrics:metrics",
            metric_names=("mrr", "hr", "ndcg"),
            predictor="mamba_recsys.next_item.predict:FileRecommender",
            predict_config="mamba_recsys.session.config:SessionPredict",
            train_config="mamba_recsys.session.config:SessionTrain",
            inputs=_INPUTS,
            outputs=_OUTPUTS,
            presets=("tiny", "gru4rec", "mamba4rec", "mamba2_packed", "sasrec"),
            preset_fields="mamba_recsys.next_item.presets:PRESETS",
            default_preset="mamba2_packed",
            requires=("pandas", "narwhals", "scipy"),
            card="mamba_recsys:cards/rec-session.md",
            causal=True,
        ),
    ]


@hookimpl
def mamba_commands() -> Iterable[CommandSpec]:
    """Offer ``mamba-core fit`` and ``mamba-core serve``."""
    return [
        CommandSpec(
            name="fit",
            run="mamba_recsys.fit_command:run",
            help="Fit a recommender on tables, columns of items and events included.",
        ),
        CommandSpec(
            name="serve",
            run="mamba_recsys.service.command:run",
            help="Serve a fitted recommender over HTTP.",
        ),
    ]
