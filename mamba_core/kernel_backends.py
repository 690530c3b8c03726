"""Kernel backends of plugins, handed to ``mamba_kernels`` when an op is first used."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import mamba_core.registry  # noqa: F401  (brings the core's own records)
from mamba_kernels import Backend, add_backend_source, ops
from mamba_registry import catalog
from mamba_registry.refs import resolve

__all__ = ["ops", "plugin_backends"]

_OWN = ("triton", "native", "eager", "reference")


def plugin_backends() -> Iterator[Backend]:
    """Load what plugins offer by ``mamba_kernel_backends``.

    One that does not load, or whose name is taken, is left out with a warning: the ops have
    other implementations.
    """
    offers = catalog.offers("kernel_backends")
    names = [*_OWN, *(offer.spec.name for offer in offers)]
    for offer in offers:
        where = f"kernel backend '{offer.spec.name}' of {offer.plugin.origin} is left out"
        if names.count(offer.spec.name) > 1:
            warnings.warn(f"{where}: another one has that name", stacklevel=2)
            continue
        try:
            backend: Backend = resolve(offer.spec.load)()
            if backend.name != offer.spec.name:
                raise ValueError(f"it calls itself '{backend.name}'")
        except (Exception, SystemExit) as error:
            warnings.warn(f"{where}: {error}", stacklevel=2)
            continue
        yield backend


add_backend_source(plugin_backends)
