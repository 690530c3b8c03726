"""The table of the ``video-cls`` card: which way a digit moves, with and without the frames' order.

    python -m mamba_vision.video.reproduce --data mnist_28x28.npz --out runs

Semi-synthetic: real digits (MNIST), halved in size, go right, left, down or up on a black square
and come in again on the other side. They start anywhere, so no single frame tells the direction,
and the peer that averages frames must stay at chance, 25 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamba_vision.reproducing import kept, small_steps, spread_text

SIDE, FRAMES, STEP = 32, 8, 2
MOVES = {"down": (0, STEP), "left": (1, -STEP), "right": (1, STEP), "up": (0, -STEP)}
"""Axis of the frame, and pixels from frame to frame."""
PER_MOVE = {"train": 150, "test": 50}
MODELS: dict[str, dict[str, Any]] = {
    "clips_250k": {},
    "frame-mean": {
        "architecture": {
            "kind": "frame-mean",
            "image": {
                "kind": "vim",
                "patch_size": 8,
                "d_model": 64,
                "depth": 6,
                "class_token": "none",
                "mixing": {"mixer": {"name": "mamba1", "d_state": 8}},
            },
        }
    },
}


def moving(digits: NDArray[np.uint8], count: int, seed: int) -> tuple[NDArray, NDArray]:
    """Make clips of every direction.

    :param digits: uint8 ``(n, 28, 28)``.
    :param count: clips per direction.
    :returns: uint8 ``(4 count, FRAMES, SIDE, SIDE)`` and the directions, int64.
    """
    rng = np.random.default_rng(seed)
    clips, labels = [], []
    for label, (axis, step) in enumerate(MOVES.values()):
        for _ in range(count):
            digit = digits[rng.integers(len(digits))].reshape(14, 2, 14, 2).mean((1, 3))
            frame = np.zeros((SIDE, SIDE), dtype=np.uint8)
            frame[:14, :14] = digit
            frame = np.roll(frame, rng.integers(SIDE, size=2), axis=(0, 1))
            clips.append(np.stack([np.roll(frame, t * step, axis=axis) for t in range(FRAMES)]))
            labels.append(label)
    return np.stack(clips), np.array(labels)


def prepared(path: Path, out: Path) -> Path:
    """Write the clips to learn from and to report, made of the digits of each part."""
    target = out / "moving_digits.npz"
    if not target.exists():
        out.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray] = {}
        with np.load(path) as file:
            for seed, (part, count) in enumerate(PER_MOVE.items()):
                clips, labels = moving(file[f"x_{part}"], count, seed)
                arrays |= {f"x_{part}": clips, f"y_{part}": labels}
        np.savez_compressed(target, **arrays)  # type: ignore[arg-type]
    return target


def trained(path: Path, out: Path, name: str, seed: int, epochs: int) -> float:
    """Train one model, and return its accuracy on the test clips."""
    return kept(
        out / f"{name}_{seed}",
        "video-cls",
        "clips_250k",
        model={"num_classes": len(MOVES), "labels": ("0", "1", "2", "3"), **MODELS[name]},
        data={"source": {"kind": "npz", "path": str(path)}},
        train=small_steps(epochs, ema=0.95, seed=seed),
    )["top1"]


def main(words: Sequence[str] | None = None) -> None:
    """Print the accuracy of every model, mean and standard deviation over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args(words)
    path = prepared(given.data, given.out)
    for name in given.models:
        found = [trained(path, given.out, name, seed, given.epochs) for seed in given.seeds]
        print(f"{name}: {spread_text(found)}", flush=True)


if __name__ == "__main__":
    main()
