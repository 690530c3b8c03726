"""What this plugin offers. Imports nothing heavy: heavy parts are named as "module:attribute"."""

from __future__ import annotations

from collections.abc import Iterable

from mamba_registry import CommandSpec, TaskSpec, hookimpl

__mamba_api__ = (1, 0)


@hookimpl
def mamba_tasks() -> Iterable[TaskSpec]:
    """Offer the tasks of this plugin."""
    return [
        TaskSpec(
            id="language-lm",
            domain="language",
            summary="the next token of a text; writes on, and loads published Mamba checkpoints",
            config="mamba_language.lm.config:LanguageModelConfig",
            builder="mamba_language.lm.model:MambaLM",
            example="mamba_language.lm.model:example",
            data="mamba_language.lm.data:TextDataset",
            data_config="mamba_language.lm.config:TextData",
            loss="mamba_language.lm.objective:loss",
            metrics="mamba_language.lm.metrics:metrics",
            metric_names=("bits_per_byte", "perplexity"),
            predictor="mamba_language.lm.predict:TextGenerator",
            predict_config="mamba_language.lm.config:TextPredict",
            train_config="mamba_core.training:TrainConfig",
            inputs={"tokens": "int[batch, length]", "starts": "bool[batch, length]"},
            outputs={"logits": "float[batch, length, vocab_size]"},
            presets=(
                "tiny",
                "bytes_small",
                "mamba_130m",
                "mamba_370m",
                "mamba_790m",
                "mamba_1_4b",
                "mamba_2_8b",
                "mamba2_130m",
                "mamba2_370m",
                "mamba2_780m",
                "mamba2_1_3b",
                "mamba2_2_7b",
            ),
            preset_fields="mamba_language.lm.presets:PRESETS",
            default_preset="bytes_small",
            card="mamba_language:cards/lm.md",
            causal=True,
        )
    ]


@hookimpl
def mamba_commands() -> Iterable[CommandSpec]:
    """Offer ``mamba-core generate``."""
    return [
        CommandSpec(
            name="generate",
            run="mamba_language.command:run",
            help="Continue a prompt with a trained language model, as it is written.",
        )
    ]
