"""Sizes of ``vision-backbone``: those of ``vision-cls`` without what belongs to its head."""

from __future__ import annotations

from typing import Any

from mamba_vision.classification.presets import PRESETS as CLASSIFIERS

_PEERS = ("resnet20", "cct_2_3x2", "cct_7_3x1", "vit_mnist_250k", "vit_cifar_250k", "vit_cifar_1m")
_OTHERS = ("tiny", *_PEERS)
"""The size for tests is another one here, and peers do not have four levels all."""
_TINY = CLASSIFIERS["tiny"]["architecture"]
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"image_size": (16, 16), "architecture": {**_TINY, "depth": 4}}
}
PRESETS |= {
    name: {field: value for field, value in fields.items() if field != "num_classes"}
    for name, fields in CLASSIFIERS.items()
    if name not in _OTHERS
}
