"""The counter of multiply-accumulates against closed forms written down here."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from mamba_audio.macs import count_macs, macs_per_second
from mamba_core import registry

RATE = 8000


def _conv_tasnet(n, b, h, x, r, length=16, kernel=3, sources=2):
    """Luo and Mesgarani's network, per frame: encoder, bottleneck, blocks, masks, decoders."""
    block = b * h + h * kernel + 2 * h * b
    return n * length + n * b + x * r * block + b * sources * n + sources * n * length


@pytest.mark.parametrize(
    ("preset", "letters", "published"),
    [
        ("conv_tasnet_tiny", (128, 64, 128, 6, 2), 0.33),
        ("conv_tasnet_1m", (256, 96, 256, 7, 2), 1.13),
        ("conv_tasnet_5m", (512, 128, 512, 8, 3), 4.98),
    ],
)
def test_conv_tasnet(preset, letters, published):
    with torch.device("meta"):
        model = registry.build("audio-sep", preset=preset)
    macs = macs_per_second(model, "mixture", RATE)
    assert macs == RATE // 8 * _conv_tasnet(*letters)
    assert macs / 1e9 == pytest.approx(published, abs=0.005)


def _mamba1(d, n=16, kernel=4, expand=2):
    """Two directions between shared projections; three products per number of state, and D."""
    inner, rank = expand * d, -(-d // 16)
    path = inner * kernel + inner * (rank + 2 * n) + rank * inner + inner * (3 * n + 1)
    return d * 2 * inner + inner * d + 2 * path


def _mamba2(d, n, kernel=4, expand=2, headdim=32):
    inner = expand * d
    path = (inner + 2 * n) * kernel + inner * (3 * n + 1)
    return d * (2 * inner + 2 * n + inner // headdim) + inner * d + 2 * path


@pytest.mark.parametrize("mixer", ["mamba1", "mamba2"])
def test_single_path(mixer):
    n, d, depth = 24, 32, 2
    network = {"filters": n, "d_model": d, "depth": depth}
    fields = {"name": mixer, "d_state": 8, **({"headdim": 32} if mixer == "mamba2" else {})}
    model = registry.build("audio-sep", preset="mamba_tasnet_xs", network=network, mixer=fields)
    layer = _mamba1(d, 8) if mixer == "mamba1" else _mamba2(d, 8)
    frame = 3 * 16 * n + n * d + depth * layer + d * 2 * n
    assert macs_per_second(model.eval(), "mixture", 1600) == 1600 // 8 * frame


def test_lstm_and_attention():
    lstm = nn.LSTM(6, 5, batch_first=True, bidirectional=True)

    class Wrapped(nn.Module):
        def forward(self, x):
            return lstm(x)[0]

    assert count_macs(Wrapped(), {"x": torch.zeros(2, 7, 6)}) == 2 * 7 * 2 * 4 * 5 * (6 + 5)

    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x)

    assert count_macs(Attention(), {"x": torch.zeros(1, 2, 9, 4)}) == 2 * 2 * 9 * 9 * 4


def test_a_form_without_attention_costs_the_same_at_every_length():
    network = {"kind": "time_frequency", "channels": 4, "depth": 1, "window": 2, "query": 32}
    costs = {}
    for heads in (0, 2):
        torch.manual_seed(0)
        model = registry.build(
            "audio-sep",
            preset="spmamba",
            kernel_size=32,
            stride=16,
            network={**network, "heads": heads},
        ).eval()
        counts = [count_macs(model, {"mixture": torch.zeros(1, 320 * k)}) for k in (1, 2, 3)]
        costs[heads] = [later - sooner for sooner, later in pairwise(counts)]
    assert costs[0][0] == costs[0][1]
    assert costs[2][0] < costs[2][1]
