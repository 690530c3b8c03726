"""The model of ``rec-next``: items' vectors, a causal network, the same vectors to score by."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.mixers import Mixer, MixerState
from mamba_core.pretrained import SavePretrained
from mamba_core.registry import ConfigError, mixer_spec
from mamba_recsys.next_item import config as C
from mamba_recsys.next_item.config import NextItemConfig
from mamba_recsys.next_item.features import feature_embedding
from mamba_recsys.next_item.networks.base import SequenceNetwork
from mamba_recsys.ragged import edges, places

_STD = 0.02
"""Of the initial item vectors."""


class NextItemModel(nn.Module, SavePretrained):
    """What a user takes next, after every event of packed histories.

    There is no padding, so no item is reserved for it: items are ``0 .. items - 1``. Scores are
    inner products of :meth:`forward`'s ``hidden`` with its ``item_vectors``; they are never
    computed here, so that a loss can take them in chunks and a search its own way.

    A user who goes on has a state of constant size: :meth:`init_state`, then :meth:`read`.

    :param config: see :class:`~mamba_recsys.next_item.config.NextItemConfig`.
    :raises ConfigError: for a mixer that reads later events.
    """

    item_codes: Tensor
    item_numbers: Tensor

    def __init__(self, config: NextItemConfig) -> None:
        super().__init__()
        self.config = config
        d = config.d_model
        self.item_embedding = nn.Embedding(config.items, d)
        nn.init.normal_(self.item_embedding.weight, std=_STD)
        self.item_features = feature_embedding(config.item_features, d)
        self.event_features = feature_embedding(config.event_features, d)
        rows, columns = config.items, config.item_features
        self.register_buffer(
            "item_codes", torch.zeros(rows, len(columns.categories), dtype=torch.int64)
        )
        self.register_buffer("item_numbers", torch.zeros(rows, columns.numbers))
        self.registers = (
            nn.Parameter(torch.randn(config.registers, d) * _STD) if config.registers else None
        )
        self.network = _network(config)
        _refuse_reading_ahead(self.network, config)

    def _vectors(self) -> Tensor:
        """The items' vectors as the network reads them, ``(items, d_model)``."""
        own = self.item_embedding.weight
        if self.item_features is None:
            return own
        if self.training and self.config.id_dropout:
            kept = torch.rand(len(own), 1, device=own.device) >= self.config.id_dropout
            own = own * kept
        return own + self.item_features(self.item_codes, self.item_numbers)

    def _for_scores(self, vectors: Tensor) -> Tensor:
        # a view, so that no parameter leaves the model as an output
        same = vectors.view_as(vectors)
        return same if self.config.temperature is None else F.normalize(vectors, dim=-1)

    def item_vectors(self) -> Tensor:
        """Return what users' vectors are multiplied with, ``(items, d_model)``."""
        return self._for_scores(self._vectors())

    def _user(self, hidden: Tensor) -> Tensor:
        t = self.config.temperature
        return hidden if t is None else F.normalize(hidden, dim=-1) / t

    def _of_items(self, items: Tensor) -> Tensor:
        """Vectors of some items only, however large the catalogue, ``(tokens, d_model)``."""
        own = self.item_embedding(items)
        if self.item_features is None:
            return own
        return own + self.item_features(self.item_codes[items], self.item_numbers[items])

    def _with_columns(self, x: Tensor, codes: Tensor | None, numbers: Tensor | None) -> Tensor:
        """Add what the columns of the events say."""
        if self.event_features is None:
            return x
        if codes is None or numbers is None:
            raise ValueError("the model reads columns of events: give event_codes, event_numbers")
        return x + self.event_features(codes, numbers)

    def forward(
        self,
        items: Tensor,
        times: Tensor,
        cu_seqlens: Tensor,
        event_codes: Tensor | None = None,
        event_numbers: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Read whole histories, packed end to end.

        :param items: int64 ``(tokens,)``.
        :param times: float64 ``(tokens,)``, seconds, not falling inside a history.
        :param cu_seqlens: int32 ``(histories + 1,)``: where each begins, and the total.
        :param event_codes: int64 ``(tokens, columns)``; None where the model has no such.
        :param event_numbers: float ``(tokens, columns)``.
        :returns: ``hidden`` ``(tokens, d_model)``, what follows each event, and ``item_vectors``
            ``(items, d_model)``; scores are their product.
        :raises ValueError: for shapes that do not fit, and items out of range.
        """
        self._check(items, times, cu_seqlens)
        vectors = self._vectors()
        x = self._with_columns(F.embedding(items, vectors), event_codes, event_numbers)
        if self.registers is None:
            hidden = self.network(x, times, cu_seqlens)
        else:
            x, moments, wide, own = self._with_registers(x, times, cu_seqlens)
            hidden = self.network(x, moments, wide)[own]
        return {"hidden": self._user(hidden), "item_vectors": self._for_scores(vectors)}

    def _check(self, items: Tensor, times: Tensor, cu_seqlens: Tensor) -> None:
        if items.dim() != 1 or times.shape != items.shape or int(cu_seqlens[-1]) != len(items):
            raise ValueError(
                f"items {tuple(items.shape)} and times {tuple(times.shape)} must be (tokens,) with "
                f"tokens = cu_seqlens[-1] = {int(cu_seqlens[-1])}"
            )
        if len(items) and not 0 <= int(items.min()) <= int(items.max()) < self.config.items:
            raise ValueError(
                f"items run from {int(items.min())} to {int(items.max())}, the model knows "
                f"0 .. {self.config.items - 1}"
            )

    def _with_registers(
        self, x: Tensor, times: Tensor, cu_seqlens: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Put the registers in front of each history; also where the events are now."""
        assert self.registers is not None
        more, count = len(self.registers), len(cu_seqlens) - 1
        sequence, _ = places(cu_seqlens, len(x))
        wide = cu_seqlens + more * torch.arange(count + 1, device=x.device, dtype=torch.int32)
        own = torch.arange(len(x), device=x.device) + more * (sequence + 1)
        first = (wide[:-1, None].long() + torch.arange(more, device=x.device)).flatten()
        total = len(x) + more * count
        tokens = x.new_zeros(total, x.shape[1]).index_put((own,), x)
        tokens = tokens.index_put((first,), self.registers.repeat(count, 1))
        moments = times.new_zeros(total).index_put((own,), times)
        begins = times[cu_seqlens[:-1].long().clamp(max=max(len(x) - 1, 0))]
        return tokens, moments.index_put((first,), begins.repeat_interleave(more)), wide, own

    def init_state(self, users: int) -> MixerState:
        """Return the state before the first event, one row per user.

        ``hidden`` is what :meth:`forward` says after the last event, zeros before the first
        where there are no registers; ``count`` counts the events.
        """
        like = self.item_embedding.weight
        state = self.network.init_state(1)
        hidden = like.new_zeros(1, like.shape[1])
        if self.registers is not None:
            cu = edges(torch.tensor([len(self.registers)], device=like.device))
            # a register has no time: no pause is counted from it
            still = like.new_full((len(self.registers),), torch.inf, dtype=torch.float64)
            with torch.no_grad():
                hidden, state = self.network.read(self.registers, still, cu, state)
            hidden = self._user(hidden)
        count = torch.zeros(1, dtype=torch.int64, device=like.device)
        one = MixerState({"hidden": hidden, "count": count}, (state,))
        return one.select(torch.zeros(users, dtype=torch.int64))

    @torch.no_grad()
    def read(
        self,
        items: Tensor,
        times: Tensor,
        cu_seqlens: Tensor,
        state: MixerState,
        event_codes: Tensor | None = None,
        event_numbers: Tensor | None = None,
    ) -> MixerState:
        """Continue users by any number of events each; a user may bring none.

        However a history is cut, the state is that of one call over the whole.

        :param items, times, cu_seqlens, event_codes, event_numbers: as for :meth:`forward`.
        :param state: of :meth:`init_state` or an earlier call, one row per history.
        :returns: the new state; scores are ``state.tensors["hidden"] @ item_vectors().T``.
        """
        self._check(items, times, cu_seqlens)
        new = cu_seqlens.diff().long()
        if not len(items):
            return state
        x = self._with_columns(self._of_items(items), event_codes, event_numbers)
        hidden, after = self.network.read(x, times, cu_seqlens, state.children[0])
        held = state.tensors
        some = (new > 0)[:, None]
        return MixerState(
            {
                "hidden": torch.where(some, self._user(hidden), held["hidden"]),
                "count": held["count"] + new,
            },
            (after,),
        )


def _network(config: NextItemConfig) -> SequenceNetwork:
    from mamba_recsys.next_item import networks as N

    network, d = config.network, config.d_model
    if isinstance(network, C.Mamba4Rec):
        return N.Mamba4RecNetwork(d, config.mixer, network)
    if isinstance(network, C.PreNorm):
        return N.PreNormNetwork(d, config.mixer, network)
    if isinstance(network, C.Stack):
        return N.StackNetwork(d, config.mixer, network)
    if isinstance(network, C.TiM4Rec):
        return N.TiM4RecNetwork(d, config.mixer, network)
    if isinstance(network, C.SASRec):
        return N.SASRecNetwork(d, network)
    if isinstance(network, C.GRU4Rec):
        return N.GRU4RecNetwork(d, network)
    if isinstance(network, C.HSTU):
        return N.HSTUNetwork(d, network)
    return N.TwoPathNetwork(d, config.mixer, network)


def _refuse_reading_ahead(network: nn.Module, config: NextItemConfig) -> None:
    """Raise for a mixer that is not causal, by its record or by the fields it was built with."""
    ahead = [] if mixer_spec(config.mixer.name).causal else [config.mixer.name]
    built = [type(m).__name__ for m in network.modules() if isinstance(m, Mixer) and not m.causal]
    for name in (*ahead, *built):
        raise ConfigError(
            f"mixer {name!r} reads later events: all positions are trained at once, which needs "
            "a causal one"
        )


def example(
    config: NextItemConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Return packed histories that count upwards through the catalogue, a step of 1 to 3 each.

    :returns: ``items``, ``targets`` int64, ``times`` float64 ``(tokens,)``, ``cu_seqlens`` int32
        ``(batch_size + 1,)``, ``event_codes`` and ``event_numbers`` ``(tokens, columns)``.
    """
    lengths = torch.randint(3, 20, (batch_size,), generator=generator)
    starts = torch.randint(config.items, (batch_size,), generator=generator)
    step = torch.randint(1, 4, (batch_size,), generator=generator)
    cu = edges(lengths)
    sequence, at = places(cu, int(cu[-1]))
    items = (starts[sequence] + step[sequence] * at) % config.items
    columns = config.event_features
    batch = {
        "items": items,
        "times": at.double() * 3600,
        "cu_seqlens": cu,
        "event_codes": torch.zeros(len(items), len(columns.categories), dtype=torch.int64),
        "event_numbers": torch.zeros(len(items), columns.numbers),
        "targets": (items + step[sequence]) % config.items,
    }
    return {name: value.to(device) for name, value in batch.items()}
