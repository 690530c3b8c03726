"""What every mixer promises: streaming, packing, independence, and the field's names."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamba_core.mixers import Attention, Mamba1, Mamba2, MixerState, build_mixer
from mamba_core.mixers.initial import a_complex, zero_linear_biases

D = 16
CASES = {
    "mamba1": lambda: Mamba1(D, d_state=4),
    "mamba1-complex": lambda: Mamba1(D, d_state=4, A_init="s4d-lin"),
    "mamba2": lambda: Mamba2(D, d_state=8, headdim=8, ngroups=2),
    "mamba2-mlp": lambda: Mamba2(D, d_state=8, headdim=8, d_ssm=16, rmsnorm=False),
    "mamba2-limits": lambda: Mamba2(D, d_state=5, headdim=8, dt_limit=(0.01, 0.2), D_has_hdim=True),
    "attention": lambda: Attention(D, num_heads=4, num_heads_kv=2),
}


@pytest.fixture(params=CASES)
def mixer(request):
    torch.manual_seed(0)
    return CASES[request.param]().double().eval()


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def stream(mixer, x, cuts):
    """Feed ``x`` in pieces; a piece of one token goes through step."""
    state, out = mixer.init_state(x.shape[0]), []
    bounds = [0, *cuts, x.shape[1]]
    for start, stop in pairwise(bounds):
        if stop - start == 1:
            y, state = mixer.step(x[:, start], state)
            out.append(y[:, None])
        else:
            y, state = mixer.prefill(x[:, start:stop], state)
            out.append(y)
    return torch.cat(out, 1), state


@settings(max_examples=8, deadline=None)
@given(cuts=st.sets(st.integers(1, 12), max_size=6).map(sorted))
@pytest.mark.parametrize("name", CASES)
def test_any_split_into_prefill_and_steps_is_one_call(name, cuts):
    torch.manual_seed(0)
    mixer = CASES[name]().double().eval()
    x = torch.randn(2, 13, D, dtype=torch.float64)
    whole, last = mixer.prefill(x, mixer.init_state(2))
    close(mixer(x), whole)
    pieces, state = stream(mixer, x, cuts)
    close(pieces, whole)
    for name_, tensor in last.flatten().items():
        close(state.flatten()[name_], tensor)


def test_packed_is_separate_with_gradients(mixer):
    lengths = [5, 1, 7]
    x = torch.randn(1, 13, D, dtype=torch.float64, requires_grad=True)
    cu = torch.tensor([0, 5, 6, 13], dtype=torch.int32)
    packed = mixer(x, cu_seqlens=cu)
    weight = torch.randn_like(packed)
    (gradient,) = torch.autograd.grad((packed * weight).sum(), x)
    separate = torch.cat([mixer(part) for part in x.split(lengths, 1)], 1)
    close(packed, separate)
    (expected,) = torch.autograd.grad((separate * weight).sum(), x)
    close(gradient, expected)


def test_packed_prefill_keeps_one_state_row_per_sequence(mixer):
    x = torch.randn(1, 9, D, dtype=torch.float64)
    cu = torch.tensor([0, 4, 9], dtype=torch.int32)
    y, state = mixer.prefill(x, mixer.init_state(2), cu_seqlens=cu)
    more = torch.randn(2, D, dtype=torch.float64)
    after, _ = mixer.step(more, state)
    for row, (start, stop) in enumerate([(0, 4), (4, 9)]):
        alone, own = mixer.prefill(x[:, start:stop], mixer.init_state(1))
        close(y[:, start:stop], alone)
        close(after[row : row + 1], mixer.step(more[row : row + 1], own)[0])


def test_batch_items_are_independent(mixer):
    x = torch.randn(3, 6, D, dtype=torch.float64)
    together = mixer(x)
    x[0] = float("nan")
    close(mixer(x)[1:], together[1:])


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_packed_sequence(causal, value):
    """With gradients; within its sequence it is seen as far as the mixer looks."""
    cases = dict(CASES) if causal else {"attention": lambda: Attention(D, causal=False)}
    cu = torch.tensor([0, 5, 6, 13], dtype=torch.int32)
    for name, make in cases.items():
        torch.manual_seed(0)
        mixer = make().double().eval()
        x = torch.randn(1, 13, D, dtype=torch.float64)
        clean = mixer(x, cu_seqlens=cu)
        x[0, 9] = value
        x.requires_grad_()
        y = mixer(x, cu_seqlens=cu)
        close(y[:, :6], clean[:, :6])
        assert not y[:, 9:].isfinite().all(-1).any(), name
        if name == "attention":
            assert bool(y[:, 6:9].isfinite().all()) == causal
        (gradient,) = torch.autograd.grad(y[:, :6].sum(), x)
        assert gradient[:, :6].isfinite().all(), name
        assert gradient[:, :6].any(), name


def test_future_tokens_do_not_change_the_past(mixer):
    x = torch.randn(1, 8, D, dtype=torch.float64)
    before = mixer(x)
    x[:, 5:] += 1
    close(mixer(x)[:, :5], before[:, :5])


def test_step_leaves_the_old_state_alone(mixer):
    _, state = mixer.prefill(torch.randn(2, 3, D, dtype=torch.float64), mixer.init_state(2))
    kept = {name: tensor.clone() for name, tensor in state.flatten().items()}
    mixer.step(torch.randn(2, D, dtype=torch.float64), state)
    for name, tensor in state.flatten().items():
        assert torch.equal(tensor, kept[name])


def test_state_select_reorders_and_survives_flattening(mixer):
    x = torch.randn(2, 4, D, dtype=torch.float64)
    _, state = mixer.prefill(x, mixer.init_state(2))
    turned = state.select(torch.tensor([1, 0, 1]))
    again = mixer.init_state(3).unflatten(turned.flatten())
    nxt = torch.randn(2, D, dtype=torch.float64)
    expected, _ = mixer.step(nxt, state)
    got, _ = mixer.step(nxt[[1, 0, 1]], again)
    close(got, expected[[1, 0, 1]])
    assert turned.nbytes > 0


def test_odd_lengths_and_one_token(mixer):
    for length in (1, 7, 65):
        assert mixer(torch.randn(1, length, D, dtype=torch.float64)).shape == (1, length, D)


def shapes(module):
    return {name: tuple(p.shape) for name, p in module.state_dict().items()}


def test_mamba1_has_mamba_ssm_keys_and_shapes():
    assert shapes(Mamba1(32, d_state=16, d_conv=4, expand=2)) == {
        "in_proj.weight": (128, 32),
        "conv1d.weight": (64, 1, 4),
        "conv1d.bias": (64,),
        "x_proj.weight": (2 + 32, 64),
        "dt_proj.weight": (64, 2),
        "dt_proj.bias": (64,),
        "A_log": (64, 16),
        "D": (64,),
        "out_proj.weight": (32, 64),
    }


def test_mamba2_has_mamba_ssm_keys_and_shapes():
    assert shapes(Mamba2(32, d_state=16, headdim=16, ngroups=2)) == {
        "in_proj.weight": (2 * 64 + 2 * 2 * 16 + 4, 32),
        "conv1d.weight": (64 + 64, 1, 4),
        "conv1d.bias": (128,),
        "dt_bias": (4,),
        "A_log": (4,),
        "D": (4,),
        "norm.weight": (64,),
        "out_proj.weight": (32, 64),
    }


def test_dt_bias_starts_in_its_range_and_survives_zeroed_biases():
    mixer = Mamba1(64)
    zero_linear_biases(mixer)
    dt = torch.nn.functional.softplus(mixer.dt_proj.bias)
    assert dt.min() >= 0.999e-4
    assert dt.max() <= 0.1001
    assert dt.std() > 0


@pytest.mark.parametrize("scheme", ["s4d-lin", "s4d-inv", "legs"])
def test_complex_schemes_start_at_their_closed_forms(scheme):
    a = a_complex(scheme, 16)
    assert a.shape == (8,)
    torch.testing.assert_close(a.real, torch.full((8,), -0.5))
    if scheme == "legs":  # S4D-Inv is the closed-form approximation of LegS' largest frequencies
        top, inv = a.imag.max(), a_complex("s4d-inv", 16).imag.max()
        assert abs(top - inv) / inv < 0.1
    Mamba1(16, A_init=scheme)(torch.randn(1, 3, 16)).sum().backward()


def test_state_space_constants_stay_float32_in_bf16():
    for mixer in (Mamba1(16), Mamba2(16, headdim=8)):
        mixer.to(torch.bfloat16)
        assert mixer.A_log.dtype == mixer.D.dtype == torch.float32
        assert mixer.in_proj.weight.dtype == torch.bfloat16
        y = mixer(torch.randn(1, 5, 16, dtype=torch.bfloat16))
        assert y.dtype == torch.bfloat16
        assert y.isfinite().all()
        assert mixer.double().A_log.dtype == torch.float64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mamba2(16, headdim=24), "headdim=24"),
        (lambda: Mamba2(16, headdim=16, ngroups=3), "ngroups=3"),
        (lambda: Mamba2(16, headdim=16, d_ssm=64), "d_ssm=64"),
        (lambda: Mamba1(16, d_state=5, A_init="legs"), "d_state=5"),
        (lambda: Attention(10, num_heads=4), "num_heads=4"),
        (lambda: Attention(8, num_heads=4, num_heads_kv=3), "num_heads_kv=3"),
    ],
)
def test_sizes_that_do_not_fit_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_attention_that_sees_the_future_cannot_stream():
    with pytest.raises(TypeError, match="cannot stream"):
        Attention(8, causal=False).init_state(1)


def test_build_mixer_checks_names_and_fields():
    from mamba_core.registry import ConfigError, MixerError

    assert isinstance(build_mixer({"name": "mamba2", "headdim": 8}, 16), Mamba2)
    with pytest.raises(MixerError, match="Did you mean 'mamba2'"):
        build_mixer("mamba_2", 16)
    with pytest.raises(ConfigError, match="d_state"):
        build_mixer({"name": "mamba1", "d_stat": 8}, 16)
    with pytest.raises(ConfigError, match="headdim=24"):
        build_mixer({"name": "mamba2", "headdim": 24}, 16)
    with pytest.raises(ValueError, match="not a mixer"):
        build_mixer(3, 16)


def test_state_moves_and_detaches():
    state = MixerState({"a": torch.ones(1, requires_grad=True) * 2}, (MixerState(),))
    assert not state.detach().tensors["a"].requires_grad
    assert state.to("cpu").tensors["a"].device.type == "cpu"
