"""A scan order of one's own, trained in every installed task that lets its order be chosen.

    python examples/custom_scan_order.py [--steps 20]

An order is a table: path k of ``(K, L)`` reads token ``order[k, 0]``, then ``order[k, 1]``, ...
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mamba_core import registry


@registry.scan_order("checkerboard", dims=None, summary="the even squares, then the odd ones")
def checkerboard(shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
    """Two paths over a grid of any dimensions: even tokens first, and the same backwards.

    A token is even when its coordinates have an even sum. Returns int64 ``(2, L)``.
    """
    axes = torch.meshgrid(*(torch.arange(size) for size in shape), indexing="ij")
    odd = torch.stack(axes).sum(dim=0).flatten() % 2
    forward = odd.argsort(stable=True)  # ties keep the tokens' own order
    return torch.stack([forward, forward.flip(0)]).to(device)


def train(task: str, steps: int) -> tuple[float, float]:
    """Train the tiny preset on one example batch; return the first and the last loss."""
    torch.manual_seed(0)
    spec = registry.spec(task)
    loss_of = registry.resolve(spec.loss)
    model = registry.build(task, preset="tiny", scan_order="checkerboard")
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
    taking = [s for s in tasks if hasattr(registry.config(s.full_id, preset="tiny"), "scan_order")]
    if not taking:
        raise SystemExit("No installed task takes a scan order: pip install mamba-audio")
    for spec in taking:
        first, last = train(spec.full_id, steps)
        print(f"{spec.full_id:20} loss {first:.3f} -> {last:.3f} in {steps} steps")
        if not last < first:
            raise SystemExit(f"{spec.full_id}: the loss did not go down")


if __name__ == "__main__":
    main()
