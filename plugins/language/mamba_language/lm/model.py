"""A causal language model: embedding, a backbone of mixers, a head tied to the embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.blocks import Backbone, BackboneConfig, BlockConfig, MLPConfig
from mamba_core.mixers import Mixer, MixerState
from mamba_core.pretrained import SavePretrained
from mamba_core.registry import ConfigError, mixer_spec
from mamba_language.lm.config import LanguageModelConfig

_EMBEDDING_STD = 0.02
"""Of the initial embedding, as in ``mamba_ssm``."""


class MambaLM(nn.Module, SavePretrained):
    """Logits of the next token after every token.

    The stack of ``mamba_ssm``'s ``MambaLMHeadModel`` (Gu and Dao, 2312.00752; Dao and Gu,
    2405.21060) with any causal mixer. Whole sequences go through :meth:`forward`; a text that
    grows goes through :meth:`read` and :meth:`step`, which carry a state of constant size.

    :param config: see :class:`~mamba_language.lm.config.LanguageModelConfig`.
    :raises ConfigError: for a mixer that reads later tokens.
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.backbone = Backbone(
            BackboneConfig(
                d_model=config.d_model,
                pattern=config.pattern * config.n_layer,
                mixer=config.mixer,
                attention=config.attention,
                mlp=MLPConfig(d_intermediate=config.d_intermediate),
                block=BlockConfig(
                    norm=config.norm,
                    norm_eps=config.norm_eps,
                    residual_in_fp32=config.residual_in_fp32,
                ),
            )
        )
        _refuse_reading_ahead(self.backbone, config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        nn.init.normal_(self.embedding.weight, std=_EMBEDDING_STD)
        if config.tie_embeddings:
            self.lm_head.weight = self.embedding.weight

    def forward(
        self, tokens: Tensor, starts: Tensor | None = None, *, cu_seqlens: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Read whole sequences.

        :param tokens: int ``(batch, length)``; packed ``(1, sum of lengths)`` with ``cu_seqlens``.
        :param starts: bool ``(batch, length)``: True where a document begins inside a row, which
            then reads nothing of what stands before it. None: every row is one document.
        :param cu_seqlens: int ``(sequences + 1,)``, the same for packed rows; not with ``starts``.
        :returns: ``{"logits": (batch, length, vocab_size)}``.
        :raises ValueError: for tokens of another shape, or both ways to say where documents begin.
        """
        if tokens.dim() != 2:
            raise ValueError(f"tokens has shape {tuple(tokens.shape)}, expected (batch, length)")
        if starts is not None and cu_seqlens is not None:
            raise ValueError("starts and cu_seqlens both say where documents begin: give one")
        x = self.embedding(tokens)
        if starts is not None and bool(starts[:, 1:].any()):
            # rows and the documents in them become one packed row of sequences
            packed = self.backbone(x.flatten(0, 1)[None], cu_seqlens=edges(starts))
            return {"logits": self.lm_head(packed.view(x.shape))}
        return {"logits": self.lm_head(self.backbone(x, cu_seqlens=cu_seqlens))}

    def init_state(self, batch_size: int) -> MixerState:
        """Return the state before the first token, one row per sequence."""
        return self.backbone.init_state(batch_size)

    def prefill(
        self, tokens: Tensor, state: MixerState, *, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, MixerState]:
        """Continue sequences by any number of tokens.

        :param tokens: as for :meth:`forward`.
        :param state: one row per sequence (per packed sequence with ``cu_seqlens``).
        :returns: logits ``(batch, length, vocab_size)`` and the state after the last token.
        """
        x, state = self.backbone.prefill(self.embedding(tokens), state, cu_seqlens=cu_seqlens)
        return self.lm_head(x), state

    def read(
        self, tokens: Tensor, state: MixerState, *, cu_seqlens: Tensor
    ) -> tuple[Tensor, MixerState]:
        """Continue packed sequences; the head sees the last token of each only.

        :param tokens: int ``(1, sum of lengths)``.
        :param cu_seqlens: int ``(sequences + 1,)``; a sequence may bring no token.
        :returns: logits ``(sequences, vocab_size)`` of what follows (without meaning where no
            token came), and the new state.
        """
        x, state = self.backbone.prefill(self.embedding(tokens), state, cu_seqlens=cu_seqlens)
        last = (cu_seqlens[1:].long() - 1).clamp(min=0)
        return self.lm_head(x[0, last]), state

    def step(self, tokens: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Continue each sequence by one token.

        :param tokens: int ``(batch,)``.
        :returns: logits ``(batch, vocab_size)`` of what follows, and the new state.
        """
        x, state = self.backbone.step(self.embedding(tokens), state)
        return self.lm_head(x), state


def _refuse_reading_ahead(backbone: Backbone, config: LanguageModelConfig) -> None:
    """Raise for a mixer that is not causal, by its record or by the fields it was built with."""
    ahead = [c.name for c in (config.mixer, config.attention) if not mixer_spec(c.name).causal]
    built = [type(m).__name__ for m in backbone.modules() if isinstance(m, Mixer) and not m.causal]
    for name in (*ahead, *built):
        raise ConfigError(f"mixer {name!r} reads later tokens: a language model needs a causal one")


def edges(starts: Tensor) -> Tensor:
    """Return where sequences begin in rows laid end to end, and the total.

    :param starts: bool ``(batch, length)``; the first token of a row counts as one.
    :returns: int64 ``(sequences + 1,)``.
    """
    begins = starts.clone()
    begins[:, 0] = True
    return F.pad(begins.flatten().nonzero()[:, 0], (0, 1), value=begins.numel())


def example(
    config: LanguageModelConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Return rows of 48 tokens that repeat a word of five; every second row holds two documents.

    :returns: ``tokens``, ``targets`` int64 ``(batch, 48)``, ``starts`` bool ``(batch, 48)``,
        ``bytes`` float32 ``(batch,)``.
    """
    length, word = 48, 5
    words = torch.randint(config.vocab_size, (batch_size, word), generator=generator)
    row = words.repeat(1, length // word + 1)[:, : length + 1]
    row[:, 0] = config.eos
    row[1::2, length // 2] = config.eos
    tokens, targets = row[:, :-1], row[:, 1:]
    batch = {
        "tokens": tokens.contiguous(),
        "starts": tokens == config.eos,
        "targets": targets.contiguous(),
        "bytes": torch.full((batch_size,), float(length)),
    }
    return {name: value.to(device) for name, value in batch.items()}
