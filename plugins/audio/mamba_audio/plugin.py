"""What this plugin offers. Imports nothing heavy: heavy parts are named as "module:attribute"."""

from __future__ import annotations

from collections.abc import Iterable

from mamba_registry import CommandSpec, TaskSpec, WeightsSpec, hookimpl

__mamba_api__ = (1, 0)


@hookimpl
def mamba_tasks() -> Iterable[TaskSpec]:
    """Offer the tasks of this plugin."""
    return [
        TaskSpec(
            id="audio-sep",
            domain="audio",
            summary="two or more voices of one recording, each on its own (8 or 16 kHz)",
            config="mamba_audio.separation.config:SeparatorConfig",
            builder="mamba_audio.separation.model:Separator",
            example="mamba_audio.separation.model:example",
            data="mamba_audio.separation.data:SeparationDataset",
            data_config="mamba_audio.separation.config:SeparationData",
            loss="mamba_audio.separation.objective:loss",
            metrics="mamba_audio.separation.metrics:metrics",
            metric_names=("si_snri", "sdri", "share_below_0db"),
            predictor="mamba_audio.separation.predict:FileSeparator",
            predict_config="mamba_audio.separation.config:SeparatorPredict",
            train_config="mamba_core.training:TrainConfig",
            inputs={"mixture": "float[batch, samples]"},
            outputs={"estimates": "float[batch, sources, samples]"},
            presets=(
                "tiny",
                "libri8k_small",
                "single_1m",
                "single_1m_16k",
                "causal_1m",
                "dual_1m",
                "mamba_tasnet_xs",
                "mamba_tasnet_s",
                "mamba_tasnet_m",
                "mamba_tasnet_l",
                "dpmamba_xs",
                "dpmamba_s",
                "dpmamba_m",
                "dpmamba_l",
                "spmamba",
                "spmamba_linear",
                "spmamba_16k",
                "conv_tasnet_tiny",
                "conv_tasnet_1m",
                "conv_tasnet_1m_16k",
                "conv_tasnet_5m",
                "dprnn",
            ),
            preset_fields="mamba_audio.separation.presets:PRESETS",
            default_preset="libri8k_small",
            scan_orders=("bidirectional", "raster", "reverse"),
            weights=(
                WeightsSpec(
                    name="libri8k_small",
                    preset="libri8k_small",
                    resource="mamba_audio:weights/libri8k_small.safetensors",
                    sha256="eba660952f908b279827a2f8a4b4fdacdbccd9c5be4c92dac3b97e3dff365684",
                    size=3585544,
                    licence="Apache-2.0; trained on LibriSpeech, CC BY 4.0 (Panayotov 2015)",
                    metrics={
                        "si_snri": 3.809,
                        "sdri": 4.474,
                        "share_below_0db": 0.1133,
                    },
                ),
                # the peer, better at equal steps: see the card
                WeightsSpec(
                    name="conv_tasnet_1m",
                    preset="conv_tasnet_1m",
                    resource="mamba_audio:weights/conv_tasnet_1m.safetensors",
                    sha256="3ec8979e927e9ab4593ed832a3ada238e08559994aa5d5bfc2920b60e3092292",
                    size=2320226,
                    licence="Apache-2.0; trained on LibriSpeech, CC BY 4.0 (Panayotov 2015)",
                    metrics={"si_snri": 4.389, "sdri": 4.945, "share_below_0db": 0.1067},
                ),
            ),
            requires=("torchaudio", "soundfile", "soxr", "scipy"),
            requires_data=("soundfile",),
            card="mamba_audio:cards/audio-sep.md",
        ),
        TaskSpec(
            id="audio-enhance",
            domain="audio",
            summary="speech without the noise around it",
            config="mamba_audio.enhancement.config:EnhancerConfig",
            builder="mamba_audio.enhancement.model:Enhancer",
            example="mamba_audio.enhancement.model:example",
            data="mamba_audio.enhancement.data:EnhancementDataset",
            data_config="mamba_audio.enhancement.config:EnhancementData",
            loss="mamba_audio.enhancement.objective:loss",
            metrics="mamba_audio.enhancement.metrics:metrics",
            metric_names=("pesq", "stoi", "si_snri"),
            predictor="mamba_audio.enhancement.predict:FileEnhancer",
            predict_config="mamba_audio.enhancement.config:EnhancerPredict",
            train_config="mamba_core.training:TrainConfig",
            inputs={"noisy": "float[batch, samples]"},
            outputs={"enhanced": "float[batch, samples]"},
            presets=("tiny", "libri8k_small", "semamba"),
            preset_fields="mamba_audio.enhancement.presets:PRESETS",
            default_preset="libri8k_small",
            scan_orders=("bidirectional", "raster", "reverse"),
            weights=(
                WeightsSpec(
                    name="libri8k_small",
                    preset="libri8k_small",
                    resource="mamba_audio:weights/enhance_small.safetensors",
                    sha256="e8d9a0065b8446d32c1709675c77d0d3a96736136a55ba37d672a66e37d1605b",
                    size=584072,
                    licence="Apache-2.0; trained on LibriSpeech, CC BY 4.0 (Panayotov 2015)",
                    metrics={"pesq": 2.36, "stoi": 0.822, "si_snri": 6.46},
                ),
            ),
            requires=("torchaudio", "soundfile", "soxr", "scipy"),
            requires_data=("soundfile",),
            card="mamba_audio:cards/audio-enhance.md",
        ),
        TaskSpec(
            id="audio-tag",
            domain="audio",
            summary="which of a list of things is heard in a recording",
            config="mamba_audio.tagging.config:TaggerConfig",
            builder="mamba_audio.tagging.model:Tagger",
            example="mamba_audio.tagging.model:example",
            data="mamba_audio.tagging.data:TaggingDataset",
            data_config="mamba_audio.tagging.config:TaggingData",
            loss="mamba_audio.tagging.objective:loss",
            metrics="mamba_audio.tagging.metrics:metrics",
            metric_names=("map", "accuracy"),
            predictor="mamba_audio.tagging.predict:FileTagger",
            predict_config="mamba_audio.tagging.config:TaggerPredict",
            train_config="mamba_core.training:TrainConfig",
            inputs={"wave": "float[batch, samples]"},
            outputs={"logits": "float[batch, classes]"},
            presets=("tiny", "libri8k_small", "aum_tiny", "aum_small", "aum_base"),
            preset_fields="mamba_audio.tagging.presets:PRESETS",
            default_preset="libri8k_small",
            scan_orders=("bidirectional", "raster", "reverse"),
            requires=("torchaudio", "soundfile", "soxr", "scipy"),
            requires_data=("soundfile",),
            card="mamba_audio:cards/audio-tag.md",
        ),
    ]


@hookimpl
def mamba_commands() -> Iterable[CommandSpec]:
    """Offer the commands of this plugin."""
    return [
        CommandSpec(
            name="audio-stream",
            run="mamba_audio.separation.stream_command:run",
            help="Separate sound from standard input with a causal model.",
        )
    ]
