"""Layers for one's own PyG models."""

from __future__ import annotations

from mamba_graph.nn.gated_gcn import GatedGCNConv
from mamba_graph.nn.graph_mamba_conv import GraphMambaConv

__all__ = ["GatedGCNConv", "GraphMambaConv"]
