"""Train a classifier on folders of images, then classify a folder with a broken file in it.

    python examples/vision/classify_a_folder.py [--images FOLDER] [--epochs 6]

FOLDER holds ``train/<class>/<file>`` and ``test/<class>/<file>``. Without one, circles, squares and
triangles are drawn.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

import mamba_core
from mamba_core import registry

SIDE = 32
ARCHITECTURE = {"kind": "vmamba", "depths": (1, 1, 1), "width": 16, "stem": "small"}


def draw(shape: str, chance: random.Random) -> Image.Image:
    """A shape of random size, place and colour on a random ground."""
    image = Image.new("RGB", (SIDE, SIDE), tuple(chance.randrange(90) for _ in range(3)))
    pen, size = ImageDraw.Draw(image), chance.randrange(12, 22)
    x, y = chance.randrange(SIDE - size), chance.randrange(SIDE - size)
    colour = tuple(chance.randrange(130, 256) for _ in range(3))
    if shape == "triangle":
        pen.polygon([(x, y + size), (x + size, y + size), (x + size // 2, y)], fill=colour)
    else:
        paint = pen.ellipse if shape == "circle" else pen.rectangle
        paint((x, y, x + size, y + size), fill=colour)
    return image


def draw_folder(folder: Path, counts: dict[str, int]) -> None:
    """Write ``part/shape/number.png`` for every part."""
    chance = random.Random(0)
    for part, count in counts.items():
        for shape in ("circle", "square", "triangle"):
            (folder / part / shape).mkdir(parents=True)
            for k in range(count):
                draw(shape, chance).save(folder / part / shape / f"{k}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="folder with train/ and test/")
    parser.add_argument("--epochs", type=int, default=6)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        images = given.images or work / "images"
        if given.images is None:
            draw_folder(images, {"train": 120, "test": 20})
        classes = sorted(path.name for path in (images / "train").iterdir())
        source = {"kind": "folder", "path": images}
        mamba_core.train(
            "vision-cls",
            preset="tiny",
            model={
                "image_size": (SIDE, SIDE),
                "num_classes": len(classes),
                "labels": tuple(classes),
                "architecture": ARCHITECTURE,
            },
            data={"source": source, "augment": {"crop": "pad", "pad": 2, "flip": True}},
            train={"max_epochs": given.epochs, "batch_size": 32, "lr": 3e-3, "ema": 0.9},
            out=work / "run",
        )
        found = mamba_core.evaluate(work / "run", batch_size=32)
        print(f"right on {found.items} test images: {found.metrics['top1']:.1%}")

        if given.images is None:
            (images / "test" / "broken.png").write_bytes(b"not an image")
        labeller = registry.predictor("vision-cls", weights=work / "run" / "best")
        rows = labeller.run([images / "test"], work / "answers")
        for row in rows[:4]:
            print(row)
        print(f"{sum('error' in row for row in rows)} of {len(rows)} files cannot be read")


if __name__ == "__main__":
    main()
