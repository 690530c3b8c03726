"""Sizes of ``vision-seg``: fields that differ from the config's defaults."""

from __future__ import annotations

from typing import Any

from mamba_vision.classification.presets import PRESETS as CLASSIFIERS
from mamba_vision.features.presets import PRESETS as BACKBONES

_CAMVID = {
    "image_size": (180, 240),
    "num_classes": 11,
    "labels": (
        *("sky", "building", "pole", "road", "pavement", "tree"),
        *("sign", "fence", "car", "pedestrian", "bicyclist"),
    ),
}
_UNET = {"kind": "unet", "channels": (128, 64, 32), "image_channels": 16}
_SMALL = {
    "kind": "vmamba",
    "depths": (1, 1, 2, 1),
    "width": 32,
    "mlp_ratio": 2.0,
    "drop_path": 0.1,
}
"""A hierarchy for small sets of images, from scratch."""


def _upernet(name: str) -> dict[str, Any]:
    """A published backbone under UPerNet, for ADE20K's 150 classes at 512x512."""
    return {"image_size": (512, 512), "architecture": CLASSIFIERS[name]["architecture"]}


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        **BACKBONES["tiny"],
        "num_classes": 5,
        "decoder": {"kind": "unet", "channels": (16, 16, 16), "image_channels": 8},
    },
    "camvid_unet": {**_CAMVID, "architecture": _SMALL, "decoder": _UNET},
    "camvid_upernet": {
        **_CAMVID,
        "architecture": _SMALL,
        "decoder": {"kind": "upernet", "channels": 64},
    },
    # peers: convolutions only, in the same decoder; the first is of the same size
    "camvid_conv_unet": {
        **_CAMVID,
        "architecture": {"kind": "unet", "width": 16},
        "decoder": {"kind": "unet", "channels": (128, 64, 32, 16), "image_channels": 0},
    },
    "camvid_resnet_unet": {
        **_CAMVID,
        "architecture": {"kind": "resnet", "width": 32, "depth": 2},
        "decoder": {"kind": "unet", "channels": (64, 32), "image_channels": 0},
    },
}
PRESETS |= {
    name: _upernet(name)
    for name in ("vim_tiny", "vmamba_tiny", "vmamba_small", "vmamba_base", "mambahybrid_tiny")
}
