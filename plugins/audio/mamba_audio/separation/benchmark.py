"""The benchmark libri8k-2mix: any system on the 300 frozen mixtures, by one protocol.

    python -m mamba_audio.separation.benchmark --root ../shared/data/audio/libri8k ibm irm psm
    python -m mamba_audio.separation.benchmark --root ... default        # the shipped weights
    python -m mamba_audio.separation.benchmark --root ... FOLDER         # a saved model

The rows ``mixture, irm, ibm, psm`` know the sources. They say what is possible with masks on
short-time spectra, and their published values check this program itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mamba_audio.separation.config import SeparationData, SeparatorConfig
from mamba_audio.separation.data import FrozenMixtures, Sample, SeparationDataset
from mamba_audio.separation.metrics import ROUNDING_DB, sdr_improvement, si_snr_improvement
from mamba_audio.speech import read_csv
from mamba_core.cli.output import terminal_progress

System = Callable[[Sample], Tensor]
"""A batch with ``mixture`` (and ``sources``, for oracles) -> estimates ``(batch, sources, T)``."""

LOW_PITCH_HZ = 165
"""Speakers up to this median pitch form the group "low"."""
_WINDOW, _HOP = 256, 64
_TINY = 1e-12


@dataclass(frozen=True)
class Scores:
    """Statistics of one system over a test set; improvements over the mixture, in dB."""

    items: int
    si_snri: float
    """Mean over items of the mean over sources."""
    median: float
    p10: float
    """10th percentile: a tenth of the items is worse."""
    worst: float
    share_below_0db: float
    """Share of items that came out worse than the mixture, 0 to 1."""
    sdri: float | None
    """SDR with a 512-tap filter; None when it was not asked for."""
    groups: dict[str, float] = field(default_factory=dict)
    """SI-SNRi by the pitches of the two speakers: low/low, mixed, high/high."""


def oracle(kind: str) -> System:
    """Return an ideal mask on the spectrogram (Hann 256, hop 64, float64).

    :param kind: ``irm``: magnitude ratio |S| / sum |S|; ``ibm``: 1 for the loudest source;
        ``psm``: |S| / |X| times the cosine of their angle, within 0 and 1; ``mixture``: none.
    :raises ValueError: for another kind.
    """
    if kind not in _MASKS:
        raise ValueError(f"oracle {kind!r}: choose one of {', '.join(_MASKS)}")
    mask = _MASKS[kind]

    def separate(batch: Sample) -> Tensor:
        mixture, sources = batch["mixture"].double(), batch["sources"].double()
        x, s = _stft(mixture)[:, None], _stft(sources)
        return _istft(mask(s, x) * x, mixture.shape[-1])

    return separate


def _ratio(s: Tensor, x: Tensor) -> Tensor:
    return s.abs() / (s.abs().sum(1, keepdim=True) + _TINY)


def _binary(s: Tensor, x: Tensor) -> Tensor:
    return (s.abs() == s.abs().amax(1, keepdim=True)).to(s.real.dtype)


def _phase_sensitive(s: Tensor, x: Tensor) -> Tensor:
    return ((s * x.conj()).real / (x.abs().square() + _TINY)).clamp(0, 1)


def _all(s: Tensor, x: Tensor) -> Tensor:
    return torch.ones_like(s.real)


_MASKS = {"mixture": _all, "irm": _ratio, "ibm": _binary, "psm": _phase_sensitive}


def _stft(wave: Tensor) -> Tensor:
    window = torch.hann_window(_WINDOW, dtype=wave.dtype)
    spectra = torch.stft(wave.flatten(0, -2), _WINDOW, _HOP, window=window, return_complex=True)
    return spectra.unflatten(0, wave.shape[:-1])


def _istft(spectra: Tensor, samples: int) -> Tensor:
    window = torch.hann_window(_WINDOW, dtype=spectra.real.dtype)
    waves = torch.istft(spectra.flatten(0, -3), _WINDOW, _HOP, window=window, length=samples)
    return waves.unflatten(0, spectra.shape[:-2])


def trained(model: torch.nn.Module) -> System:
    """Return a model as a system; it sees the whole mixture at once, without the predictor."""
    device = next(model.parameters()).device

    @torch.inference_mode()
    def separate(batch: Sample) -> Tensor:
        return model(batch["mixture"].float().to(device))["estimates"].cpu()

    return separate


def score(
    system: System,
    mixtures: FrozenMixtures,
    *,
    pitch: dict[str, float] | None = None,
    sdr: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Run a system over frozen mixtures, one by one.

    :param pitch: speaker -> median pitch in Hz, to report groups by.
    :param sdr: compute SDRi too (most of the time of the oracles).
    :param progress: called with the mixtures done and all there are.
    """
    gains, distortions, groups = [], [], []
    for row, batch in zip(mixtures.rows, _batches(mixtures), strict=True):
        estimates = system(batch)
        like = {name: value.to(estimates.dtype) for name, value in batch.items()}
        gains.append(si_snr_improvement(estimates, like).item())
        if sdr:
            distortions.append(sdr_improvement(estimates, like).item())
        groups.append(_group(row, pitch) if pitch else "")
        if progress is not None:
            progress(len(gains), len(mixtures))
    values = np.array(gains)
    by_group = {g: float(values[[x == g for x in groups]].mean()) for g in sorted(set(groups)) if g}
    return Scores(
        items=len(values),
        si_snri=float(values.mean()),
        median=float(np.median(values)),
        p10=float(np.percentile(values, 10)),
        worst=float(values.min()),
        share_below_0db=float((values < -ROUNDING_DB).mean()),
        sdri=float(np.mean(distortions)) if sdr else None,
        groups=by_group,
    )


def _batches(mixtures: FrozenMixtures) -> Iterator[Sample]:
    for index in range(len(mixtures)):
        yield {name: value[None] for name, value in mixtures.sample(0, index).items()}


def _group(row: dict[str, str], pitch: dict[str, float]) -> str:
    low = [pitch[row[f"speaker{k}"]] <= LOW_PITCH_HZ for k in (1, 2)]
    return "low/low" if all(low) else "mixed" if any(low) else "high/high"


def speaker_pitch(path: Path) -> dict[str, float]:
    """Read the columns ``speaker`` and ``f0_hz`` of a list of speakers."""
    return {row["speaker"]: float(row["f0_hz"]) for row in read_csv(path)}


def libri8k(root: Path, config: SeparatorConfig | None = None) -> FrozenMixtures:
    """Return the 300 frozen mixtures; every hash is checked as they are read."""
    dataset = SeparationDataset(SeparationData(root=root), config or SeparatorConfig())
    split = dataset.test(seed=0)
    assert isinstance(split, FrozenMixtures)
    return split


def find_system(name: str, device: str = "cpu") -> System:
    """Return an oracle by name, the task's weights by name, or a saved model by folder."""
    if name in _MASKS:
        return oracle(name)
    from mamba_core import registry

    return trained(registry.build("audio-sep", weights=name).to(device).eval())


@contextmanager
def progress_of(name: str) -> Iterator[Callable[[int, int], None] | None]:
    """Give what shows on a terminal how far the measuring of a system is."""
    with terminal_progress() as show:
        yield None if show is None else partial(show, name)


def main() -> None:
    """Print a line of JSON per system."""
    parser = argparse.ArgumentParser(prog="python -m mamba_audio.separation.benchmark")
    parser.add_argument("systems", nargs="+", help="mixture, irm, ibm, psm, weights or a folder")
    parser.add_argument("--root", type=Path, required=True, help="folder of libri8k")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-sdr", action="store_true", help="leave SDRi out")
    given = parser.parse_args()
    pitch = speaker_pitch(given.root / "speakers_test.csv")
    mixtures = libri8k(given.root)
    for name in given.systems:
        system = find_system(name, given.device)
        with progress_of(name) as show:
            scores = score(system, mixtures, pitch=pitch, sdr=not given.no_sdr, progress=show)
        print(json.dumps({"system": name, **asdict(scores)}), flush=True)


if __name__ == "__main__":
    main()
