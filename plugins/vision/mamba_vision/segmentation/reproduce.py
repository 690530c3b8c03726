"""The CamVid table of the ``vision-seg`` card: ours and a U-Net of convolutions, in equal time.

    python -m mamba_vision.segmentation.reproduce --data camvid_240x180 --out runs

The folder holds ``train``, ``val``, ``test`` and their masks ``trainannot``, ``valannot`` and
``testannot``. Per network and seed one training; what is in ``--out`` is not run again, what was
cut off goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mamba_vision.reproducing import kept, spread_text

STEPS = {"camvid_unet": 460, "camvid_conv_unet": 315}
"""They take about the same processor time, by a timing of each network's step."""


def pairs(folder: Path) -> dict[str, Any]:
    """Return where images and masks lie, as the data config has it; 11 is void."""
    parts = {
        part: {"images": str(folder / part), "masks": str(folder / f"{part}annot")}
        for part in ("train", "val", "test")
    }
    return {**parts, "ignore": (11,), "augment": {"flip": True, "colour": 0.2}}


def trained(folder: Path, out: Path, preset: str, seed: int) -> dict[str, float]:
    """Train one network, and return its metrics on the test images."""
    return kept(
        out / f"{preset}_{seed}",
        "vision-seg",
        preset,
        data=pairs(folder),
        train={
            "max_steps": STEPS[preset],
            "val_every": STEPS[preset],
            "batch_size": 8,
            "lr": 2e-3,
            "warmup_steps": 30,
            "ema": 0.98,
            "seed": seed,
            "checkpoint_every": 50,
        },
        batch_size=8,
    )


def main(words: Sequence[str] | None = None) -> None:
    """Print every network's metrics, mean and standard deviation over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args(words)
    for name in given.models:
        found = [trained(given.data, given.out, name, seed) for seed in given.seeds]
        for metric in found[0]:
            values = [row[metric] for row in found]
            print(f"{name}, {STEPS[name]} steps, {metric}: {spread_text(values)}", flush=True)


if __name__ == "__main__":
    main()
