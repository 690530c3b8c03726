"""A page that plays and shows what systems make of a few test mixtures.

    python -m mamba_audio.separation.listen --root FOLDER_OF_LIBRI8K --out page \\
        ours=default conv_tasnet_1m oracle=psm

Systems are those of ``benchmark.py``, under a name of your own; the first is the one that the
items are chosen by: its best, median, 10th percentile and worst. ``page/index.html`` opens in any
browser; beside it lie the sounds (FLAC) and spectrograms.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_audio.separation.benchmark import System, find_system, libri8k, progress_of
from mamba_audio.separation.data import FrozenMixtures, Sample
from mamba_audio.separation.metrics import si_snr_improvement
from mamba_audio.separation.objective import best_pairing, paired
from mamba_core.atomic import new_file, refuse_taken

PICKS = {"best": 1.0, "median": 0.5, "10th percentile": 0.1, "worst": 0.0}
"""Name of an item -> its place among all, by the first system's SI-SNRi."""
ATTRIBUTION = (
    "Speech: LibriSpeech (Panayotov, Chen, Povey, Khudanpur, 2015), CC BY 4.0; resampled to 8 kHz, "
    "cut, scaled, mixed, and separated by the systems named."
)


def pick(
    system: System,
    mixtures: FrozenMixtures,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Return the items of :data:`PICKS` by name.

    :param progress: called with the mixtures done and all there are.
    """
    gains: list[float] = []
    for index in range(len(mixtures)):
        batch = _batch(mixtures, index)
        estimates = system(batch)
        gains.append(si_snr_improvement(estimates, _like(batch, estimates)).item())
        if progress is not None:
            progress(len(gains), len(mixtures))
    order = np.argsort(gains)
    return {name: int(order[round(place * (len(order) - 1))]) for name, place in PICKS.items()}


def write_page(
    out: Path, systems: dict[str, System], mixtures: FrozenMixtures, items: dict[str, int]
) -> Path:
    """Write ``out/index.html`` and what it plays and shows.

    :param out: folder, which must not exist.
    :param systems: by name, in the order of the page.
    :param items: name -> index of a mixture.
    :returns: the page.
    :raises FileExistsError: when the folder is there.
    """
    out.mkdir(parents=True)
    parts = []
    for title, index in items.items():
        parts.append(f"<h2>Mixture {escape(mixtures.rows[index]['id'])}: {escape(title)}</h2>")
        parts += ["<table>", _HEAD]
        for name, gain, waves in _rows(systems, _batch(mixtures, index)):
            stem = f"{index}_{_plain(name)}"
            cells = _voices(out, stem, waves, mixtures.recordings.sample_rate)
            parts.append(f"<tr><th>{escape(name)}</th><td>{gain}</td>{''.join(cells)}</tr>")
        parts.append("</table>")
    page = out / "index.html"
    with new_file(page) as part:
        part.write_text(_PAGE.format(attribution=ATTRIBUTION, body="\n".join(parts)), "utf-8")
    return page


_HEAD = "<tr><th>system</th><th>SI-SNRi, dB</th><th>voice 1</th><th>voice 2</th></tr>"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Two voices apart</title><style>
body {{ font-family: sans-serif; margin: 2em }}
td, th {{ padding: .3em .8em; text-align: left; vertical-align: top }}
img, audio {{ display: block; width: 22em }}
</style></head><body>
<h1>Two voices apart</h1>
<p>SI-SNRi is the improvement over the mixture, the mean of both voices. {attribution}</p>
{body}
</body></html>
"""


def _rows(systems: dict[str, System], batch: Sample) -> Iterator[tuple[str, str, Tensor]]:
    """Name, improvement as text, and waves ``(voices, samples)`` in the order of the sources."""
    yield "mixture", "0.00", batch["mixture"]
    yield "true voices", "", batch["sources"][0]
    for name, system in systems.items():
        estimates = system(batch)
        like = _like(batch, estimates)
        gain = si_snr_improvement(estimates, like).item()
        _, pairing = best_pairing(estimates, like["sources"])
        yield name, f"{gain:.2f}", paired(estimates, pairing)[0]


def _voices(out: Path, stem: str, waves: Tensor, rate: int) -> Iterator[str]:
    """Write a sound and a spectrogram per voice, at the level of the loudest; yield the cells."""
    peak = max(float(waves.abs().max()), 1e-9)
    for number, wave in enumerate(waves.float().numpy(), start=1):
        name = f"{stem}_{number}"
        sf.write(out / f"{name}.flac", 0.9 * wave / peak, rate)
        _draw(out / f"{name}.png", 0.9 * wave / peak, rate)
        yield (
            f'<td><audio controls src="{name}.flac"></audio>'
            f'<img src="{name}.png" alt="spectrogram"></td>'
        )


def _draw(path: Path, wave: NDArray[np.float32], rate: int) -> None:
    from matplotlib.figure import Figure  # not pyplot: no display and no global state

    figure = Figure(figsize=(5, 2), layout="constrained")
    axis = figure.subplots()
    quiet = np.random.default_rng(0).normal(scale=1e-6, size=len(wave))  # no log of 0
    axis.specgram(wave + quiet, NFFT=256, Fs=rate, noverlap=192, vmin=-110, vmax=-30)
    axis.set(xlabel="s", ylabel="Hz")
    figure.savefig(path, dpi=80)


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


def named(words: Sequence[str]) -> dict[str, str]:
    """Return systems by name: ``name=system``, or the system alone, called as it ends.

    :raises ValueError: when two would have one name.
    """
    found: dict[str, str] = {}
    taken = {_plain("mixture"), _plain("true voices")}
    for word in words:
        name, given, system = word.partition("=")
        if not given:
            name, system = Path(word).name, word
        if _plain(name) in taken:
            raise ValueError(
                f"{word}: the name {name!r} is taken: each system needs one of its own, write "
                "name=system"
            )
        taken.add(_plain(name))
        found[name] = system
    return found


def _batch(mixtures: FrozenMixtures, index: int) -> Sample:
    return {name: value[None] for name, value in mixtures.sample(0, index).items()}


def _like(batch: Sample, estimates: Tensor) -> Sample:
    return {name: value.to(estimates.dtype) for name, value in batch.items()}


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m mamba_audio.separation.listen")
    parser.add_argument(
        "systems", nargs="+", help="NAME=SYSTEM, a system being irm, ibm, psm, weights or a folder"
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of libri8k")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the page")
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        refuse_taken([given.out], overwrite=False)
        systems = {name: find_system(system) for name, system in named(given.systems).items()}
    except (ValueError, OSError) as error:
        parser.error(str(error))
    mixtures = libri8k(given.root)
    first = next(iter(systems))
    with progress_of(first) as show:
        items = pick(systems[first], mixtures, show)
    print(write_page(given.out, systems, mixtures, items))


if __name__ == "__main__":
    main()
