"""A page that plays and shows what systems make of a few test mixtures.

    python -m mamba_audio.separation.listen --root FOLDER_OF_LIBRI8K --out docs/listen \\
        default RUN_OF_CONV_TASNET psm

Systems are those of ``benchmark.py``; the first is the one that the items are chosen by: its
best, median, 10th percentile and worst. Beside the page lie the sounds (FLAC) and spectrograms.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_audio.separation.benchmark import System, find_system, libri8k
from mamba_audio.separation.data import FrozenMixtures, Sample
from mamba_audio.separation.metrics import si_snr_improvement
from mamba_audio.separation.objective import best_pairing, paired

PICKS = {"best": 1.0, "median": 0.5, "10th percentile": 0.1, "worst": 0.0}
"""Name of an item -> its place among all, by the first system's SI-SNRi."""
ATTRIBUTION = (
    "Speech: LibriSpeech (Panayotov, Chen, Povey, Khudanpur, 2015), CC BY 4.0; resampled to 8 kHz, "
    "cut, scaled, mixed, and separated by the systems named."
)


def pick(system: System, mixtures: FrozenMixtures) -> dict[str, int]:
    """Return the items of :data:`PICKS` by name."""
    gains = []
    for index in range(len(mixtures)):
        batch = _batch(mixtures, index)
        estimates = system(batch)
        gains.append(si_snr_improvement(estimates, _like(batch, estimates)).item())
    order = np.argsort(gains)
    return {name: int(order[round(place * (len(order) - 1))]) for name, place in PICKS.items()}


def write_page(
    out: Path, systems: dict[str, System], mixtures: FrozenMixtures, items: dict[str, int]
) -> Path:
    """Write ``out/index.md`` and what it plays and shows.

    :param out: folder, which must not exist.
    :param systems: in the order of the page.
    :param items: name -> index of a mixture.
    :returns: the page.
    :raises FileExistsError: when the folder is there.
    """
    out.mkdir(parents=True)
    rate = mixtures.recordings.sample_rate
    lines = ["# Listen", "", f"Improvements are SI-SNRi in dB. {ATTRIBUTION}", ""]
    for title, index in items.items():
        batch = _batch(mixtures, index)
        lines += [f"## Mixture {mixtures.rows[index]['id']}: {title}", ""]
        lines += [
            "| system | SI-SNRi | voice 1 | voice 2 | spectra |",
            "|---|---|---|---|---|",
        ]
        rows: list[tuple[str, str, Tensor]] = [("mixture", "0.00", batch["mixture"])]
        rows.append(("true voices", "", batch["sources"][0]))
        for name, system in systems.items():
            estimates = system(batch)
            like = _like(batch, estimates)
            gain = si_snr_improvement(estimates, like).item()
            _, pairing = best_pairing(estimates, like["sources"])
            rows.append((name, f"{gain:.2f}", paired(estimates, pairing)[0]))
        for name, gain_text, waves in rows:
            stem = f"{index}_{_plain(name)}"
            players = _sounds(out, stem, waves, rate)
            _draw(out / f"{stem}.png", waves.float().numpy(), rate)
            cells = [escape(name), gain_text, *players, f"![{escape(name)}]({stem}.png)"]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    page = out / "index.md"
    page.write_text("\n".join(lines), encoding="utf-8")
    return page


def _sounds(out: Path, stem: str, waves: Tensor, rate: int) -> Sequence[str]:
    """Write one file per voice, at the level of the loudest, and return their players."""
    peak = max(float(waves.abs().max()), 1e-9)
    players = []
    for number, wave in enumerate(waves, start=1):
        name = f"{stem}_{number}.flac"
        sf.write(out / name, 0.9 * wave.float().numpy() / peak, rate)
        players.append(f'<audio controls src="{name}"></audio>')
    return players if len(players) > 1 else [*players, ""]


def _draw(path: Path, waves: NDArray[np.float32], rate: int) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        1, len(waves), figsize=(3 * len(waves), 2), squeeze=False, layout="constrained"
    )
    for axis, wave in zip(axes[0], waves, strict=True):
        quiet = np.random.default_rng(0).normal(scale=1e-6, size=len(wave))  # no log of 0
        axis.specgram(wave + quiet, NFFT=256, Fs=rate, noverlap=192, vmin=-110, vmax=-40)
        axis.set(xlabel="s", ylabel="Hz")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in Path(name).name)


def _batch(mixtures: FrozenMixtures, index: int) -> Sample:
    return {name: value[None] for name, value in mixtures.sample(0, index).items()}


def _like(batch: Sample, estimates: Tensor) -> Sample:
    return {name: value.to(estimates.dtype) for name, value in batch.items()}


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m mamba_audio.separation.listen")
    parser.add_argument("systems", nargs="+", help="irm, ibm, psm, weights, or a folder")
    parser.add_argument("--root", type=Path, required=True, help="folder of libri8k")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the page")
    given = parser.parse_args()
    torch.set_num_threads(1)
    mixtures = libri8k(given.root)
    systems = {name: find_system(name) for name in given.systems}
    items = pick(systems[given.systems[0]], mixtures)
    print(write_page(given.out, systems, mixtures, items))


if __name__ == "__main__":
    main()
