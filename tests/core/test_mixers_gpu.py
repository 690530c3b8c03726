"""Every mixer on a GPU: a short training as on the CPU, and steps replayed from a graph."""

from __future__ import annotations

import copy

import pytest
import torch

from mamba_core import scan_orders
from mamba_core.mixers import MixerChoice, MultiScan, build_mixer

D = 32
MIXERS = {
    "mamba1": MixerChoice("mamba1"),
    "mamba1, complex": MixerChoice("mamba1", A_init="s4d-lin"),
    "mamba2": MixerChoice("mamba2", d_state=16, headdim=16),
    "attention": MixerChoice("attention"),
}
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def losses(mixer, device, steps=12):
    """Learn to return the tokens: squared error at every step of AdamW."""
    mixer = mixer.to(device).train()
    optimizer = torch.optim.AdamW(mixer.parameters(), 1e-2)
    numbers = torch.Generator().manual_seed(0)
    found = []
    for _ in range(steps):
        x = torch.randn(4, 65, D, generator=numbers).to(device)
        loss = (mixer(x) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("name", MIXERS)
def test_a_short_training_is_that_of_the_cpu(name):
    torch.manual_seed(0)
    mixer = build_mixer(MIXERS[name], D)
    here = losses(copy.deepcopy(mixer), "cpu")
    there = losses(mixer, "cuda")
    assert here[-1] < here[0]
    torch.testing.assert_close(torch.tensor(there), torch.tensor(here), rtol=2e-3, atol=0)


def test_a_short_training_along_four_paths_is_that_of_the_cpu():
    torch.manual_seed(0)
    mixer = MultiScan(D, MixerChoice("mamba1", d_state=4), 4)
    order = scan_orders.get("cross")((8, 8))
    x = torch.randn(2, 64, D)
    found = []
    for device in ("cpu", "cuda"):
        placed = copy.deepcopy(mixer).to(device)
        y = placed(x.to(device), order=order.to(device))
        y.square().mean().backward()
        found.append([y.detach().cpu(), *(p.grad.cpu() for p in placed.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(b, a, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["mamba1", "mamba2"])
def test_a_step_in_a_graph_is_the_step(name):
    torch.manual_seed(0)
    mixer = build_mixer(MIXERS[name], D).cuda().eval()
    x = torch.randn(3, D, device="cuda")
    state = mixer.init_state(3)
    with torch.no_grad():
        wanted = mixer.step(x, state)[0]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            mixer.step(x, state)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = mixer.step(x, state)[0]
    graph.replay()
    torch.testing.assert_close(out, wanted)
