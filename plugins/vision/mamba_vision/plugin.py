"""What this plugin offers. Imports nothing heavy: heavy parts are named as "module:attribute"."""

from __future__ import annotations

from collections.abc import Iterable

from mamba_registry import TaskSpec, hookimpl
from mamba_registry.specs import MixerSpec

__mamba_api__ = (1, 0)
_BACKBONES = (
    "mnist_250k",
    "cifar_1m",
    "cifar_5m",
    "vim_tiny",
    "vim_tiny_stride8",
    "vim_small",
    "vim_base",
    "vmamba_tiny",
    "vmamba_tiny_s2l5",
    "vmamba_small",
    "vmamba_small_s1l20",
    "vmamba_base",
    "vmamba_base_s1l20",
    "vmamba_vanilla_tiny",
    "vmamba_vanilla_small",
    "vmamba_vanilla_base",
    "plainmamba_l1",
    "plainmamba_l2",
    "plainmamba_l3",
    "localvim_tiny",
    "localvim_small",
    "localvmamba_tiny",
    "localvmamba_small",
    "vssd_tiny",
    "mamba2d_tiny",
    "mambahybrid_tiny",
)
"""Sizes that both the classifier and the backbone alone have."""


@hookimpl
def mamba_mixers() -> Iterable[MixerSpec]:
    """Offer the mixers that published backbones are built from."""
    return [
        MixerSpec(
            name="ss2d",
            build="mamba_vision.backbones.ss2d:SS2D",
            summary="one convolution of the grid, then a scan per path (VMamba)",
            causal=False,
        ),
        MixerSpec(
            name="local-scan",
            build="mamba_vision.backbones.local_scan:LocalScan",
            summary="rows, columns and windows, each path gated by channel (LocalMamba)",
            causal=False,
        ),
    ]


@hookimpl
def mamba_tasks() -> Iterable[TaskSpec]:
    """Offer the tasks of this plugin."""
    return [
        TaskSpec(
            id="vision-cls",
            domain="vision",
            summary="what an image shows: classes with probabilities",
            config="mamba_vision.classification.config:ClassifierConfig",
            builder="mamba_vision.classification.model:ImageClassifier",
            example="mamba_vision.classification.model:example",
            data="mamba_vision.classification.data:ImageDataset",
            data_config="mamba_vision.classification.data_config:ImageData",
            loss="mamba_vision.classification.objective:loss",
            metrics="mamba_vision.classification.metrics:metrics",
            metric_names=("top1", "top5"),
            predictor="mamba_vision.classification.predict:ImageLabeller",
            predict_config="mamba_vision.classification.config:ClassifierPredict",
            train_config="mamba_vision.classification.config:ClassifierTrain",
            inputs={"images": "float[batch, in_chans, height, width]"},
            outputs={"logits": "float[batch, num_classes]"},
            presets=(
                "tiny",
                *_BACKBONES,
                "resnet20",
                "cct_2_3x2",
                "vit_mnist_250k",
                "vit_cifar_1m",
            ),
            preset_fields="mamba_vision.classification.presets:PRESETS",
            default_preset="vim_tiny",
            scan_orders=("bidirectional", "cross", "hilbert", "serpentine4"),
            requires=("torchvision", "PIL"),
            requires_data=("torchvision", "PIL"),
            card="mamba_vision:cards/vision-cls.md",
        ),
        TaskSpec(
            id="vision-backbone",
            domain="vision",
            summary="maps of an image at several strides, for heads and decoders of your own",
            config="mamba_vision.features.config:BackboneConfig",
            builder="mamba_vision.features.model:FeatureExtractor",
            example="mamba_vision.features.model:example",
            predictor="mamba_vision.features.predict:FeatureWriter",
            predict_config="mamba_vision.features.config:BackbonePredict",
            inputs={"images": "float[batch, in_chans, height, width]"},
            outputs={
                "map0": "float[batch, channels0, height0, width0]",
                "map1": "float[batch, channels1, height1, width1]",
                "map2": "float[batch, channels2, height2, width2]",
                "map3": "float[batch, channels3, height3, width3]",
                "pooled": "float[batch, num_features]",
            },
            presets=("tiny", *_BACKBONES),
            preset_fields="mamba_vision.features.presets:PRESETS",
            default_preset="vmamba_tiny",
            scan_orders=("cross", "bidirectional", "hilbert", "serpentine4"),
            requires=("torchvision", "PIL"),
            card="mamba_vision:cards/vision-backbone.md",
        ),
        TaskSpec(
            id="vision-seg",
            domain="vision",
            summary="what each pixel of an image shows",
            config="mamba_vision.segmentation.config:SegmenterConfig",
            builder="mamba_vision.segmentation.model:Segmenter",
            example="mamba_vision.segmentation.model:example",
            data="mamba_vision.segmentation.data:MaskDataset",
            data_config="mamba_vision.segmentation.data_config:MaskData",
            loss="mamba_vision.segmentation.objective:loss",
            metrics="mamba_vision.segmentation.metrics:metrics",
            metric_names=("miou", "pixel_accuracy"),
            predictor="mamba_vision.segmentation.predict:ImageSegmenter",
            predict_config="mamba_vision.segmentation.config:SegmenterPredict",
            train_config="mamba_vision.segmentation.config:SegmenterTrain",
            inputs={"images": "float[batch, in_chans, height, width]"},
            outputs={"logits": "float[batch, num_classes, height, width]"},
            presets=(
                "tiny",
                "camvid_unet",
                "camvid_upernet",
                "camvid_resnet_unet",
                "vim_tiny",
                "vmamba_tiny",
                "vmamba_small",
                "vmamba_base",
                "mambahybrid_tiny",
            ),
            preset_fields="mamba_vision.segmentation.presets:PRESETS",
            default_preset="vmamba_tiny",
            scan_orders=("cross", "bidirectional", "hilbert", "serpentine4"),
            requires=("torchvision", "PIL"),
            requires_data=("torchvision", "PIL"),
            card="mamba_vision:cards/vision-seg.md",
        ),
        TaskSpec(
            id="video-cls",
            domain="vision",
            summary="what a clip shows: classes with probabilities",
            config="mamba_vision.video.config:VideoConfig",
            builder="mamba_vision.video.model:VideoClassifier",
            example="mamba_vision.video.model:example",
            data="mamba_vision.video.data:VideoDataset",
            data_config="mamba_vision.video.data_config:VideoData",
            loss="mamba_vision.classification.objective:loss",
            metrics="mamba_vision.classification.metrics:metrics",
            metric_names=("top1", "top5"),
            predictor="mamba_vision.video.predict:ClipLabeller",
            predict_config="mamba_vision.video.config:VideoPredict",
            train_config="mamba_vision.classification.config:ClassifierTrain",
            inputs={"clips": "float[batch, frames, in_chans, height, width]"},
            outputs={"logits": "float[batch, num_classes]"},
            presets=("tiny", "videomamba_tiny", "videomamba_small", "mamband_tiny", "clips_250k"),
            preset_fields="mamba_vision.video.presets:PRESETS",
            default_preset="videomamba_tiny",
            scan_orders=("bidirectional", "axis-alternation", "temporal-first", "hilbert3d"),
            requires=("torchvision", "PIL"),
            requires_data=("torchvision", "PIL"),
            card="mamba_vision:cards/video-cls.md",
        ),
    ]
