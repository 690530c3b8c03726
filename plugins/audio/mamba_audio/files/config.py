"""How files go through a model: the config that the predictors share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FilePredict:
    """How files are read, cut and written."""

    chunk: Annotated[float, Field(ge=0.5)] = 10.0
    """Seconds that go through the model at once; memory grows with it, not with the file."""
    overlap: Annotated[float, Field(ge=0.05, le=0.9)] = 0.25
    """Part of a chunk that it shares with the next."""
    channels: Literal["mono", "each", "first"] = "mono"
    """``mono`` averages the channels first, ``each`` takes every one on its own, ``first``
    reads the first only."""
    keep_rate: bool = True
    """Write at the file's own sample rate; False writes at the model's."""
    format: Literal["wav", "flac", "ogg"] = "wav"
    """``wav`` holds 32-bit floats, ``flac`` 24-bit integers, ``ogg`` is Vorbis; the last two cut
    what is beyond full scale."""
    names: str = "{file}_{stem}"
    """Names of the outputs below the output folder, without suffix; a / makes folders."""

    @model_validator(mode="after")
    def _names_tell_stems_apart(self) -> FilePredict:
        try:
            made = {self.names.format(file="f", stem=stem) for stem in "ab"}
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"names = {self.names!r} may hold {{file}} and {{stem}}, not {error}"
            ) from None
        outside = Path(self.names).is_absolute() or ".." in Path(self.names).parts
        if len(made) < 2 or outside:
            raise ValueError(
                f"names = {self.names!r} must hold {{stem}} and stay below the output folder"
            )
        return self
