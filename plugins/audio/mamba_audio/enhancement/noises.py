"""Noise of stated kinds, a function of the generator alone: the same seed gives the same noise."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Noise = NDArray[np.float64]

NoiseKind = Literal["white", "pink", "hum", "modulated", "clicks", "babble"]
"""``white``: equal power per Hz. ``pink``: per octave. ``hum``: 50 or 60 Hz with harmonics, as of
mains. ``modulated``: white, rising and falling as syllables do. ``clicks``: short bursts at
random times. ``babble``: several other people, who talk at once."""

BABBLE_VOICES = 5


def make_noise(kind: NoiseKind, samples: int, rate: int, rng: np.random.Generator) -> Noise:
    """Return noise of one kind, ``(samples,)``, with rms 1.

    :param rate: sample rate in Hz.
    :raises ValueError: for ``babble``, which is made of speech, see ``data.py``.
    """
    if kind == "babble":
        raise ValueError("babble is made of speech: it has no formula")
    noise = _MAKERS[kind](samples, rate, rng)
    return noise / np.sqrt(np.mean(noise**2) + 1e-20)


def _white(samples: int, rate: int, rng: np.random.Generator) -> Noise:
    return rng.standard_normal(samples)


def _pink(samples: int, rate: int, rng: np.random.Generator) -> Noise:
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    bins = np.arange(len(spectrum))
    floor = max(round(20 * samples / rate), 1)  # below 20 Hz it would be all there is
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(bins, floor)), samples)


def _hum(samples: int, rate: int, rng: np.random.Generator) -> Noise:
    time = np.arange(samples) / rate
    base = rng.choice([50.0, 60.0])
    hum = np.zeros(samples)
    for k in range(1, min(20, int(rate / 2 // base))):
        hum += np.sin(2 * np.pi * (k * base * time + rng.random())) * rng.random() / k
    return hum


def _modulated(samples: int, rate: int, rng: np.random.Generator) -> Noise:
    time = np.arange(samples) / rate
    waves = [np.sin(2 * np.pi * (rng.uniform(2, 8) * time + rng.random())) for _ in range(3)]
    return rng.standard_normal(samples) * np.exp(sum(waves))


def _clicks(samples: int, rate: int, rng: np.random.Generator) -> Noise:
    noise = 1e-3 * rng.standard_normal(samples)
    length = max(rate // 200, 1)  # 5 ms, fading
    fade = np.exp(-np.arange(length) / (length / 5))
    for start in rng.integers(0, samples, size=max(round(8 * samples / rate), 1)):
        stop = min(start + length, samples)
        click = rng.standard_normal(length) * fade * rng.uniform(1, 4)
        noise[start:stop] += click[: stop - start]
    return noise


_MAKERS = {
    "white": _white,
    "pink": _pink,
    "hum": _hum,
    "modulated": _modulated,
    "clicks": _clicks,
}
