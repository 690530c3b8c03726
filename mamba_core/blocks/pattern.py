"""The layer-pattern string of hybrid stacks, letters as in Megatron-LM.

One character per layer, each with its own norm and residual: ``"M-M-*-"`` is mixer, MLP,
mixer, MLP, attention, MLP. Characters in brackets stand beside each other in one layer:
``"[M*]-"`` is a mixer in parallel with attention, then an MLP.
"""

from __future__ import annotations

LETTERS = {"M": "mixer", "*": "attention", "-": "MLP"}
"""The layers that exist."""

RESERVED = {
    "G": "Gated DeltaNet",
    "E": "mixture of experts",
    "D": "sparse attention",
    "+": "multi-head latent attention",
    "|": "pipeline cut",
    "/": "multi-token prediction",
}
"""Letters whose meaning is fixed but which nothing builds yet."""


def parse_pattern(pattern: str) -> tuple[str, ...]:
    """Split a pattern into layers, each one letter or several parallel ones.

    :raises ValueError: for an empty pattern, an unknown or reserved letter, and brackets that
        do not match or hold fewer than two letters.

    >>> parse_pattern("M-[M*]")
    ('M', '-', 'M*')
    """
    layers: list[str] = []
    group: str | None = None
    for place, letter in enumerate(pattern):
        if letter == "[" and group is None:
            group = ""
        elif letter == "]" and group is not None:
            _close(group, pattern)
            layers.append(group)
            group = None
        elif letter in LETTERS:
            if group is None:
                layers.append(letter)
            else:
                group += letter
        else:
            raise ValueError(_unknown(letter, place, pattern))
    if group is not None:
        raise ValueError(f"pattern {pattern!r}: the bracket '[' is never closed")
    if not layers:
        raise ValueError(f"pattern {pattern!r} has no layer; one letter per layer: {_valid()}")
    return tuple(layers)


def _close(group: str, pattern: str) -> None:
    if len(group) < 2:
        raise ValueError(f"pattern {pattern!r}: brackets hold two or more parallel layers")


def _unknown(letter: str, place: int, pattern: str) -> str:
    where = f"pattern {pattern!r}, character {place}: {letter!r}"
    if letter in RESERVED:
        return f"{where} means {RESERVED[letter]}, which does not exist yet; valid: {_valid()}"
    return f"{where} is not a layer; valid: {_valid()}"


def _valid() -> str:
    return ", ".join(f"{letter} ({name})" for letter, name in LETTERS.items()) + ", [..] (parallel)"
