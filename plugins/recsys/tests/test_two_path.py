"""Networks that also read backwards: right at every length, trained on prefixes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from mamba_core import registry
from mamba_core.registry import ConfigError
from mamba_recsys import Recommender
from mamba_recsys.interactions import leave_one_out, make_interactions
from mamba_recsys.next_item.config import FullSoftmax, SampledSoftmax
from mamba_recsys.next_item.data import TrainSplit
from mamba_recsys.next_item.networks.two_path import flipped
from mamba_recsys.next_item.objective import IGNORE, loss
from mamba_recsys.ragged import edges
from mamba_recsys.synthetic import Synthetic

KINDS = ("sigma", "echomamba")


def build(kind, **fields):
    torch.manual_seed(0)
    model = registry.build("rec-next", preset=kind, items=60, d_model=32, **fields)
    with torch.no_grad():
        model.item_embedding.weight.normal_()
        for name, parameter in model.named_parameters():
            if "response" in name or "gate" in name:
                parameter.normal_()
    return model.eval()


def histories(lengths):
    total = sum(lengths)
    generator = torch.Generator().manual_seed(0)
    return {
        "items": torch.randint(60, (total,), generator=generator),
        "times": torch.arange(total, dtype=torch.float64),
        "cu_seqlens": edges(torch.tensor(lengths)),
    }


def test_flips_keep_the_last_events():
    cu = edges(torch.tensor([7, 2, 1]))
    order = flipped(cu, 10, 3)
    assert order.tolist() == [3, 2, 1, 0, 4, 5, 6, 7, 8, 9]
    assert flipped(cu, 10, 0).tolist() == [6, 5, 4, 3, 2, 1, 0, 8, 7, 9]
    assert torch.equal(order[order], torch.arange(10))


@pytest.mark.parametrize("kind", KINDS)
def test_no_length_and_no_neighbour_changes_a_prediction(kind):
    model = build(kind)
    lengths = [1, 2, 3, 5, 8, 13, 30, 50]
    batch = histories(lengths)
    with torch.no_grad():
        together = model(**batch)["hidden"]
        for start, stop in pairwise(batch["cu_seqlens"]):
            rows = slice(int(start), int(stop))
            alone = model(
                batch["items"][rows], batch["times"][rows], edges((stop - start).reshape(1))
            )["hidden"]
            torch.testing.assert_close(together[rows][-1], alone[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_that_grew_says_what_reading_at_once_says(kind):
    network = {"kind": kind, "max_length": 6}
    model = build(kind, network=network)
    batch = histories([9])
    state = model.init_state(2)  # the second user never has an event
    for k in range(9):
        cu = edges(torch.tensor([1, 0]))
        state = model.read(batch["items"][k : k + 1], batch["times"][k : k + 1], cu, state)
        first = max(0, k + 1 - 6)
        with torch.no_grad():
            expected = model(
                batch["items"][first : k + 1],
                batch["times"][first : k + 1],
                edges(torch.tensor([k + 1 - first])),
            )["hidden"][-1]
        torch.testing.assert_close(state.tensors["hidden"][0], expected, rtol=1e-4, atol=1e-5)
    assert not state.tensors["hidden"][1].any()
    with pytest.raises(ValueError, match="9 events for"):
        model(**batch)


@pytest.mark.parametrize("kind", KINDS)
def test_earlier_events_know_later_ones(kind):
    """Why they cannot be trained on all positions."""
    model = build(kind)
    batch = histories([20])
    changed = {**batch, "items": batch["items"].clone()}
    changed["items"][10] = (changed["items"][10] + 7) % 60
    with torch.no_grad():
        one, other = model(**batch)["hidden"], model(**changed)["hidden"]
    assert not torch.allclose(one[5], other[5], atol=1e-4)


@pytest.mark.parametrize("objective", [FullSoftmax(), SampledSoftmax(negatives=20)])
def test_prefixes_have_one_target_each(objective):
    frame = Synthetic(users=20).events()
    data = make_interactions(frame.user_id.to_numpy(), frame.item_id.to_numpy())
    split = TrainSplit(data, leave_one_out(data), objective, 8, prefixes=4, seed=0)
    seen = set()
    user = int(np.argmax(split.ends - split.starts))
    for epoch in range(30):
        sample = split.sample(epoch, user)
        assert len(sample["lengths"]) == 4
        assert int((sample["targets"] != IGNORE).sum()) == 4
        cu = edges(sample["lengths"]).tolist()
        history = data.history(user)[:-2].tolist()
        for first, last in pairwise(cu):
            piece = sample["items"][first:last].tolist()
            target = int(sample["targets"][last - 1])
            whole = [*piece, target]
            at = [k for k in range(len(history)) if history[k : k + len(whole)] == whole]
            assert at
            assert len(piece) <= 8
            seen.add((len(piece), target))
    assert len(seen) > 10
    assert torch.equal(split.sample(3, 1)["items"], split.sample(3, 1)["items"])


@pytest.mark.parametrize("kind", KINDS)
def test_all_positions_are_refused(kind):
    frame = Synthetic(users=20).events()
    with pytest.raises(ConfigError, match=r"reads later events: give data\.prefixes"):
        Recommender(kind).fit(frame)


@pytest.mark.parametrize("kind", KINDS)
def test_they_learn(kind):
    frame = Synthetic(users=60).events()
    model = registry.build("rec-next", preset=kind, items=60, d_model=32)
    data = make_interactions(frame.user_id.to_numpy(), frame.item_id.to_numpy())
    split = TrainSplit(data, leave_one_out(data), FullSoftmax(), 50, prefixes=2, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    values = []
    for step in range(25):
        batch = split.collate([split.sample(step, k) for k in range(0, 60, 2)])
        inputs = [batch[n] for n in ("items", "times", "cu_seqlens")]
        value = loss(model(*inputs), batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert np.mean(values[-4:]) < values[0] - 0.4
    unreached = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # the last way back begins at the event that is scored: nothing has decayed there
    assert unreached == (["network.layers.1.back.A_log"] if kind == "echomamba" else [])
