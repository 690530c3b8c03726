"""The small language of scan orders, from text to a tree.

::

    layers   := paths ("|" paths)*          layer l of a stack uses part l, counted round
    paths    := order ("+" order)*          the paths of one after those of the other
    order    := (name | "(" paths ")") (":" name)*
    name     := word [ "(" [value | word "=" value] ("," ...)* ")" ]
    value    := whole number | decimal number | true | false | word | 'quoted text'

``"hilbert:reverse"``, ``"window(7)+window(7):T"``, ``"shuffle(seed=3)|raster"``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from mamba_registry.errors import ScanOrderError

Value = int | float | bool | str

_TOKEN = re.compile(
    r"(?P<number>[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w]))"
    r"|(?P<word>\w[\w./-]*)"
    r"|(?P<quoted>'[^']*'|\"[^\"]*\")"
    r"|(?P<sign>[()+:|,=])"
)


class Token(NamedTuple):
    """A piece of the text, its kind, and where it begins."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True)
class Call:
    """A name with its values: an order, or a modifier."""

    name: str
    positional: tuple[Value, ...]
    named: tuple[tuple[str, Value], ...]
    at: int


@dataclass(frozen=True)
class Modified:
    """``order:modifier``."""

    order: Tree
    modifier: Call


@dataclass(frozen=True)
class Sum:
    """``a+b``: the paths of all parts."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Layers:
    """``a|b``: one part per layer."""

    parts: tuple[Tree, ...]


Tree = Call | Modified | Sum | Layers


class OrderTextError(ScanOrderError):
    """Raised for a text that is no order; the message points at the character."""


def complain(text: str, at: int, problem: str) -> NoReturn:
    """Raise an error that points at a character of the text.

    :raises OrderTextError: always.
    """
    raise OrderTextError(f"scan order {text!r}, character {at}: {problem}\n  {text}\n  {' ' * at}^")


def parse(text: str) -> Tree:
    """Read the text of an order.

    :raises ScanOrderError: for a text that is none; the message points at the character.

    >>> parse("hilbert:reverse").modifier.name
    'reverse'
    """
    reader = _Reader(text)
    parts = [reader.paths()]
    while reader.skip("|"):
        parts.append(reader.paths())
    if reader.next.kind != "end":
        complain(text, reader.next.at, f"{reader.next.text!r} does not belong here; {_AFTER}")
    return parts[0] if len(parts) == 1 else Layers(tuple(parts))


_AFTER = "after an order come ':modifier', '+order', '|order' or the end"


class _Reader:
    """Recursive descent over the tokens; ``next`` is the one not yet read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = self._split(text)
        self._place = 0

    @staticmethod
    def _split(text: str) -> list[Token]:
        tokens, at = [], 0
        while at < len(text):
            if text[at].isspace():
                at += 1
                continue
            found = _TOKEN.match(text, at)
            if found is None:
                complain(text, at, f"{text[at]!r} means nothing in a scan order")
            tokens.append(Token(str(found.lastgroup), found.group(), at))
            at = found.end()
        return [*tokens, Token("end", "the end", len(text))]

    @property
    def next(self) -> Token:
        return self._tokens[self._place]

    def skip(self, sign: str) -> bool:
        """Read ``sign`` if it comes next."""
        if self.next.kind == "sign" and self.next.text == sign:
            self._place += 1
            return True
        return False

    def take(self, kind: str, wanted: str) -> Token:
        token = self.next
        if token.kind != kind:
            complain(self.text, token.at, f"{wanted} belongs here, not {token.text!r}")
        self._place += 1
        return token

    def paths(self) -> Tree:
        parts = [self.order()]
        while self.skip("+"):
            parts.append(self.order())
        return parts[0] if len(parts) == 1 else Sum(tuple(parts))

    def order(self) -> Tree:
        opened = self.next.at
        tree: Tree
        if self.skip("("):
            tree = self.paths()
            if not self.skip(")"):
                complain(self.text, opened, "this bracket is never closed")
        else:
            tree = self.call("the name of an order")
        while self.skip(":"):
            tree = Modified(tree, self.call("the name of a modifier"))
        return tree

    def call(self, wanted: str) -> Call:
        name = self.take("word", wanted)
        positional: list[Value] = []
        named: list[tuple[str, Value]] = []
        opened = self.next.at
        if self.skip("(") and not self.skip(")"):
            self._values(positional, named)
            if not self.skip(")"):
                complain(self.text, opened, "this bracket is never closed")
        return Call(name.text, tuple(positional), tuple(named), name.at)

    def _values(self, positional: list[Value], named: list[tuple[str, Value]]) -> None:
        while True:
            first = self.next
            value = self._value()
            if self.skip("="):
                if first.kind != "word":
                    complain(self.text, first.at, "the name of a parameter stands before '='")
                if first.text in dict(named):
                    complain(self.text, first.at, f"{first.text!r} is given twice")
                named.append((first.text, self._value()))
            elif named:
                complain(self.text, first.at, "values without a name come before those with one")
            else:
                positional.append(value)
            if not self.skip(","):
                return

    def _value(self) -> Value:
        token = self.next
        self._place += 1
        if token.kind == "number":
            whole = token.text.lstrip("+-").isdigit()
            return int(token.text) if whole else float(token.text)
        if token.kind == "word":
            return {"true": True, "false": False}.get(token.text.lower(), token.text)
        if token.kind == "quoted":
            return token.text[1:-1]
        self._place -= 1
        complain(self.text, token.at, f"a value belongs here, not {token.text!r}")
