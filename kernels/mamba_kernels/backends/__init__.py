"""Who can compute an op: an ordered list of backends, each of which accepts or says why not.

Order of preference: backends added by :func:`add_backend_source`, then triton, native, eager and
reference. ``MAMBA_KERNELS_BACKEND=<name>`` forces one for every op. A backend's module is imported
only when it is chosen.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch

FORCE = "MAMBA_KERNELS_BACKEND"
OPS = (
    "selective_scan",
    "ssd",
    "causal_conv1d",
    "rms_norm_gated",
    "selective_state_update",
    "causal_conv1d_update",
)


@dataclass(frozen=True)
class Call:
    """What a backend may look at to accept or refuse a call.

    :param op: one of :data:`OPS`.
    :param device: device type of the tensors, ``"cpu"`` or ``"cuda"`` for instance.
    :param dtype: dtype of the first tensor.
    :param features: what is unusual: ``"double"`` (computed in float64), ``"complex"`` (A is
        complex), ``"constant"`` (B or C does not change over time), ``"order"``, ``"packed"``,
        ``"grad"`` (a backward will follow).
    """

    op: str
    device: str
    dtype: torch.dtype
    features: tuple[str, ...] = ()


class Backend(Protocol):
    """An implementation of some ops.

    ``name``: what :data:`FORCE` calls it. ``supports(call)``: None to accept, else one sentence
    that says why not; equal calls get one answer, which is remembered. ``load(op)``: an object with
    ``forward`` and ``backward`` (or, for the updates, ``update``) of the signatures in
    ``backends/eager/<op>.py``. Where forward keeps something for backward, ``keeps`` makes it,
    empty: traced and real calls must agree.
    """

    @property
    def name(self) -> str: ...

    def supports(self, call: Call) -> str | None: ...

    def load(self, op: str) -> object: ...


@dataclass(frozen=True)
class _Builtin:
    """A backend of this package: ``backends/<name>/<op>.py``."""

    name: str
    refusal: Callable[[Call], str | None]

    def supports(self, call: Call) -> str | None:
        return self.refusal(call)

    def load(self, op: str) -> object:
        return importlib.import_module(f"mamba_kernels.backends.{self.name}.{op}")


@functools.cache
def _refusal(backend: str) -> Callable[[Call], str | None]:
    """That of a backend's own package, which is imported late."""
    return importlib.import_module(f"mamba_kernels.backends.{backend}").refusal


def _triton(call: Call) -> str | None:
    return _refusal("triton")(call)


def _native(call: Call) -> str | None:
    return _refusal("native")(call)


def _eager(call: Call) -> str | None:
    if "complex" in call.features:
        return "eager computes real A only"
    if "constant" in call.features:
        return "eager needs B and C that change over time"
    return None


def _anything(call: Call) -> str | None:
    return None


_BUILTIN: tuple[Backend, ...] = (
    _Builtin("triton", _triton),
    _Builtin("native", _native),
    _Builtin("eager", _eager),
    _Builtin("reference", _anything),
)
_sources: list[Callable[[], Iterable[Backend]]] = []
_added: list[Backend] | None = None


def add_backend_source(source: Callable[[], Iterable[Backend]]) -> None:
    """Let ``source()`` bring further backends; it is called once, when an op is first used.

    Their names must be new. They are asked before the backends of this package, in the order in
    which they were added.
    """
    global _added
    _sources.append(source)
    _added = None


def available() -> tuple[Backend, ...]:
    """All known backends, best first.

    :raises ValueError: if a source brings a name that is taken.
    """
    global _added
    if _added is None:
        found = [backend for source in _sources for backend in source()]
        names = [backend.name for backend in (*found, *_BUILTIN)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two kernel backends are called {name!r}: rename the added one")
        _added = found
        _choice.cache_clear()
    return (*_added, *_BUILTIN)


def _find(name: str) -> Backend:
    for backend in available():
        if backend.name == name:
            return backend
    known = ", ".join(backend.name for backend in available())
    raise ValueError(f"no kernel backend is called {name!r}: {FORCE} takes one of {known}")


@torch.compiler.assume_constant_result
def choose(op: str, device: str, dtype: torch.dtype, features: tuple[str, ...]) -> str:
    """Name of the backend that computes this call.

    :raises RuntimeError: if the forced backend refuses; the message carries its reason.
    """
    if _added is None:
        available()  # forgets the choices made among others
    return _choice(op, device, dtype, features, os.environ.get(FORCE))


@functools.lru_cache(maxsize=256)
def _choice(
    op: str, device: str, dtype: torch.dtype, features: tuple[str, ...], forced: str | None
) -> str:
    """:func:`choose`, remembered: a decoder asks for every token."""
    call = Call(op, device, dtype, features)
    if forced:
        reason = _find(forced).supports(call)
        if reason is not None:
            raise RuntimeError(
                f"{FORCE}={forced} cannot compute {op} here: {reason}. Unset {FORCE}"
            )
        return forced
    return next(backend.name for backend in available() if backend.supports(call) is None)


_loaded: dict[tuple[str, str], object] = {}


def load(name: str, op: str) -> object:
    """The implementation of ``op`` by the backend ``name``, imported at first use."""
    key = (name, op)
    found = _loaded.get(key)
    if found is None:
        found = _loaded[key] = _find(name).load(op)
    return found


def overview(device: str = "cpu", dtype: torch.dtype = torch.float32) -> list[dict[str, object]]:
    """One row per backend: ``name``, the ``ops`` it computes for plain calls on this device and
    dtype, ``chosen`` (ops for which it is the first to accept), and ``reasons`` (op -> why not).
    """
    rows: list[dict[str, object]] = []
    taken: set[str] = set()
    forced = os.environ.get(FORCE)
    for backend in available():
        answers = {op: backend.supports(Call(op, device, dtype)) for op in OPS}
        can = [op for op in OPS if answers[op] is None]
        allowed = can if forced in (None, "", backend.name) else []
        chosen = [op for op in allowed if op not in taken]
        taken.update(chosen)
        reasons = {op: reason for op, reason in answers.items() if reason is not None}
        rows.append({"name": backend.name, "ops": can, "chosen": chosen, "reasons": reasons})
    return rows
