"""Two voices at once, separated by the trained model that comes with mamba-audio.

    python examples/separate_two_voices.py [--out demo_output] [--no-picture]

Adds the two recordings in ``examples/audio``, separates the mixture, writes both voices, says by
how many dB each is clearer than in the mixture, and draws what happened.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from mamba_audio.separation.objective import best_pairing, paired, si_snr
from mamba_core import registry

VOICES = [Path(__file__).parent / "audio" / f"voice_{k}.flac" for k in (1, 2)]


def make_mixture(out: Path) -> tuple[Path, np.ndarray, int]:
    """Write the sum of both voices; return its path, the voices ``(2, samples)``, the rate."""
    read = [sf.read(path, dtype="float32") for path in VOICES]
    samples = min(len(wave) for wave, _ in read)
    sources = np.stack([wave[:samples] for wave, _ in read])
    out.mkdir(parents=True, exist_ok=True)
    path = out / "mixture.wav"
    sf.write(path, sources.sum(0), read[0][1], subtype="FLOAT")
    return path, sources, read[0][1]


def match(stems: list[str], sources: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Return the estimates in the order of the voices, and the improvement of each in dB."""
    estimates = torch.from_numpy(np.stack([sf.read(p, dtype="float32")[0] for p in stems]))
    voices = torch.from_numpy(sources)
    _, pairing = best_pairing(estimates[None], voices[None])
    estimates = paired(estimates[None], pairing)[0]
    gain = si_snr(estimates, voices) - si_snr(voices.sum(0), voices)
    return estimates.numpy(), gain.tolist()


def draw(path: Path, sources: np.ndarray, estimates: np.ndarray, rate: int) -> None:
    """Draw mixture, estimates and true voices, each as waveform and spectrogram."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = [("mixture", sources.sum(0))]
    for k, (estimate, source) in enumerate(zip(estimates, sources, strict=True), start=1):
        rows += [(f"estimate {k}", estimate), (f"voice {k}", source)]
    figure, axes = plt.subplots(len(rows), 2, figsize=(12, 9), sharex=True, layout="constrained")
    top = max(np.abs(wave).max() for _, wave in rows)
    floor = np.random.default_rng(0).normal(scale=1e-6, size=sources.shape[-1])  # log of no 0
    for (name, wave), (left, right) in zip(rows, axes, strict=True):
        left.plot(np.arange(len(wave)) / rate, wave, linewidth=0.4)
        left.set(ylabel=name, ylim=(-top, top))
        right.specgram(wave + floor, NFFT=256, Fs=rate, noverlap=192, vmin=-110, vmax=-40)
        right.set(ylabel="Hz")
    for axis in axes[-1]:
        axis.set(xlabel="seconds")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    """Run the demo; the exit code is 1 when a voice did not become clearer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="folder for results")
    parser.add_argument("--no-picture", action="store_true", help="do without matplotlib")
    given = parser.parse_args()

    mixture, sources, rate = make_mixture(given.out)
    separator = registry.predictor("audio-sep")
    (row,) = separator.run([mixture], given.out, overwrite=True)
    estimates, gains = match(row["outputs"], sources)
    for stem in row["outputs"]:
        print(f"wrote {stem}")
    if not given.no_picture:
        draw(given.out / "two_voices.png", sources, estimates, rate)
        print(f"wrote {given.out / 'two_voices.png'}")
    for voice, gain in zip(VOICES, gains, strict=True):
        print(f"{voice.stem}: SI-SNR improvement {gain:+.2f} dB")
    if min(gains) <= 0:
        print("a voice is not clearer than in the mixture", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
