"""The mixers of LocalMamba and of the hybrid, written out; windows that come back in place."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mamba_core import scan_orders
from mamba_vision.backbones.hybrid import SymmetricMixer, WindowStage
from mamba_vision.backbones.local_scan import LOCAL_ORDER, LocalScan


def recurrence(u, dt, A, B, C, D):
    """``(B, L, E)`` inputs, step sizes finished -> ``(B, L, E)``."""
    h, out = torch.zeros(len(u), u.shape[-1], B.shape[-1], dtype=u.dtype), []
    for t in range(u.shape[1]):
        h = torch.exp(dt[:, t, :, None] * A) * h + (dt * u)[:, t, :, None] * B[:, t, None]
        out.append((h * C[:, t, None]).sum(-1) + D * u[:, t])
    return torch.stack(out, dim=1)


def shaken(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.double()


@pytest.mark.parametrize("shape", [(7, 7), (4, 9)])
def test_local_scan_is_gated_paths(shape):
    """Each path: gather, convolution, recurrence, put back, gate z, gate by channel."""
    mixer = shaken(LocalScan(8, d_state=3))
    x = torch.randn(2, shape[0] * shape[1], 8, dtype=torch.float64)
    order = scan_orders.get(LOCAL_ORDER)(shape)
    inner, z = mixer.mixer.in_proj(x).chunk(2, dim=-1)
    total = torch.zeros_like(inner)
    for p, path in zip(order, [mixer.mixer, *mixer.others], strict=True):
        sequence = F.pad(inner[:, p].transpose(1, 2), (3, 0))
        u = F.silu(path.conv1d(sequence)).transpose(1, 2)
        dt, b, c = path.x_proj(u).split([1, 3, 3], dim=-1)
        dt = F.softplus(dt @ path.dt_proj.weight.T + path.dt_proj.bias)
        y = torch.empty_like(inner)
        y[:, p] = recurrence(u, dt, path.A, b, c, path.D)
        y = y * F.silu(z)
        gate = mixer.gate
        mean = gate.norm(y).mean(1, keepdim=True)
        total += y * gate.select(F.gelu(gate.reduce(mean))).sigmoid()
    torch.testing.assert_close(mixer(x, shape=shape), mixer.mixer.out_proj(total))


def test_local_scan_takes_whole_paths_only():
    with pytest.raises(ValueError, match="each read the whole grid"):
        LocalScan(8, scan_order="atrous")


def test_symmetric_mixer_is_scan_beside_convolution():
    mixer = shaken(SymmetricMixer(16, d_state=3))
    x = torch.randn(2, 11, 16, dtype=torch.float64)
    u, z = mixer.in_proj(x).chunk(2, dim=-1)
    convolved = []
    for tokens, conv in ((u, mixer.conv1d_x), (z, mixer.conv1d_z)):
        wide = F.pad(tokens, (0, 0, 1, 1))
        taps = [wide[:, k : k + 11] * conv.weight[:, 0, k] for k in range(3)]
        convolved.append(F.silu(sum(taps)))
    u, z = convolved
    dt, b, c = mixer.select.x_proj(u).split([1, 3, 3], dim=-1)
    dt = F.softplus(dt @ mixer.select.dt_proj.weight.T + mixer.select.dt_proj.bias)
    y = recurrence(u, dt, mixer.select.A, b, c, mixer.D)
    expected = mixer.out_proj(torch.cat([y, z], dim=-1))
    torch.testing.assert_close(mixer(x), expected)
    with pytest.raises(ValueError, match="packed"):
        mixer(x, cu_seqlens=torch.tensor([0, 11]))


class _Mean(nn.Module):
    """Every token of a window becomes the window's mean."""

    def forward(self, x):
        return x.mean(1, keepdim=True).expand_as(x)


@pytest.mark.parametrize(("height", "width", "window"), [(4, 6, 2), (5, 7, 3), (2, 3, 8)])
def test_windows_do_not_mix_and_come_back(height, width, window):
    grid = torch.randn(2, 3, height, width)
    assert torch.equal(WindowStage([nn.Identity()], window)(grid), grid)
    found = WindowStage([_Mean()], window)(grid)
    rows, columns = min(window, height), min(window, width)
    corner = grid[:, :, :rows, :columns].mean((2, 3))
    torch.testing.assert_close(found[:, :, 0, 0], corner)
    torch.testing.assert_close(found[:, :, rows - 1, columns - 1], corner)
