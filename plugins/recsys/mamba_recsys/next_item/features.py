"""Columns of items and events as vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamba_recsys.next_item.config import Features

_STD = 0.02


class FeatureEmbedding(nn.Module):
    """A vector per row: one embedding per categorical column, one map of all numbers, summed."""

    def __init__(self, config: Features, d_model: int) -> None:
        super().__init__()
        self.config = config
        self.categories = nn.ModuleList(nn.Embedding(n + 1, d_model) for n in config.categories)
        self.numbers = nn.Linear(config.numbers, d_model, bias=False) if config.numbers else None
        for embedding in self.categories:
            nn.init.normal_(embedding.weight, std=_STD)  # type: ignore[arg-type]

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        """Return ``(rows, d_model)``.

        :param codes: int64 ``(rows, categorical columns)``; 0 stands for an unknown value.
        :param numbers: float ``(rows, numeric columns)``.
        :raises ValueError: for another number of columns.
        """
        expected = (len(self.config.categories), self.config.numbers)
        if (codes.shape[1], numbers.shape[1]) != expected:
            raise ValueError(
                f"{codes.shape[1]} categorical and {numbers.shape[1]} numeric columns, the model "
                f"was built for {expected[0]} and {expected[1]}"
            )
        parts = [embedding(codes[:, k]) for k, embedding in enumerate(self.categories)]
        if self.numbers is not None:
            parts.append(self.numbers(numbers.to(self.numbers.weight.dtype)))
        return torch.stack(parts).sum(0)


def feature_embedding(config: Features, d_model: int) -> FeatureEmbedding | None:
    """Return the embedding of some columns, None where there are none."""
    return FeatureEmbedding(config, d_model) if config.categories or config.numbers else None
