"""Train a segmentation model on street scenes, then write a mask and an overlay of a new one.

    python examples/vision/segment_a_street.py [--camvid FOLDER] [--steps 60] [--out street]

FOLDER is CamVid as SegNet's authors split it: ``train``, ``trainannot``, ``test``, ``testannot``.
Without it, streets of sky, houses, road and cars are drawn.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

import mamba_core
from mamba_core import registry

LABELS = ("sky", "house", "road", "car")
COLOURS = ((150, 190, 240), (150, 90, 60), (90, 90, 95), (200, 40, 50))
WIDTH, HEIGHT = 96, 72
ARCHITECTURE = {"kind": "vmamba", "depths": (1, 1, 1), "width": 16, "stem": "small"}


def draw(chance: random.Random) -> tuple[Image.Image, Image.Image]:
    """A street and its mask of class numbers."""
    image, mask = Image.new("RGB", (WIDTH, HEIGHT)), Image.new("L", (WIDTH, HEIGHT))
    pens = ImageDraw.Draw(image), ImageDraw.Draw(mask)

    def box(label: int, x0: int, y0: int, x1: int, y1: int) -> None:
        colour = tuple(value + chance.randrange(-30, 30) for value in COLOURS[label])
        pens[0].rectangle((x0, y0, x1, y1), fill=colour)
        pens[1].rectangle((x0, y0, x1, y1), fill=label)

    horizon = chance.randrange(30, 45)
    box(0, 0, 0, WIDTH, HEIGHT)
    box(2, 0, horizon, WIDTH, HEIGHT)
    for x in range(0, WIDTH, 16):
        box(1, x, chance.randrange(5, horizon), x + 15, horizon - 1)
    for _ in range(chance.randrange(1, 4)):
        x, y = chance.randrange(WIDTH - 20), chance.randrange(horizon, HEIGHT - 10)
        box(3, x, y, x + 18, y + 9)
    return image, mask


def draw_folder(folder: Path, counts: dict[str, int]) -> None:
    """Write images to ``part/`` and masks to ``partannot/``."""
    chance = random.Random(0)
    for part, count in counts.items():
        for name in (part, f"{part}annot"):
            (folder / name).mkdir(parents=True)
        for k in range(count):
            image, mask = draw(chance)
            image.save(folder / part / f"{k}.png")
            mask.save(folder / f"{part}annot" / f"{k}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--camvid", type=Path, help="folder with train/, trainannot/, ...")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("street"), help="masks and overlays")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        scenes, preset, model = given.camvid, "camvid_unet", {}
        if scenes is None:
            scenes, preset = work / "scenes", "tiny"
            draw_folder(scenes, {"train": 64, "test": 8})
            model = {
                "image_size": (HEIGHT, WIDTH),
                "num_classes": len(LABELS),
                "labels": LABELS,
                "architecture": ARCHITECTURE,
                "decoder": {"kind": "unet", "channels": (32, 16), "image_channels": 8},
            }
        parts = {
            part: {"images": scenes / part, "masks": scenes / f"{part}annot"}
            for part in ("train", "test")
        }
        mamba_core.train(
            "vision-seg",
            preset=preset,
            model=model,
            data={**parts, "ignore": (11, 255), "augment": {"flip": True}},
            train={"max_steps": given.steps, "batch_size": 8, "lr": 3e-3, "ema": 0.9},
            out=work / "run",
        )
        found = mamba_core.evaluate(work / "run", batch_size=8)
        print(f"{found.items} test scenes: mIoU {found.metrics['miou']:.3f}")
        segmenter = registry.predictor("vision-seg", weights=work / "run" / "best")
        scene = sorted((scenes / "test").iterdir())[0]
        for row in segmenter.run([scene], given.out, overwrite=True):
            print(row)


if __name__ == "__main__":
    main()
