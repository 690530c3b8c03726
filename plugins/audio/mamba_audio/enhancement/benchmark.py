"""The benchmark libri8k-noisy: any system on frozen noisy speech, by one protocol.

python -m mamba_audio.enhancement.benchmark --root FOLDER_OF_LIBRI8K noisy subtraction
python -m mamba_audio.enhancement.benchmark --root ... RUN          # a saved model
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mamba_audio.enhancement.baseline import spectral_subtraction
from mamba_audio.enhancement.config import EnhancementData, EnhancerConfig
from mamba_audio.enhancement.data import EnhancementDataset, MadeNoisy
from mamba_audio.enhancement.metrics import pesq_score, stoi_score
from mamba_audio.separation.objective import si_snr
from mamba_core.cli.output import terminal_progress

System = Callable[[Tensor, int], Tensor]
"""``(noisy (1, samples), rate) -> enhanced``."""


@dataclass(frozen=True)
class Scores:
    """Means over the items."""

    items: int
    pesq: float
    stoi: float
    si_snri: float
    """In dB, over the noisy recording."""
    pesq_by_noise: dict[str, float]
    stoi_by_noise: dict[str, float]


def find_system(name: str) -> System:
    """Return ``noisy``, ``subtraction``, or a saved model by its folder."""
    if name == "noisy":
        return lambda noisy, rate: noisy
    if name == "subtraction":
        return spectral_subtraction
    from mamba_core import registry

    model = registry.build("audio-enhance", weights=name).eval()

    @torch.inference_mode()
    def enhance(noisy: Tensor, rate: int) -> Tensor:
        return model(noisy)["enhanced"]

    return enhance


def score(
    system: System, items: MadeNoisy, *, progress: Callable[[int, int], None] | None = None
) -> Scores:
    """Run a system over the items, one by one.

    :param progress: called with the items done and all there are.
    """
    rows: list[tuple[str, float, float, float]] = []
    for index in range(len(items)):
        sample = items.sample(0, index)
        noisy, clean, rate = sample["noisy"][None], sample["clean"][None], int(sample["rate"])
        made = system(noisy, rate)
        gain = si_snr(made, clean) - si_snr(noisy, clean)
        quality, clear = pesq_score(made, clean, rate), stoi_score(made, clean, rate)
        rows.append((items.kind(index), quality.item(), clear.item(), gain.item()))
        if progress is not None:
            progress(len(rows), len(items))
    values = np.array([row[1:] for row in rows])
    kinds = sorted({row[0] for row in rows})
    by_noise = {kind: values[[row[0] == kind for row in rows]].mean(0) for kind in kinds}
    return Scores(
        items=len(rows),
        pesq=float(values[:, 0].mean()),
        stoi=float(values[:, 1].mean()),
        si_snri=float(values[:, 2].mean()),
        pesq_by_noise={kind: float(means[0]) for kind, means in by_noise.items()},
        stoi_by_noise={kind: float(means[1]) for kind, means in by_noise.items()},
    )


def libri8k_noisy(root: Path) -> MadeNoisy:
    """Return the frozen items."""
    config = EnhancerConfig(sample_rate=8000)
    split = EnhancementDataset(EnhancementData(root=root), config).test(seed=0)
    assert isinstance(split, MadeNoisy)
    return split


def main() -> None:
    """Print a line of JSON per system."""
    parser = argparse.ArgumentParser(prog="python -m mamba_audio.enhancement.benchmark")
    parser.add_argument("systems", nargs="+", help="noisy, subtraction, or a saved model's folder")
    parser.add_argument("--root", type=Path, required=True, help="folder of libri8k")
    given = parser.parse_args()
    items = libri8k_noisy(given.root)
    for name in given.systems:
        system = find_system(name)
        with terminal_progress() as show:
            report = None if show is None else partial(show, name)
            scores = score(system, items, progress=report)
        print(json.dumps({"system": name, **asdict(scores)}), flush=True)


if __name__ == "__main__":
    main()
