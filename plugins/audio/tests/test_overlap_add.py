"""Chunks put together again: no seams, no swapped voices, the right levels."""

from __future__ import annotations

import math

import pytest
import torch

from mamba_audio.files.levels import LevelFit
from mamba_audio.files.overlap_add import OverlapAdd, TrackOrder, chunk_starts

CHUNK = 48


def _through(wave, hop, order=None, mangle=lambda tracks, index: tracks):
    """Cut, mangle each chunk, put together."""
    total = wave.shape[-1]
    adder = OverlapAdd(len(wave), CHUNK, hop)
    order = order or (lambda tracks, overlap: tracks)
    blocks = []
    for index, start in enumerate(chunk_starts(total, CHUNK, hop)):
        stop = min(start + CHUNK, total)
        tracks = order(mangle(wave[:, start:stop], index), adder.overlap())
        blocks.append(adder.add(tracks, last=stop == total))
    return torch.cat(blocks, dim=-1)


@pytest.mark.parametrize("hop", [CHUNK // 2, CHUNK // 3, CHUNK // 4, 17, 1, CHUNK])
@pytest.mark.parametrize("total", [1, 16, CHUNK - 1, CHUNK, CHUNK + 1, 500])
def test_identity_gives_the_input(hop, total):
    wave = torch.randn(2, total)
    torch.testing.assert_close(_through(wave, hop), wave, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("hop", [0, CHUNK + 1])
def test_a_hop_with_gaps_is_refused(hop):
    with pytest.raises(ValueError, match=f"hop = {hop}"):
        list(chunk_starts(100, CHUNK, hop))


def _two_voices(samples):
    """A low and a high tone complex with syllables, in turns silent."""
    time = torch.arange(samples) / 8000
    low = sum(torch.sin(2 * math.pi * 110 * k * time) / k for k in range(1, 8))
    high = sum(torch.sin(2 * math.pi * 320 * k * time) / k for k in range(1, 8))
    return torch.stack([low, high]) * (1.1 + torch.sin(2 * math.pi * 3 * time))


@pytest.mark.parametrize("pause", ["none", "one", "both", "all through"])
def test_swapped_chunks_are_put_right(pause):
    chunk, hop, chunks = 4000, 3000, 10
    wave = _two_voices(hop * (chunks - 1) + chunk)
    if pause == "one":
        wave[0, 9000:10000] = 0
    elif pause == "both":
        wave[:, 9000:10000] = 0  # a whole overlap: only the voices themselves can tell
    elif pause == "all through":
        wave[:, 9000:13000] = 0  # a whole chunk
    swaps = torch.rand(chunks, generator=torch.Generator().manual_seed(1)) < 0.5
    assert 0 < swaps.sum() < chunks
    adder, order, blocks = OverlapAdd(2, chunk, hop), TrackOrder(), []
    for index, start in enumerate(chunk_starts(wave.shape[-1], chunk, hop)):
        tracks = wave[:, start : start + chunk]
        tracks = tracks.flip(0) if swaps[index] else tracks
        blocks.append(adder.add(order(tracks, adder.overlap()), last=index == chunks - 1))
    result = torch.cat(blocks, dim=-1)
    expected = wave.flip(0) if swaps[0] else wave
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def _fitted(estimates, mixture, pieces=(1000, 1, 2999)):
    fit = LevelFit(len(estimates))
    for part, target in zip(estimates.split(pieces, 1), mixture.split(pieces), strict=True):
        fit.add(part, target)
    return estimates * fit.gains()[:, None]


@pytest.mark.parametrize("scale", [(300.0, 0.01), (-2.0, 3.0)])
def test_levels_and_signs_are_those_of_the_mixture(scale):
    sources = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    fitted = _fitted(sources * torch.tensor(scale)[:, None], sources.sum(0))
    torch.testing.assert_close(fitted, sources, rtol=1e-4, atol=1e-4)


def test_levels_are_the_least_squares_of_the_whole():
    estimates, mixture = torch.randn(3, 4000).double(), torch.randn(4000).double()
    expected = torch.linalg.lstsq(estimates.T, mixture[:, None]).solution[:, 0]
    fit = LevelFit(3)
    fit.add(estimates, mixture)
    torch.testing.assert_close(fit.gains().double(), expected, rtol=1e-5, atol=1e-6)


def test_levels_of_silence_and_of_one_wave_twice():
    silent, wave = torch.zeros(2, 4000), torch.randn(4000)
    assert not _fitted(silent, torch.zeros(4000)).any()
    assert not _fitted(silent, torch.ones(4000)).any()
    one_silent = _fitted(torch.stack([wave, silent[0]]), 3 * wave)
    torch.testing.assert_close(one_silent[0], 3 * wave, rtol=1e-4, atol=1e-4)
    twice = _fitted(torch.stack([wave, wave]), 3 * wave)
    torch.testing.assert_close(twice.sum(0), 3 * wave, rtol=1e-3, atol=1e-3)
