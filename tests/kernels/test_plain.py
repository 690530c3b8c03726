"""The plain forms say what the ops say, and stay plain when exported."""

from __future__ import annotations

import pytest
import torch
from kernel_cases import RETURN_STATE, Draw
from test_torch import MAKE, ONLY, SHAPES, SMALL

from mamba_kernels import ops
from mamba_kernels.plain import plain_ops

REFUSED = {"packed", "segments", "complex"}
each_call = pytest.mark.parametrize(
    ("op", "shape"), [(op, shape) for op in MAKE for shape in sorted(ONLY[op])]
)


@each_call
def test_the_plain_form_says_what_the_op_says(op, shape):
    call = {**MAKE[op](Draw(torch.float64), **{**SMALL[op], **SHAPES[shape]}), **RETURN_STATE[op]}
    if shape in REFUSED:
        with plain_ops(), pytest.raises(NotImplementedError, match="no plain form with"):
            getattr(ops, op)(**call)
        return
    with torch.no_grad():
        wanted = getattr(ops, op)(**call)
        with plain_ops():
            found = getattr(ops, op)(**call)
    for have, want in zip(as_tuple(found), as_tuple(wanted), strict=True):
        torch.testing.assert_close(have, want, rtol=1e-10, atol=1e-11)


def as_tuple(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


def test_outside_the_operators_are_called_again():
    call = MAKE["rms_norm_gated"](Draw())
    with plain_ops():
        inside = torch.export.export(Norm(call), (call["x"],))
    outside = torch.export.export(Norm(call), (call["x"],))
    assert not any("mamba_kernels" in str(node.target) for node in inside.graph.nodes)
    assert any("mamba_kernels" in str(node.target) for node in outside.graph.nodes)


class Norm(torch.nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return ops.rms_norm_gated(**{**self.call, "x": x})


class Scans(torch.nn.Module):
    """Both scans along two orders made from the length."""

    def forward(self, x):
        steps = torch.arange(x.shape[-1])
        order = torch.stack([steps, steps.flip(0)])
        tokens = torch.stack([x, x.flip(-1)], 1)
        a, b = -torch.ones(4, 3), tokens[:, :, :3]
        y = ops.selective_scan(x, tokens, a, b, b, delta_softplus=True, order=order)
        heads = y.movedim(-1, -2).unflatten(-1, (2, 2))
        keys = b.movedim(-1, -2)[..., None, :]
        return ops.ssd(heads, heads[..., 0], a[:2, 0], keys, keys, 4, dt_softplus=True, order=order)


def test_an_exported_scan_is_one_loop_for_any_length():
    model, x = Scans(), torch.randn(2, 4, 5)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    with plain_ops(), torch.no_grad():
        program = torch.export.export(model, (x,), dynamic_shapes=({0: batch, 2: length},))
    assert not any("mamba_kernels" in str(node.target) for node in program.graph.nodes)
    assert len(program.graph.nodes) < 150
    for shape in ((2, 4, 5), (1, 4, 17)):
        x = torch.randn(shape)
        torch.testing.assert_close(program.module()(x), model(x), rtol=1e-4, atol=1e-5)
