"""A scan order and a mixer of one's own, 15 lines each, trained on the digits of scikit-learn.

    python examples/vision/own_order_and_mixer.py [--steps 120]

The third line that it prints is the preset's own: `mamba1`, forwards and backwards.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from mamba_core import registry


@registry.scan_order("rings", dims=2, summary="from the middle outwards, and back")
def rings(shape: tuple[int, int], *, device: torch.device | str = "cpu") -> Tensor:
    """int64 ``(2, L)``: tokens by their distance from the middle, and the same backwards."""
    axes = [torch.arange(size) - (size - 1) / 2 for size in shape]
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    distance = torch.maximum(rows.abs(), columns.abs()).flatten()
    outwards = distance.argsort(stable=True)
    return torch.stack([outwards, outwards.flip(0)]).to(device)


@registry.mixer("running-mean", summary="what came before on average, gated by the token")
class RunningMean(nn.Module):
    """Tokens ``(B, L, d_model)`` -> the same shape; MultiScan runs it along every path."""

    def __init__(self, d_model: int, expand: int = 2) -> None:
        super().__init__()
        self.in_proj = nn.Linear(d_model, 2 * expand * d_model)
        self.out_proj = nn.Linear(expand * d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.in_proj(x).chunk(2, dim=-1)
        count = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
        return self.out_proj(value.cumsum(1) / count * gate.sigmoid())


def digits() -> tuple[Tensor, Tensor]:
    """The 8x8 digits, float32 ``(1797, 1, 8, 8)`` around 0, and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None]
    return images / 16 - 0.3, torch.tensor(data.target)


def train(steps: int, **chosen: str) -> float:
    """Train on the first 1,437 digits; return the share of the other 360 that is right."""
    torch.manual_seed(0)
    images, labels = digits()
    model = registry.build("vision-cls", preset="digits_8x8", **chosen)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        batch = torch.randint(1437, (64,))
        loss = nn.functional.cross_entropy(model(images[batch])["logits"], labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = model.eval()(images[1437:])["logits"].argmax(1)
    return (found == labels[1437:]).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=120)
    steps = parser.parse_args().steps
    for chosen in ({"scan_order": "rings"}, {"mixer": "running-mean"}, {}):
        print(f"{chosen or 'neither'}: {train(steps, **chosen):.1%} right")


if __name__ == "__main__":
    main()
