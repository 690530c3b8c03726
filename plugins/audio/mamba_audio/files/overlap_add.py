"""From separated chunks to whole tracks: same voice on the same track, right level, no seams."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

_SPECTRUM = 256
"""Samples per frame of the spectra that stand in where an overlap is silent."""
_QUIET = 1e-4
"""An overlap whose power is this small against the tracks' (-40 dB) says nothing of the order."""


def triangle(samples: int) -> Tensor:
    """Return weights that rise to the middle and fall, all above 0, ``(samples,)``."""
    ramp = torch.arange(1, samples + 1, dtype=torch.float32)
    return torch.minimum(ramp, ramp.flip(0))


def chunk_starts(total: int, chunk: int, hop: int) -> Iterator[int]:
    """Yield the start of each chunk; the last one ends with the signal.

    :raises ValueError: for a hop that leaves gaps.
    """
    if not 0 < hop <= chunk:
        raise ValueError(f"hop = {hop} must lie in 1 .. chunk = {chunk}: chunks must touch")
    start = 0
    yield start
    while start + chunk < total:
        start += hop
        yield start


class OverlapAdd:
    """Add weighted chunks and divide by the sum of the weights, keeping one chunk in memory.

    :param tracks: number of signals.
    :param chunk: samples of a chunk; the last may be shorter.
    :param hop: samples from chunk to chunk.
    """

    def __init__(self, tracks: int, chunk: int, hop: int) -> None:
        self.hop = hop
        self._sum = torch.zeros(tracks, chunk)
        self._weight = torch.zeros(chunk)

    def overlap(self) -> Tensor:
        """Return what the next chunk will be laid over, ``(tracks, samples)``."""
        held = int((self._weight > 0).sum())
        return self._sum[:, :held] / self._weight[:held]

    def add(self, chunk: Tensor, *, last: bool) -> Tensor:
        """Lay a chunk over the held samples.

        :param chunk: ``(tracks, samples)``.
        :param last: True for the chunk that ends the signal.
        :returns: the samples that no later chunk changes, ``(tracks, hop)``; all for the last.
        """
        samples = chunk.shape[-1]
        weight = triangle(samples)
        self._sum[:, :samples] += chunk * weight
        self._weight[:samples] += weight
        ready = samples if last else self.hop
        finished = self._sum[:, :ready] / self._weight[:ready]
        self._sum = _shifted(self._sum, ready)
        self._weight = _shifted(self._weight, ready)
        return finished


def _shifted(held: Tensor, by: int) -> Tensor:
    return torch.cat([held[..., by:], torch.zeros_like(held[..., :by])], dim=-1)


class TrackOrder:
    """Keep every voice on its track from chunk to chunk.

    A chunk's estimates are compared with the tracks where both overlap, by normalised
    correlation. An overlap in which a track pauses says nothing of that track; when all pause,
    the long-term spectra of the voices decide.
    """

    def __init__(self) -> None:
        self._spectra: Tensor | None = None

    def __call__(self, estimates: Tensor, overlap: Tensor) -> Tensor:
        """Reorder a chunk.

        :param estimates: ``(tracks, samples)``.
        :param overlap: the tracks' samples at the chunk's start, ``(tracks, overlap)``.
        :returns: the estimates in the tracks' order.
        """
        spectra = _spectra(estimates)
        if self._spectra is None:
            self._spectra = spectra
            return estimates
        reference = max(float(estimates.square().mean()), 1e-20)
        score = _correlation(overlap, estimates[:, : overlap.shape[-1]], _QUIET * reference)
        if score.abs().max() < 0.1:
            score = _likeness(self._spectra, spectra)
        order = _best_order(score)
        self._spectra = self._spectra + spectra[order]
        return estimates[order]


def _best_order(score: Tensor) -> list[int]:
    """The permutation with the largest sum of ``score[track, estimate]``."""
    return linear_sum_assignment(score.numpy(), maximize=True)[1].tolist()


def _correlation(tracks: Tensor, estimates: Tensor, floor: float) -> Tensor:
    """Correlation of every track with every estimate, ``(tracks, estimates)``, 0 for silence."""
    floor = max(floor * tracks.shape[-1], 1e-20)
    norms = tracks.square().sum(-1)[:, None] * estimates.square().sum(-1)
    return tracks @ estimates.T / (norms.sqrt() + floor)


def _spectra(waves: Tensor) -> Tensor:
    """Mean power per frequency, ``(tracks, bins)``."""
    samples = waves.shape[-1]
    if samples < _SPECTRUM:
        waves = torch.nn.functional.pad(waves, (0, _SPECTRUM - samples))
    frames = waves.unfold(-1, _SPECTRUM, _SPECTRUM) * torch.hann_window(_SPECTRUM)
    return torch.fft.rfft(frames).abs().square().mean(1)


def _likeness(one: Tensor, other: Tensor) -> Tensor:
    """Cosine of mean-free log spectra, ``(tracks, estimates)``."""
    a, b = ((x + 1e-10).log() for x in (one, other))
    a, b = (x - x.mean(-1, keepdim=True) for x in (a, b))
    return torch.nn.functional.cosine_similarity(a[:, None], b[None], dim=-1)
