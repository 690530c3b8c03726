"""Which scan order suits small images? The same little classifier, trained once per order and seed.

    python examples/scan_order_ablation.py --data FOLDER [--orders raster cross ...] [--seeds 3]

FOLDER holds ``mnist_ci2500.npz`` (arrays ``x_train, y_train, x_test, y_test``) and
``cifar10_ci2500.tar.xz`` (``train/<class>/<n>.jpg`` and ``test/<class>/<n>.jpg``), or one of them.

All orders have the same parameters: one Mamba per layer reads every path, and the paths are
averaged. What differs is the order alone, and the time that more paths take.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.blocks import Backbone, BackboneConfig
from mamba_core.mixers import MixerChoice, MultiScanConfig

FILES = {"mnist": "mnist_ci2500.npz", "cifar10": "cifar10_ci2500.tar.xz"}
ORDERS = ("raster", "cross", "serpentine", "hilbert", "window(4)", "shuffle")


@dataclass(frozen=True)
class Images:
    """Pictures as floats ``(N, channels, side, side)`` around zero, and their classes ``(N,)``."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def read_images(name: str, folder: Path) -> Images:
    """Read one of the two data sets."""
    path = folder / FILES[name]
    if not path.is_file():
        raise SystemExit(f"{path} does not exist; --datasets names what --data holds")
    return _read_npz(path) if path.suffix == ".npz" else _read_tar(path)


def _read_npz(path: Path) -> Images:
    arrays = np.load(path)
    parts = [
        (_floats(arrays[f"x_{part}"][..., None]), torch.from_numpy(arrays[f"y_{part}"]).long())
        for part in ("train", "test")
    ]
    return Images(*parts)


def _read_tar(path: Path) -> Images:
    from PIL import Image

    pictures: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    classes: dict[str, list[str]] = {"train": [], "test": []}
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                part, label, _ = Path(member.name).parts[-3:]
                data = archive.extractfile(member)
                assert data is not None
                pictures[part].append(np.asarray(Image.open(io.BytesIO(data.read()))))
                classes[part].append(label)
    names = sorted(set(classes["train"]))
    parts = [
        (_floats(np.stack(pictures[part])), torch.tensor([names.index(c) for c in classes[part]]))
        for part in ("train", "test")
    ]
    return Images(*parts)


def _floats(pixels: np.ndarray) -> Tensor:
    """Bytes ``(N, H, W, C)`` -> floats ``(N, C, H, W)``."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2) / 127.5 - 1


def thinned(images: Images, limit: int | None) -> Images:
    """Keep about ``limit`` images of each part, spread over the classes; None keeps all."""
    if limit is None:
        return images
    parts = [
        (x[:: len(y) // limit or 1], y[:: len(y) // limit or 1])
        for x, y in (images.train, images.test)
    ]
    return Images(*parts)


class Classifier(nn.Module):
    """Patches -> tokens -> Mamba layers along a scan order -> mean -> classes."""

    def __init__(self, channels: int, order: str, *, d_model: int, depth: int, patch: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, d_model, patch, stride=patch)
        self.backbone = Backbone(
            BackboneConfig(
                d_model=d_model,
                pattern="M" * depth,
                mixer=MixerChoice("mamba1", d_state=8),
                scan=MultiScanConfig(scan_order=order, merge="mean", share="all"),
            )
        )
        self.head = nn.Linear(d_model, 10)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, channels, side, side)`` -> class scores ``(B, 10)``."""
        grid = self.patches(images)
        tokens = grid.flatten(2).transpose(1, 2)
        return self.head(self.backbone(tokens, shape=tuple(grid.shape[-2:])).mean(1))


def batches(
    images: Tensor, labels: Tensor, size: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    for rows in torch.randperm(len(labels), generator=generator).split(size):
        yield images[rows], labels[rows]


@dataclass(frozen=True)
class Run:
    """One training."""

    dataset: str
    order: str
    seed: int
    accuracy: float
    """On the test images, after the last epoch."""
    seconds: float


def train(dataset: str, images: Images, order: str, seed: int, given: argparse.Namespace) -> Run:
    """Train one classifier and measure it once."""
    torch.manual_seed(seed)
    start = time.perf_counter()
    model = Classifier(
        images.train[0].shape[1], order, d_model=given.d_model, depth=given.depth, patch=given.patch
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.lr, weight_decay=0.05)
    steps = given.epochs * -(-len(images.train[1]) // given.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, given.lr, total_steps=steps)
    for epoch in range(given.epochs):
        for x, y in batches(*images.train, given.batch, seed * 1000 + epoch):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return Run(dataset, order, seed, accuracy(model, images), time.perf_counter() - start)


@torch.no_grad()
def accuracy(model: nn.Module, images: Images) -> float:
    """Share of test images whose class has the highest score."""
    model.eval()
    x, y = images.test
    found = torch.cat([model(part).argmax(1) for part in x.split(250)])
    return float((found == y).double().mean())


def table(runs: list[Run]) -> str:
    """Return the runs as a Markdown table: mean and standard deviation over the seeds."""
    datasets = list(dict.fromkeys(run.dataset for run in runs))
    lines = [
        "| order | " + " | ".join(f"{name}, % correct" for name in datasets) + " | s per run |",
        "|---" * (len(datasets) + 2) + "|",
    ]
    for order in dict.fromkeys(run.order for run in runs):
        cells = []
        for name in datasets:
            scores = [100 * r.accuracy for r in runs if (r.order, r.dataset) == (order, name)]
            spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
            cells.append(f"{statistics.mean(scores):.1f} ± {spread:.1f} ({len(scores)})")
        seconds = statistics.mean(run.seconds for run in runs if run.order == order)
        lines.append(f"| `{order}` | " + " | ".join(cells) + f" | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Train everything, printing each run and at the end the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the image files")
    parser.add_argument("--datasets", nargs="+", choices=FILES, default=list(FILES))
    parser.add_argument("--orders", nargs="+", default=list(ORDERS), help="scan orders, 2-d")
    parser.add_argument("--seeds", type=int, default=3, help="trainings per order")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--d-model", type=int, default=48)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--patch", type=int, default=4)
    parser.add_argument("--limit", type=int, default=None, help="images of each part, for a trial")
    parser.add_argument("--out", type=Path, help="also write the runs here, as JSON")
    given = parser.parse_args()
    data = {name: thinned(read_images(name, given.data), given.limit) for name in given.datasets}
    runs = []
    for seed, name, order in product(range(given.seeds), data, given.orders):
        run = train(name, data[name], order, seed, given)
        runs.append(run)
        print(
            f"{name} {order} seed {seed}: {100 * run.accuracy:.1f} % correct, {run.seconds:.0f} s",
            file=sys.stderr,
            flush=True,
        )
        if given.out:  # after each run: a stopped ablation keeps what it has
            given.out.write_text(json.dumps([asdict(r) for r in runs], indent=1))
    print(table(runs))


if __name__ == "__main__":
    main()
