"""What an image costs as it gets larger, beside timm's ViT and Swin of the same size.

    python -m mamba_vision.speed --out speed.jsonl

Random weights, one image, one thread, float32: costs do not depend on the weights. Before a model
is measured its logits are held against float64, of the reference kernels. Every cell runs in a
process of its own with a bound on time and memory. Times are those of the processor, so that
other programs on the machine do not count. Needs timm.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mamba_core import registry
from mamba_core.bench.alone import Row, alone
from mamba_core.bench.memory import extra_bytes
from mamba_core.cli.output import terminal_track

SIDES = (224, 384, 512, 768, 1024)
TRAINED_SIDES = (224, 384, 512)
PEERS = {
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "vit_small": "vit_small_patch16_224",
}
"""Names of timm, by what they are called here."""
MODELS = ("vmamba_tiny", "vim_small", *PEERS)
TOLERANCE = 1e-4
_CHECKED_SIDE = 64
_LONG = 3.0
"""Seconds of passes after which no further one is timed."""


def make(name: str, side: int) -> nn.Module:
    """Build one of :data:`MODELS` for square images, in eval mode."""
    if name in PEERS:
        import timm

        model: nn.Module = timm.create_model(PEERS[name], img_size=side)
    else:
        model = registry.build("vision-cls", preset=name, image_size=(side, side))
    return model.eval()


def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Return ``(batch, classes)`` of a model of ours or of timm's."""
    found = model(images)
    return found["logits"] if isinstance(found, dict) else found


def check(name: str) -> Row:
    """Return how far a model's logits lie from those in float64, relative.

    Forces the reference kernels, so it belongs into a process of its own.
    """
    torch.manual_seed(0)
    model, images = make(name, _CHECKED_SIDE), torch.randn(1, 3, _CHECKED_SIDE, _CHECKED_SIDE)
    with torch.no_grad():
        found = logits(model, images)
        os.environ["MAMBA_KERNELS_BACKEND"] = "reference"
        exact = logits(model.double(), images.double())
    return {"error": float((found - exact).abs().max() / exact.abs().max())}


def point(name: str, side: int, training: bool, repeats: int) -> Row:
    """Measure one image of one size, forward or forward and backward.

    :returns: ``parameters``; ``cpu_s``, the shortest of ``repeats`` times, of fewer where they
        are long; ``mib``, the most memory that a pass adds to model and image (None where it
        cannot be asked for).
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, images = make(name, side), torch.randn(1, 3, side, side)
    model.train(training)

    def step() -> None:
        with torch.set_grad_enabled(training):
            found = logits(model, images)
        if training:
            found.logsumexp(1).sum().backward()
            model.zero_grad()  # the gradients are of the step that is measured, not before it

    added = extra_bytes(step)
    times: list[float] = []
    while len(times) < repeats and sum(times) < _LONG:
        times.append(_seconds(step))
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "cpu_s": round(min(times), 4),
        "mib": None if added is None else round(added / 2**20),
    }


def _seconds(run: Callable[[], Any]) -> float:
    begin = time.process_time()
    run()
    return time.process_time() - begin


def plan(names: Sequence[str], sides: Sequence[int]) -> list[Row]:
    """Return what is measured: forward at all sides, training at the smaller ones."""
    forward = [{"model": n, "side": s, "training": False} for n in names for s in sides]
    smaller = [s for s in sides if s in TRAINED_SIDES]
    return forward + [{"model": n, "side": s, "training": True} for n in names for s in smaller]


def main(words: Sequence[str] | None = None) -> None:
    """Print a JSON line per model, size and pass.

    :param words: the command's; None takes them from ``sys.argv``.
    :raises SystemExit: for a model whose logits are not those of float64.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--sides", type=int, nargs="+", default=list(SIDES), help="in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=int, default=120, help="processor seconds per cell")
    parser.add_argument("--gib", type=float, default=8, help="of memory per cell")
    parser.add_argument("--out", type=Path, help="file to which the lines are added")
    given = parser.parse_args(words)
    bounded = partial(alone, seconds=given.limit, gib=given.gib)
    for name in given.models:
        checked = bounded(partial(check, name))
        if not checked.get("error", 1.0) < TOLERANCE:
            raise SystemExit(f"{name} is not measured, its logits are wrong: {checked}")
    for cell in terminal_track(
        plan(given.models, given.sides), lambda cell: f"{cell['model']} {cell['side']}"
    ):
        measure = partial(point, cell["model"], cell["side"], cell["training"], given.repeats)
        line = json.dumps({**cell, **bounded(measure)})
        print(line, flush=True)
        if given.out is not None:
            with given.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
