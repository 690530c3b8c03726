"""Blocks: mixers with norm and residual, stacked by a pattern."""

from __future__ import annotations

from mamba_core.blocks.backbone import Backbone, BackboneConfig
from mamba_core.blocks.block import Block, BlockConfig, DropPath
from mamba_core.blocks.connection import DenseConnection
from mamba_core.blocks.mlp import GatedMLP, MLPConfig
from mamba_core.blocks.pattern import parse_pattern

__all__ = [
    "Backbone",
    "BackboneConfig",
    "Block",
    "BlockConfig",
    "DenseConnection",
    "DropPath",
    "GatedMLP",
    "MLPConfig",
    "parse_pattern",
]
