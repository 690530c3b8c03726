"""Typed configs of ``language-lm``: the model, its data and how it writes text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_core.mixers import MixerChoice

BYTES = "bytes"
"""Name of the tokenizer whose tokens are the bytes of UTF-8."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LanguageModelConfig:
    """Everything the model is built from."""

    vocab_size: Annotated[int, Field(ge=1)] = 257
    """Rows of the embedding, padding included; 256 bytes and the document mark by default."""
    eos: Annotated[int, Field(ge=0)] = 256
    """Id of the document mark: stands before every document, so it also ends the one before."""
    tokenizer: str = BYTES
    """``bytes``, the path of a tokenizer.json, or a Hugging Face name (needs ``tokenizers``)."""
    d_model: Annotated[int, Field(ge=1)] = 768
    """Channels of the tokens."""
    n_layer: Annotated[int, Field(ge=1)] = 24
    """How often the pattern is repeated."""
    pattern: str = "M"
    """Layers by letter: M mixer, * attention, - MLP; ``M-`` has an MLP after every mixer."""
    mixer: MixerChoice = MixerChoice("mamba1")
    """A registered causal mixer and its fields."""
    attention: MixerChoice = MixerChoice("attention")
    """What * stands for."""
    d_intermediate: Annotated[int, Field(ge=1)] | None = None
    """Hidden channels of the MLPs; None is 8/3 of ``d_model``, rounded up to 64."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm or LayerNorm before each layer and after the last."""
    norm_eps: Annotated[float, Field(gt=0)] = 1e-5
    """Added to the variance in these norms."""
    residual_in_fp32: bool = True
    """Keep the residual stream in fp32 when the weights are in a half precision."""
    tie_embeddings: bool = True
    """One matrix for embedding and head."""

    @model_validator(mode="after")
    def _ids_fit(self) -> LanguageModelConfig:
        if self.eos >= self.vocab_size:
            raise ValueError(f"eos = {self.eos} must be below vocab_size = {self.vocab_size}")
        if self.tokenizer == BYTES and self.eos < 256:
            raise ValueError(
                f"eos = {self.eos} is a byte of text: with tokenizer='bytes' give 256 or more, "
                "and a vocab_size above it"
            )
        return self


Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TextData:
    """Which text is learned, and how it is cut."""

    path: Path
    """A text file, or a folder whose files that match ``files`` are read in the order of names."""
    files: str = "**/*.txt"
    """Which files of a folder."""
    separator: str | None = None
    """Text between two documents of one file; None makes each file one document."""
    val: Path | None = None
    """Text to choose a model by, a file or folder; None cuts ``val_share`` off the end of path."""
    test: Path | None = None
    """Text to report; None cuts ``test_share`` off the end of path, behind the validation text."""
    val_share: Share = 0.05
    """Part of the tokens of path, when ``val`` is not given."""
    test_share: Share = 0.05
    """Part of the tokens of path, when ``test`` is not given."""
    window: Annotated[int, Field(ge=1)] = 512
    """Tokens per sample."""
    reset: bool = True
    """Start from an empty state at every document inside a window, so that documents that are
    packed together do not read each other; False reads across the document mark."""

    @model_validator(mode="after")
    def _something_is_left(self) -> TextData:
        held_out = (self.val_share if self.val is None else 0.0) + (
            self.test_share if self.test is None else 0.0
        )
        if held_out >= 1:
            raise ValueError(f"val_share + test_share = {held_out:g} leaves no text to learn from")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Sampling:
    """How the next token is drawn from the probabilities.

    The filters follow one another: ``top_k`` keeps the k most probable tokens, ``top_p`` of
    these the smallest set that holds this share of the probability (Holtzman et al., 1904.09751).
    """

    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Divides the logits; below 1 prefers what is probable."""
    top_k: Annotated[int, Field(ge=1)] | None = None
    """How many tokens may be drawn; None all."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the probability that may be drawn."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TextPredict:
    """How text is continued."""

    max_tokens: Annotated[int, Field(ge=1)] = 256
    """Longest continuation, in tokens."""
    greedy: bool = False
    """Always take the most probable token; ``sampling`` is then not used."""
    sampling: Sampling = Sampling(top_p=0.95)
    """How tokens are drawn."""
    seed: int = 0
    """Of the draws: the same seed and prompt give the same text."""
    begin: bool = True
    """Put the document mark before the prompt, as in training."""
    stop_at_end: bool = True
    """Stop a continuation where the model ends the document."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Prompts that are continued at once."""
    tokenizer: str | None = None
    """In place of the model's own: ``bytes``, the path of a tokenizer.json, or a name."""
