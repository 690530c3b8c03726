"""Graph tasks for mamba-core.

``mamba_graph.nn.GraphMambaConv`` stands where PyG's ``GPSConv`` does; the tasks are built
through the registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mamba_graph.data.check import GraphError
    from mamba_graph.nn import GraphMambaConv

__version__ = "0.1.0"

__all__ = ["GraphError", "GraphMambaConv", "__version__"]


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use: the registry imports this package to list it."""
    if name == "GraphMambaConv":
        from mamba_graph.nn import GraphMambaConv

        return GraphMambaConv
    if name == "GraphError":
        from mamba_graph.data.check import GraphError

        return GraphError
    raise AttributeError(f"module 'mamba_graph' has no attribute '{name}'")
