"""VMamba's mixer against the recurrence written out in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mamba_core import scan_orders
from mamba_vision.backbones.ss2d import SS2D


def written_out(mixer, x, shape):
    """Token by token, path by path; x ``(B, L, D)``."""
    inner, *gate = mixer.in_proj(x).chunk(2 if mixer.gated else 1, dim=-1)
    grid = inner.transpose(1, 2).unflatten(2, shape)
    inner = F.silu(mixer.conv2d(grid)).flatten(2).transpose(1, 2)
    total = torch.zeros_like(inner)
    order = scan_orders.get(mixer.order.name)(shape)
    for k, path in enumerate(mixer.paths):
        dt, b, c = path.x_proj(inner).split(path.widths, dim=-1)
        dt = F.softplus(dt @ path.dt_proj.weight.T + path.dt_proj.bias)
        h = torch.zeros(len(x), inner.shape[-1], b.shape[-1], dtype=x.dtype)
        for token in order[k].tolist():
            if token < 0:
                continue
            step, u = dt[:, token, :, None], inner[:, token, :, None]
            h = torch.exp(step * path.A) * h + step * u * b[:, token, None]
            total[:, token] += (h * c[:, token, None]).sum(-1) + mixer.D[k] * inner[:, token]
    y = mixer.out_norm(total)
    return mixer.out_proj(y * F.silu(gate[0]) if gate else y)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 4)])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"d_state": 3, "gated": True, "conv_bias": True},
        {"scan_order": "atrous", "expand": 1},
        {"scan_order": "hilbert+serpentine:reverse"},
    ],
    ids=["noz", "vanilla", "atrous", "two-paths"],
)
def test_is_the_recurrence(shape, fields):
    mixer = SS2D(8, **fields).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        x = torch.randn(2, shape[0] * shape[1], 8, dtype=torch.float64)
        expected = written_out(mixer, x, shape)
        torch.testing.assert_close(mixer(x, shape=shape), expected, atol=1e-10, rtol=1e-8)


def test_refuses_what_it_cannot_read():
    with pytest.raises(ValueError, match="d_conv=2 must be odd"):
        SS2D(8, d_conv=2)
    with pytest.raises(ValueError, match="paths over the whole grid"):
        SS2D(8, scan_order="raster|raster:T")
