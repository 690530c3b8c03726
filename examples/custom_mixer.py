"""A mixer of one's own, trained in every installed task that lets its mixer be chosen.

    python examples/custom_mixer.py [--steps 20]

The class is all there is to write: its constructor's arguments become config fields
(``mixer={"name": "gated-filter", "taps": 4}``), on the command line too.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from mamba_core import registry


@registry.mixer("gated-filter", summary="a short causal filter per channel, gated by the token")
class GatedFilter(nn.Module):
    """Tokens ``(B, L, d_model)`` -> the same shape; output t sees the tokens t - taps + 1 .. t."""

    def __init__(self, d_model: int, taps: int = 8) -> None:
        super().__init__()
        self.filter = nn.Conv1d(d_model, d_model, taps, padding=taps - 1, groups=d_model)
        self.gate = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        past = self.filter(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)
        return self.out_proj(past * self.gate(x).sigmoid())


def train(task: str, steps: int) -> tuple[float, float]:
    """Train the tiny preset on one example batch; return the first and the last loss."""
    torch.manual_seed(0)
    spec = registry.spec(task)
    loss_of = registry.resolve(spec.loss)
    model = registry.build(task, preset="tiny", mixer={"name": "gated-filter", "taps": 4})
    batch = registry.example(task, preset="tiny")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        loss = loss_of(model(**{name: batch[name] for name in spec.inputs}), batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses[0], losses[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20, help="training steps per task")
    steps = parser.parse_args().steps
    tasks = [spec for spec in registry.list() if spec.loss is not None]
    taking = [s for s in tasks if hasattr(registry.config(s.full_id, preset="tiny"), "mixer")]
    if not taking:
        raise SystemExit("No installed task takes a mixer: pip install mamba-audio")
    for spec in taking:
        first, last = train(spec.full_id, steps)
        print(f"{spec.full_id:20} loss {first:.3f} -> {last:.3f} in {steps} steps")
        if not last < first:
            raise SystemExit(f"{spec.full_id}: the loss did not go down")


if __name__ == "__main__":
    main()
