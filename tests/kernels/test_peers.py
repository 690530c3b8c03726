"""Agreement with what others ship: the slow paths of transformers, mambapy's scan where there."""

from __future__ import annotations

import pytest
import torch
from kernel_cases import Draw, conv_call, scan_call, ssd_call

from mamba_kernels import ops

DRAW = Draw(torch.float32)


def close(have, want):
    torch.testing.assert_close(have, want, rtol=1e-4, atol=2e-5)


@pytest.fixture(scope="module")
def mamba():
    return pytest.importorskip("transformers.models.mamba.modeling_mamba")


@pytest.fixture(scope="module")
def mamba2():
    return pytest.importorskip("transformers.models.mamba2.modeling_mamba2")


def with_gradients(function, tensors):
    leaves = [t.clone().requires_grad_() for t in tensors]
    out = function(*leaves)
    weight = torch.linspace(-1, 1, out.numel()).view_as(out)
    return [out.detach(), *torch.autograd.grad((out * weight).sum(), leaves)]


def test_selective_scan_is_that_of_transformers(mamba):
    call = scan_call(DRAW, length=33, initial=False)
    names = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")
    tensors = [call[n] for n in names]
    ours = with_gradients(lambda *t: ops.selective_scan(*t, delta_softplus=True), tensors)
    theirs = with_gradients(lambda *t: mamba.mamba_selective_scan(*t, delta_softplus=True), tensors)
    for have, want in zip(ours, theirs, strict=True):
        close(have, want)
    _, last = ops.selective_scan(*tensors, delta_softplus=True, return_last_state=True)
    close(last, mamba.mamba_selective_scan(*tensors, True, True)[1])


@pytest.mark.parametrize("chunk", [8, 64])
def test_ssd_is_that_of_transformers(mamba2, chunk):
    call = ssd_call(DRAW, length=33, gate=False, limit=(0.1, 0.9))
    names = ("x", "dt", "A", "B", "C", "D", "dt_bias", "initial_states")

    def ours(x, dt, A, B, C, D, dt_bias, initial):
        return ops.ssd(
            x, dt, A, B, C, chunk, D, dt_bias=dt_bias, dt_softplus=True, dt_limit=(0.1, 0.9),
            initial_states=initial,
        )  # fmt: skip

    def theirs(x, dt, A, B, C, D, dt_bias, initial):
        return mamba2.mamba2_chunk_scan(
            x, dt, A, B, C, chunk_size=chunk, D=D, z=None, dt_bias=dt_bias, dt_softplus=True,
            dt_limit=(0.1, 0.9), initial_states=initial, return_final_states=False,
        )  # fmt: skip

    tensors = [call[n] for n in names]
    for have, want in zip(
        with_gradients(ours, tensors), with_gradients(theirs, tensors), strict=True
    ):
        close(have, want)


def test_convolution_is_that_of_transformers(mamba):
    call = conv_call(DRAW, length=17, initial=False)
    tensors = [call[n] for n in ("x", "weight", "bias")]
    ours = with_gradients(lambda *t: ops.causal_conv1d(*t, activation="silu"), tensors)
    theirs = with_gradients(lambda *t: mamba.causal_conv1d_fn(*t, activation="silu"), tensors)
    for have, want in zip(ours, theirs, strict=True):
        close(have, want)


def test_conv_update_is_that_of_transformers(mamba):
    weight, bias, state = DRAW.normal(5, 4), DRAW.normal(5), DRAW.normal(2, 5, 4)
    other = state.clone()
    for _ in range(3):
        x = DRAW.normal(2, 5, 1)
        ours = ops.causal_conv1d_update(x, state, weight, bias, activation="silu")
        close(ours, mamba.causal_conv1d_update(x, other, weight, bias, activation="silu"))
    close(state, other)


def test_state_update_is_that_of_transformers(mamba):
    state, A = DRAW.normal(2, 6, 5), -DRAW.between(0.5, 2, 6, 5)
    x, dt, z = (DRAW.normal(2, 6) for _ in range(3))
    B, C, D, bias = DRAW.normal(2, 5), DRAW.normal(2, 5), DRAW.normal(6), DRAW.normal(6)
    other = state.clone()
    ours = ops.selective_state_update(state, x, dt, A, B, C, D, z, bias, dt_softplus=True)
    theirs = mamba.mamba_selective_state_update(
        other, x, dt, A, B, C, D=D, z=z, dt_bias=bias, dt_softplus=True
    )
    close(ours, theirs)
    close(state, other)


@pytest.mark.parametrize("group_size", [4, 8])
def test_gated_norm_is_that_of_transformers(mamba2, group_size):
    norm = mamba2.MambaRMSNormGated(8, group_size=group_size, eps=1e-5)
    torch.nn.init.normal_(norm.weight)
    x, z = DRAW.normal(2, 5, 8), DRAW.normal(2, 5, 8)
    close(ops.rms_norm_gated(x, norm.weight, z=z, group_size=group_size), norm(x, z))


def test_selective_scan_is_that_of_mambapy():
    pscan = pytest.importorskip("mambapy.pscan").pscan
    call = scan_call(DRAW, length=16, skip=False, gate=False, bias=False, initial=False)
    u, dt, A, B, C = (call[n] for n in ("u", "delta", "A", "B", "C"))
    step = torch.nn.functional.softplus(dt).transpose(1, 2)
    decay = torch.exp(step[..., None] * A)
    inputs = (step * u.transpose(1, 2))[..., None] * B.transpose(1, 2)[:, :, None]
    states = pscan(decay, inputs)
    theirs = (states @ C.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)
    close(ops.selective_scan(u, dt, A, B, C, delta_softplus=True), theirs)
