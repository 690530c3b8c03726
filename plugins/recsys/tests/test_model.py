"""The models: all positions at once, packed as alone, streams as read at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamba_core import registry
from mamba_core.registry import ConfigError
from mamba_core.testing import parametrize_task_checks
from mamba_recsys.ragged import edges

NETWORKS = ("tiny", "mamba_prenorm", "mamba2_packed", "tim4rec", "sasrec", "gru4rec", "hstu")


@parametrize_task_checks("rec-next")
def test_conformance(check):
    check()


def build(preset, **fields):
    torch.manual_seed(0)
    fields = {"items": 60, "d_model": 32, **fields}
    model = registry.build("rec-next", preset=preset, **fields)
    with torch.no_grad():  # loud enough for differences to show
        for parameter in model.parameters():
            if parameter.dim() > 1 and not getattr(parameter, "_no_reinit", False):
                parameter.mul_(2)
        model.item_embedding.weight.normal_()
    return model.eval()


def close(found, expected, msg=None):
    """To 1e-5 of the largest value: cosines over a temperature make large ones."""
    atol = 1e-5 * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=0, atol=atol, msg=msg)


def histories(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    total = sum(lengths)
    return {
        "items": torch.randint(60, (total,), generator=generator),
        "times": torch.arange(total, dtype=torch.float64) * 100,
        "cu_seqlens": edges(torch.tensor(lengths)),
    }


@pytest.mark.parametrize("preset", NETWORKS)
def test_packed_is_alone(preset):
    model = build(preset)
    batch = histories([5, 1, 17, 8])
    with torch.no_grad():
        together = model(**batch)["hidden"]
        for start, stop in ((0, 5), (5, 6), (6, 23), (23, 31)):
            rows = slice(start, stop)
            cu = torch.tensor([0, stop - start], dtype=torch.int32)
            alone = model(batch["items"][rows], batch["times"][rows], cu)["hidden"]
            close(together[rows], alone)


@pytest.mark.parametrize("preset", NETWORKS)
def test_later_events_change_nothing_before(preset):
    model = build(preset)
    batch = histories([20])
    changed = {**batch, "items": batch["items"].clone()}
    changed["items"][12:] = (changed["items"][12:] + 7) % 60
    with torch.no_grad():
        one, other = model(**batch)["hidden"], model(**changed)["hidden"]
    torch.testing.assert_close(one[:12], other[:12], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(one[12:], other[12:])


@pytest.mark.parametrize("preset", NETWORKS)
@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 6), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_states_are_the_same_however_histories_are_cut(preset, cuts, seed):
    model = build(preset)
    lengths = [sum(cuts), 9]
    batch = histories(lengths, seed)
    whole = model.read(**batch, state=model.init_state(2))
    state = model.init_state(2)
    done = [0, 0]
    for piece in cuts:
        other = min(2, 9 - done[1])
        parts = [(0, done[0], piece), (sum(cuts), done[1], other)]
        rows = torch.cat([torch.arange(base + at, base + at + n) for base, at, n in parts])
        cu = edges(torch.tensor([piece, other]))
        state = model.read(batch["items"][rows], batch["times"][rows], cu, state)
        done = [done[0] + piece, done[1] + other]
    rows = torch.arange(sum(cuts) + done[1], sum(lengths))
    state = model.read(
        batch["items"][rows], batch["times"][rows], edges(torch.tensor([0, len(rows)])), state
    )
    flat, expected = state.flatten(), whole.flatten()
    for name, value in flat.items():
        close(value, expected[name], name)


@pytest.mark.parametrize("registers", [0, 2])
@pytest.mark.parametrize("preset", NETWORKS)
def test_reading_says_what_forward_says(preset, registers):
    model = build(preset, registers=registers)
    for name, parameter in model.named_parameters():
        if name.endswith("slope"):
            torch.nn.init.constant_(parameter, 0.3)  # so that times count
    batch = histories([5, 1, 17])
    state = model.read(**batch, state=model.init_state(3))
    with torch.no_grad():
        hidden = model(**batch)["hidden"]
    last = hidden[batch["cu_seqlens"][1:].long() - 1]
    close(state.tensors["hidden"], last)
    assert state.tensors["count"].tolist() == [5, 1, 17]


def test_columns_are_read_alike_at_once_and_by_event():
    columns = {"categories": (4,), "numbers": 2}
    model = build("tiny", item_features=columns, event_features=columns)
    model.item_codes.copy_(torch.randint(5, (60, 1)))
    model.item_numbers.copy_(torch.randn(60, 2))
    batch = histories([5, 4])
    batch |= {"event_codes": torch.randint(5, (9, 1)), "event_numbers": torch.randn(9, 2)}
    state = model.read(**batch, state=model.init_state(2))
    with torch.no_grad():
        hidden = model(**batch)["hidden"]
        other = model(**{**batch, "event_codes": (batch["event_codes"] + 1) % 5})["hidden"]
    close(state.tensors["hidden"], hidden[[4, 8]])
    assert not torch.allclose(hidden, other, atol=1e-4)
    with pytest.raises(ValueError, match="give event_codes"):
        model(**histories([5, 4]))
    with pytest.raises(ValueError, match="2 categorical and 2 numeric columns"):
        model(**{**batch, "event_codes": torch.zeros(9, 2, dtype=torch.int64)})


@pytest.mark.parametrize("preset", ["sasrec", "hstu"])
def test_windows_forget_what_is_older(preset):
    kind = {"network": {"kind": preset, "max_length": 6}}
    model = build(preset, **kind)
    batch = histories([15])
    state = model.init_state(1)
    for k in range(15):
        cu = torch.tensor([0, 1], dtype=torch.int32)
        state = model.read(batch["items"][k : k + 1], batch["times"][k : k + 1], cu, state)
    with torch.no_grad():
        tail = histories([6]) | {"items": batch["items"][9:], "times": batch["times"][9:]}
        expected = model(**tail)["hidden"][-1]
    close(state.tensors["hidden"][0], expected)
    with pytest.raises(ValueError, match=r"15 events for network\.max_length = 6"):
        model(**batch)


def test_many_steps_do_not_drift():
    model = build("tiny")
    batch = histories([2000])
    whole = model.read(**batch, state=model.init_state(1))
    state = model.init_state(1)
    cu = torch.tensor([0, 1], dtype=torch.int32)
    for k in range(2000):
        state = model.read(batch["items"][k : k + 1], batch["times"][k : k + 1], cu, state)
    for name, value in state.flatten().items():
        torch.testing.assert_close(value, whole.flatten()[name], rtol=1e-3, atol=1e-4, msg=name)


def test_published_parameter_count():
    for items in (3416, 12101):
        model = registry.build("rec-next", preset="mamba4rec_published", items=items)
        assert sum(p.numel() for p in model.parameters()) == 72_256 + 64 * items


def test_time_scales_are_kept_unless_asked_for():
    kept = registry.build("rec-next", preset="mamba4rec").network.mamba_layers[0].mamba
    lost = registry.build("rec-next", preset="mamba4rec_published").network.mamba_layers[0].mamba
    steps = torch.nn.functional.softplus(kept.dt_proj.bias.detach())
    assert float(steps.min()) >= 1e-4
    assert float(steps.max()) <= 0.11
    assert not lost.dt_proj.bias.any()


def test_prenorm_starts_near_the_item_just_read():
    model = registry.build("rec-next", preset="mamba_prenorm", items=60).eval()
    assert sum(p.numel() for p in model.parameters()) == 39_040 + 64 * 60
    mixer = model.network.layers[0].mixer
    steps = torch.nn.functional.softplus(mixer.dt_proj.bias.detach())
    assert float(steps.min()) >= 0.049
    assert float(steps.max()) <= 1.01
    batch = histories([9])
    with torch.no_grad():
        out = model(**batch)
    scores = out["hidden"] @ out["item_vectors"].T
    assert torch.equal(scores.argmax(1), batch["items"])  # by the residual, before any training


def test_prenorm_drops_what_the_mixer_says_apart_from_what_it_reads():
    network = {"kind": "prenorm", "layers": 2, "dropout": 0.0, "mixer_dropout": 0.0}
    model = registry.build("rec-next", preset="mamba_prenorm", items=60, network=network)
    batch = histories([9])
    with torch.no_grad():
        torch.testing.assert_close(model.train()(**batch), model.eval()(**batch))
        for share in ("dropout", "mixer_dropout"):
            other = registry.build(
                "rec-next", preset="mamba_prenorm", items=60, network={**network, share: 0.5}
            )
            other.load_state_dict(model.state_dict())
            one, two = (other.train()(**batch)["hidden"] for _ in range(2))
            assert not torch.allclose(one, two)


@pytest.mark.parametrize("preset", ["mamba4rec", "mamba_prenorm"])
def test_state_of_the_published_size_is_small(preset):
    model = registry.build("rec-next", preset=preset, items=10)
    assert model.init_state(1).nbytes <= 18 * 1024


def test_pauses_count_once_learnt():
    model = build("tim4rec")
    batch = histories([12])
    late = {**batch, "times": batch["times"] * 50}
    with torch.no_grad():
        assert torch.equal(model(**batch)["hidden"], model(**late)["hidden"])  # at the start
        for layer in model.network.layers:
            layer.slope.fill_(0.3)
        one, other = model(**batch)["hidden"], model(**late)["hidden"]
    assert torch.equal(one[0], other[0])
    assert not torch.allclose(one[3:], other[3:], atol=1e-3)
    with pytest.raises(ConfigError, match="'mamba2' only"):
        build("tim4rec", mixer="mamba1")


def test_steps_are_scaled_exactly():
    layer = build("tim4rec").double().network.layers[0]
    dt, factor = torch.randn(1, 9, 2).double(), torch.rand(1, 9, 2).double() + 0.5
    raw = layer._timed(dt, factor) + layer.mixer.dt_bias
    expected = torch.nn.functional.softplus(dt + layer.mixer.dt_bias) * factor
    torch.testing.assert_close(torch.nn.functional.softplus(raw), expected)


def test_registers_speak_before_the_first_event():
    model = build("tiny", registers=3)
    assert model.init_state(2).tensors["hidden"].abs().min() > 0
    assert not build("tiny").init_state(2).tensors["hidden"].any()


def test_cosines_over_a_temperature():
    model = build("tiny", temperature=0.5)
    with torch.no_grad():
        out = model(**histories([4, 3]))
    scores = out["hidden"] @ out["item_vectors"].T
    assert scores.abs().max() <= 2.0001
    torch.testing.assert_close(out["hidden"].norm(dim=-1), torch.full((7,), 2.0))


def test_bad_input_is_named():
    model = build("tiny")
    batch = histories([4])
    with pytest.raises(ValueError, match=r"items run from .* knows 0 \.\. 59"):
        model(**{**batch, "items": torch.tensor([1, 2, 60, 3])})
    with pytest.raises(ValueError, match="tokens = cu_seqlens"):
        model(**{**batch, "cu_seqlens": edges(torch.tensor([3]))})
    with pytest.raises(ConfigError, match="reads later events"):
        registry.build("rec-next", mixer="vssd")
    with pytest.raises(ConfigError, match="id_dropout"):
        registry.build("rec-next", id_dropout=0.5)
