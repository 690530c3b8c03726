"""A PyG layer: message passing beside a scan over the nodes, in place of GPS's attention."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn.inits import reset
from torch_geometric.nn.resolver import activation_resolver, normalization_resolver
from torch_geometric.typing import Adj
from torch_geometric.utils import is_torch_sparse_tensor, to_edge_index

from mamba_core import scan_orders
from mamba_core.mixers import Merge, MixerChoice, MultiScan, Share
from mamba_core.scan_orders import DataOrder
from mamba_graph.orders import context_of, edges_of
from mamba_registry.errors import ScanOrderError


class GraphMambaConv(nn.Module):
    """Graph-Mamba's layer (Wang et al., 2402.00789) with the manners of PyG's ``GPSConv``.

    ``h = norm(x + conv(x)) + norm(x + scan(x))``, then ``norm(h + mlp(h))``. In a script that
    uses ``GPSConv(channels, conv, heads=4)`` only this line changes; ``attn_type`` and
    ``attn_kwargs`` have no meaning here. The graphs of a batch are read packed, never padded.

    :param channels: of the nodes.
    :param conv: any message-passing layer of PyG, or None. One that returns ``(x, edge_attr)``
        is supported: the layer then returns both.
    :param heads: stands where ``GPSConv`` has it, and says nothing here: a scan has no heads.
    :param dropout, act, act_kwargs, norm, norm_kwargs: as in ``GPSConv``.
    :param mixer: what reads the nodes: a registered name, or a dict with ``name`` and fields.
    :param order: in which order: a registered order of nodes, or an expression of several.
    :param bidirectional: also backwards, each graph in its own place.
    :param merge, share: how the paths become one and what they have in common, see
        :class:`~mamba_core.mixers.MultiScan`.
    :param residual: add ``x`` to what the message passing and the scan return, as ``GPSConv``
        does. Without, a node is known by its neighbours (and itself where ``conv`` reads it)
        rather than by its own features: for few answers and nodes like their neighbours.
    :param generator: draws for orders with noise in training; None takes torch's own. In eval
        mode draws are fixed.
    """

    def __init__(
        self,
        channels: int,
        conv: nn.Module | None,
        heads: int = 1,
        dropout: float = 0.0,
        act: str | Callable[..., Tensor] = "relu",
        act_kwargs: dict[str, Any] | None = None,
        norm: str | Callable[..., Tensor] | None = "batch_norm",
        norm_kwargs: dict[str, Any] | None = None,
        *,
        mixer: MixerChoice | str | Mapping[str, Any] = "mamba1",
        order: str = "degree(noise=true)",
        bidirectional: bool = False,
        merge: Merge = "mean",
        share: Share | None = None,
        residual: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.conv, self.dropout = channels, conv, dropout
        self.mixer_choice = MixerChoice.parse(mixer)
        self.order_name, self.bidirectional = order, bidirectional
        self.merge, self.share, self.residual = merge, share, residual
        self.generator = generator
        self.order = node_order(order, bidirectional)
        self.scan = self._make_scan()
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels * 2),
            activation_resolver(act, **(act_kwargs or {})),
            nn.Dropout(dropout),
            nn.Linear(channels * 2, channels),
            nn.Dropout(dropout),
        )
        norms = [normalization_resolver(norm, channels, **(norm_kwargs or {})) for _ in range(3)]
        # the first is of the message passing: without one it would never be trained
        self.norm1 = norms[0] if conv is not None else None
        self.norm2, self.norm3 = norms[1:]
        takes = () if norm is None else inspect.signature(self.norm2.forward).parameters
        self.norm_inputs = [name for name in ("batch", "batch_size") if name in takes]

    def _make_scan(self) -> MultiScan:
        paths = scan_orders.paths(self.order)
        return MultiScan(
            self.channels, self.mixer_choice, paths, merge=self.merge, share=self.share
        )

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        if self.conv is not None:
            self.conv.reset_parameters()  # type: ignore[operator]
        like = next(self.scan.parameters())
        fresh = self._make_scan().to(like)
        self.scan.load_state_dict(fresh.state_dict())
        reset(self.mlp)
        for norm in (self.norm1, self.norm2, self.norm3):
            if norm is not None:
                norm.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Adj,
        batch: Tensor | None = None,
        *,
        order: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        tokens: Tensor | None = None,
        rank: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Run the layer.

        :param x: ``(nodes, channels)``.
        :param edge_index: int64 ``(2, edges)``, or a sparse tensor.
        :param batch: int64 ``(nodes,)``, the graph of each node, in any order; None: one graph.
        :param order: int64 ``(K, nodes)``, worked out by the caller, for a sorted ``batch``.
            None works it out from ``edge_index`` and, for ties, ``x`` to three digits.
        :param cu_seqlens: where each graph of a sorted ``batch`` starts, and the total,
            ``(graphs + 1,)``: PyG's ``data.ptr``. Needed with ``order``. None counts the graphs of
            ``batch``, which waits for the device.
        :param tokens: int64 ``(nodes, tokens per node)``, with ``order``: the sequence shows
            several nodes for each, itself last; see
            :func:`~mamba_graph.orders.walks.neighbours_first`.
        :param rank: int64 ``(nodes,)``, each node's place in its graph, for the order
            ``node-rank``: what :class:`~mamba_graph.orders.AddNodeRank` stores as ``data.rank``.
        :param kwargs: for ``conv``.
        :returns: ``(nodes, channels)``, and the new edge features where ``conv`` has some.
        :raises ValueError: for tensors of the wrong shape or dtype, or a missing ``rank``; on the
            CPU, where looking does not wait for a device, for ``cu_seqlens`` that ``batch``
            contradicts.
        :raises IndexError: on the CPU, for edges of nodes that do not exist.
        """
        if order is None:
            check_inputs(x, edge_index, self.channels, batch=batch, rank=rank)
        edge_attr = None
        outputs = []
        if self.conv is not None:
            local = self.conv(x, edge_index, **kwargs)
            if isinstance(local, tuple):
                local, edge_attr = local
            local = F.dropout(local, p=self.dropout, training=self.training)
            local = local + x if self.residual else local
            outputs.append(self._normed(self.norm1, local, batch, cu_seqlens))
        if order is None:
            read = self._ordered(x, edge_index, batch, cu_seqlens, rank)
        else:
            read = self._scanned(x, order, cu_seqlens, tokens)
        read = F.dropout(read, p=self.dropout, training=self.training)
        read = read + x if self.residual else read
        outputs.append(self._normed(self.norm2, read, batch, cu_seqlens))
        out = sum(outputs[1:], outputs[0])
        out = self._normed(self.norm3, out + self.mlp(out), batch, cu_seqlens)
        return out if edge_attr is None else (out, edge_attr)

    def _normed(
        self, norm: nn.Module | None, h: Tensor, batch: Tensor | None, cu_seqlens: Tensor | None
    ) -> Tensor:
        if norm is None:
            return h
        # how many graphs there are; without it PyG's norms wait for the device
        size = None if cu_seqlens is None else cu_seqlens.shape[0] - 1
        given = {"batch": batch, "batch_size": size}
        return norm(h, **{name: given[name] for name in self.norm_inputs})

    def _scanned(
        self, x: Tensor, order: Tensor, cu_seqlens: Tensor | None, tokens: Tensor | None
    ) -> Tensor:
        if cu_seqlens is None:
            raise ValueError("order comes with cu_seqlens, where each graph starts")
        if tokens is None:
            return self.scan(x[None], order=order, cu_seqlens=cu_seqlens)[0]
        read = self.scan(x[tokens.flatten()][None], order=order, cu_seqlens=cu_seqlens)[0]
        return read.unflatten(0, tokens.shape)[:, -1]

    def _ordered(
        self,
        x: Tensor,
        edge_index: Adj,
        batch: Tensor | None,
        cu_seqlens: Tensor | None,
        rank: Tensor | None,
    ) -> Tensor:
        """Work the order out, for nodes in any order, and scan."""
        if rank is None and "rank" in self.order.inputs:
            raise ValueError(
                f"the order {self.order_name!r} reads rank=data.rank, places that the transform "
                "AddNodeRank stores"
            )
        if batch is None:
            batch = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)
            cu_seqlens = edges_of(batch, 1) if cu_seqlens is None else cu_seqlens
        by_graph = batch.argsort(stable=True)
        place = torch.empty_like(by_graph)
        place[by_graph] = torch.arange(len(by_graph), device=x.device)
        packed, batch = x[by_graph], batch[by_graph]
        if cu_seqlens is None:
            cu_seqlens = edges_of(batch, int(batch[-1]) + 1 if len(batch) else 0)
        check_starts(cu_seqlens, batch)
        context = context_of(
            place[_plain(edge_index)],
            batch,
            cu_seqlens,
            # sums in another order differ in the last digits: these must not decide
            features=packed.detach().bfloat16(),
            noise=self._noise(batch),
            rank=None if rank is None else rank[by_graph],
        )
        table = scan_orders.paths_of(self.order, context)
        return self.scan(packed[None], order=table, cu_seqlens=cu_seqlens)[0][place]

    def _noise(self, batch: Tensor) -> Tensor | None:
        if not self.training:
            return None
        return torch.rand(batch.shape, generator=self.generator, device=batch.device)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.channels}, conv={self.conv}, "
            f"mixer={self.mixer_choice.plain()!r}, order={self.order_name!r}, "
            f"bidirectional={self.bidirectional})"
        )


def node_order(name: str, bidirectional: bool) -> DataOrder:
    """Look up an order of nodes, both ways if asked for.

    :raises ScanOrderError: for one that reads a shape instead of data, or is no name.
    """
    if not isinstance(name, str):
        raise ScanOrderError(
            f"order is a {type(name).__name__}, not a name: register your class with "
            "@registry.scan_order(name, dims=None) and give that name"
        )
    found = scan_orders.get(name)
    if isinstance(found, scan_orders.NamedOrder | scan_orders.LayeredOrder):
        raise ScanOrderError(
            f"order = {name!r} is no order of nodes: choose one such as 'degree', 'bfs' or 'rcm'"
        )
    if not bidirectional:
        return found
    forward = scan_orders.DataPaths.of([found])
    return scan_orders.DataPaths.of([forward, forward.reversed()])


def check_inputs(x: Tensor, edge_index: Adj, channels: int, **per_node: Tensor | None) -> None:
    """Raise ``ValueError`` for shapes and dtypes, ``IndexError`` for nodes that do not exist.

    The latter only on the CPU, where looking does not wait for a device.

    :param per_node: what must be a whole number for every node, by name.
    """
    if not isinstance(x, Tensor):
        raise ValueError(
            f"x is a {type(x).__name__}, not a tensor: nodes are of one type here; call "
            ".to_homogeneous() on a HeteroData first"
        )
    if x.dim() != 2 or x.shape[1] != channels:
        raise ValueError(f"x has shape {tuple(x.shape)}; (nodes, {channels}) is expected")
    for name, given in per_node.items():
        if given is not None and (given.shape != x.shape[:1] or given.is_floating_point()):
            raise ValueError(
                f"{name} is {given.dtype} of shape {tuple(given.shape)}: a whole number for each "
                f"of {x.shape[0]} nodes is expected"
            )
    edges = _plain(edge_index)
    if edges.dim() != 2 or edges.shape[0] != 2 or edges.is_floating_point():
        raise ValueError(
            f"edge_index is {edges.dtype} of shape {tuple(edges.shape)}; int64 (2, edges) is "
            "expected"
        )
    if not _can_be_looked_at(edges) or not edges.numel():
        return
    low, high = edges.aminmax()
    if low < 0 or high >= len(x):
        raise IndexError(
            f"edge_index names nodes {int(low)} to {int(high)}, there are {len(x)}, numbered from 0"
        )


def check_starts(cu_seqlens: Tensor, batch: Tensor) -> None:
    """Raise ``ValueError`` when, on the CPU, ``cu_seqlens`` is not where the graphs start.

    :param batch: int64 ``(nodes,)``, ascending.
    """
    if not _can_be_looked_at(cu_seqlens):
        return
    starts = edges_of(batch, len(cu_seqlens) - 1)
    if batch.numel() and batch[0] < 0:
        raise ValueError(f"batch names the graph {int(batch[0])}; they are numbered from 0")
    if not torch.equal(starts, cu_seqlens.to(starts)):
        raise ValueError(
            f"cu_seqlens is {cu_seqlens.tolist()}, the graphs of batch start at {starts.tolist()}"
        )


def _can_be_looked_at(tensor: Tensor) -> bool:
    """Whether reading a value waits for no device, and cuts no compiled graph apart."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def _plain(edge_index: Adj) -> Tensor:
    if isinstance(edge_index, Tensor) and not is_torch_sparse_tensor(edge_index):
        return edge_index
    return to_edge_index(edge_index)[0].flip(0)  # adj_t holds the transpose
