"""Weights that come with this package. Light: no torch."""

from __future__ import annotations

from mamba_registry.specs import WeightsSpec

TRAINED = (
    WeightsSpec(
        name="mnist_250k",
        preset="mnist_250k",
        resource="mamba_vision:weights/mnist_250k.safetensors",
        sha256="c78bf463dcbc6fbb5b518b6954b670c9e371ff061dfe7adb55fb9d8e3ae20fc3",
        size=1015376,
        licence="CC BY-SA 3.0, as MNIST is said to be (LeCun, Cortes, Burges)",
        metrics={"top1": 0.9920, "top5": 0.9999},
    ),
)
"""The records."""

RECIPES = {
    "mnist_250k": (
        "mamba-core train vision-cls --preset mnist_250k --out RUN "
        """--data.source '{"kind": "npz", "path": "mnist_28x28.npz"}' """
        """--data.augment '{"crop": "pad", "pad": 2}' --train.max_epochs 4 """
        "--train.batch_size 128 --train.lr 0.004 --train.warmup_steps 100 --train.ema 0.98 "
        "--train.seed 0"
    ),
}
"""The command behind each, by name; the card of ``vision-cls`` shows the same."""
