"""Text to ids and back: bytes, or a tokenizer of the ``tokenizers`` library."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from mamba_core.registry import ConfigError, DependencyMissingError
from mamba_language.lm.config import BYTES

Emit = Callable[[int | None], str]
"""Takes the next id, gives the text that is now certain, perhaps none; takes None at the end,
gives what is left."""


class Tokenizer(Protocol):
    """What model, data and predictor need; ids of marks are the model config's affair."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without any mark added."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; marks have none."""
        ...

    def stream(self) -> Emit:
        """Return a function that turns ids into text one by one."""
        ...


class ByteTokenizer:
    """The bytes of UTF-8, ids 0 to 255; higher ids are marks without text."""

    def encode(self, text: str) -> list[int]:
        """See :meth:`Tokenizer.encode`."""
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        """See :meth:`Tokenizer.decode`; bytes that are no UTF-8 become U+FFFD."""
        return bytes(i for i in ids if i < 256).decode(errors="replace")

    def stream(self) -> Emit:
        """See :meth:`Tokenizer.stream`; a character appears with its last byte."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

        def emit(i: int | None) -> str:
            if i is None:
                return decoder.decode(b"", final=True)
            return decoder.decode(bytes([i])) if i < 256 else ""

        return emit


class LibraryTokenizer:
    """A tokenizer of the ``tokenizers`` library."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def encode(self, text: str) -> list[int]:
        """See :meth:`Tokenizer.encode`."""
        return self.inner.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """See :meth:`Tokenizer.decode`."""
        return self.inner.decode(list(ids))

    def stream(self) -> Emit:
        """See :meth:`Tokenizer.stream`."""
        from tokenizers.decoders import DecodeStream

        decoder = DecodeStream(skip_special_tokens=True)
        ids: list[int] = []
        shown: list[str] = []

        def emit(i: int | None) -> str:
            if i is None:  # an unfinished character
                return self.decode(ids)[sum(map(len, shown)) :]
            ids.append(i)
            shown.append(decoder.step(self.inner, i) or "")
            return shown[-1]

        return emit


def load_tokenizer(name: str) -> Tokenizer:
    """Return a tokenizer.

    :param name: ``bytes``; the path of a ``tokenizer.json``, or of a folder that holds one; or
        a name on the Hugging Face hub, which is fetched into its cache.
    :raises DependencyMissingError: when ``tokenizers`` is needed and not installed.
    :raises ConfigError: for a file that is none, or a name that cannot be fetched.
    """
    if name == BYTES:
        return ByteTokenizer()
    try:
        from tokenizers import Tokenizer as Library
    except ImportError as error:
        raise DependencyMissingError(
            f"tokenizer {name!r} needs the library tokenizers: pip install "
            "'mamba-language[tokenizers]'"
        ) from error
    path = Path(name)
    path = path / "tokenizer.json" if path.is_dir() else path
    try:
        if path.is_file():
            return LibraryTokenizer(Library.from_file(str(path)))
        return LibraryTokenizer(Library.from_pretrained(name))
    except Exception as error:  # the library raises bare Exception
        raise ConfigError(
            f"tokenizer {name!r} is neither a tokenizer.json nor can it be fetched "
            f"({str(error).splitlines()[0]}): give the path of the model's tokenizer.json"
        ) from error
