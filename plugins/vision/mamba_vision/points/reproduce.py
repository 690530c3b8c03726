"""The DALES table of the ``points-cls`` card: hand-made features, then ours and PointNet.

    python -m mamba_vision.points.reproduce --data dales_objects500_1024pts.npz --out runs

Per model, normalisation and seed one training; what is in ``--out`` is not run again. Nearest
neighbours of hand-made features come first: a network that is not above them shows nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamba_vision.reproducing import kept, small_steps, spread_text

MODELS = ("pointmamba_300k", "pointnet_300k")
SETTINGS: dict[str, dict[str, Any]] = {
    "metric": {"normalise": "centre", "unit": 10.0},
    "unit-sphere": {"normalise": "unit-sphere"},
}
"""Places in metres, divided by ten; and without the size of the thing."""
AUGMENT = {"resample": True, "rotate": True, "jitter": 0.01, "label_smoothing": 0.1}
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
NEIGHBOURS = 5


def source(path: Path) -> dict[str, Any]:
    """Return where the clouds lie, as the data config has it."""
    arrays = {"points": "points_cm", "labels": "label", "is_test": "is_test", "names": "classes"}
    return {"kind": "arrays", "train": [str(path)], "scale": 0.01, **arrays}


def hand_made(clouds: NDArray, *, unit_sphere: bool, logarithms: bool) -> NDArray[np.float64]:
    """Return eleven numbers per cloud: extents, quantiles of the height, spread along axes.

    :param clouds: ``(n, points, 3)`` in metres.
    :param logarithms: of the spread too; those of the extents are taken in any case.
    :returns: ``(n, 11)``: log extents, five quantiles of z above the lowest point, eigenvalues of
        the covariance.
    """
    places = clouds - clouds.mean(1, keepdims=True)
    if unit_sphere:
        places = places / np.linalg.norm(places, axis=-1).max(1)[:, None, None]
    extents = np.log(np.ptp(places, axis=1) + 1e-6)
    heights = places[..., 2] - places[..., 2].min(1, keepdims=True)
    covariance = np.einsum("npi,npj->nij", places, places) / places.shape[1]
    spread = np.linalg.eigvalsh(covariance)
    if logarithms:
        spread = np.log(spread + 1e-9)
    return np.concatenate([extents, np.quantile(heights, QUANTILES, axis=1).T, spread], axis=1)


def nearest(train: NDArray, labels: NDArray, test: NDArray, truth: NDArray) -> float:
    """Return the accuracy of the most frequent class among the nearest, features standardised."""
    mean, deviation = train.mean(0), train.std(0)
    apart = ((test - mean) / deviation)[:, None] - ((train - mean) / deviation)[None]
    close = np.square(apart).sum(-1).argsort(axis=1, kind="stable")[:, :NEIGHBOURS]
    votes = [np.bincount(labels[row]).argmax() for row in close]
    return float(np.mean(np.array(votes) == truth))


def baselines(path: Path) -> dict[str, float]:
    """Return the accuracies of hand-made features on the test clouds."""
    with np.load(path) as file:
        clouds, labels = file["points_cm"] / 100, file["label"].astype(np.int64)
        test = file["is_test"].astype(bool)
    found = {}
    for setting in SETTINGS:
        for logarithms in (False, True):
            rows = hand_made(clouds, unit_sphere=setting == "unit-sphere", logarithms=logarithms)
            name = f"{setting}, {'logarithms' if logarithms else 'plain'}"
            found[name] = nearest(rows[~test], labels[~test], rows[test], labels[test])
    return found


def trained(path: Path, out: Path, preset: str, setting: str, seed: int, epochs: int) -> float:
    """Train one model, and return its accuracy on the test clouds."""
    return kept(
        out / f"{preset}_{setting}_{seed}",
        "points-cls",
        preset,
        model=SETTINGS[setting],
        data={"source": source(path), "augment": AUGMENT},
        train=small_steps(epochs, ema=0.98, seed=seed),
    )["top1"]


def main(words: Sequence[str] | None = None) -> None:
    """Print the baselines, then mean and standard deviation over the seeds of every model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args(words)
    for name, value in baselines(given.data).items():
        print(f"hand-made features, {name}: {value:.3f}", flush=True)
    for model in given.models:
        for setting in SETTINGS:
            found = [
                trained(given.data, given.out, model, setting, seed, given.epochs)
                for seed in given.seeds
            ]
            print(f"{model}, {setting}: {spread_text(found)}", flush=True)


if __name__ == "__main__":
    main()
