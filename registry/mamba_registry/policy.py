"""The environment variables that say which plugins may load.

``MAMBA_PLUGINS_AUTOLOAD``: 1 (default), 0, or a comma list of entry-point names to allow.
``MAMBA_PLUGINS_EXTRA``: comma list of further modules to load as plugins.
``MAMBA_PLUGINS_BLOCK``: comma list of plugin or distribution names; beats everything else.
``MAMBA_PLUGINS_STRICT``: 1 raises the first plugin failure instead of keeping it as data.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mamba_registry.specs import PluginInfo
from mamba_registry.suggest import suggest

_OFF = ("0", "false", "no", "off")
_ON = ("1", "true", "yes", "on", "")


@dataclass(frozen=True, slots=True)
class Policy:
    """What the environment says, read once per discovery."""

    autoload: bool = True
    allow: frozenset[str] | None = None
    extra: tuple[str, ...] = ()
    block: frozenset[str] = frozenset()
    strict: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Policy:
        """Read the four variables."""
        env = os.environ if environ is None else environ
        text = env.get("MAMBA_PLUGINS_AUTOLOAD", "1").strip()
        off, on = text.lower() in _OFF, text.lower() in _ON
        return cls(
            autoload=not off,
            allow=None if off or on else frozenset(_names(text)),
            extra=_names(env.get("MAMBA_PLUGINS_EXTRA", "")),
            block=frozenset(map(normal, _names(env.get("MAMBA_PLUGINS_BLOCK", "")))),
            strict=env.get("MAMBA_PLUGINS_STRICT", "0").strip().lower() not in (*_OFF, ""),
        )

    def refuses(self, name: str, distribution: str | None) -> bool:
        """Whether a plugin is blocked, by its own or its distribution's name."""
        return bool(self.block & {normal(name), normal(distribution or name)})

    def admits(self, entry_point: str) -> bool:
        """Whether an installed entry point is to be loaded."""
        return self.autoload and (self.allow is None or entry_point in self.allow)

    def warn_about_unknown(self, found: Iterable[PluginInfo]) -> None:
        """Warn once about a blocked or allowed name that nothing found has.

        ``AUTOLOAD`` knows names of entry points only, ``BLOCK`` those of distributions too.
        """
        found = list(found)
        points = sorted(plugin.name for plugin in found)
        every = [*points, *sorted(p.distribution for p in found if p.distribution)]
        unknown = [("BLOCK", name, every) for name in self.block - {normal(k) for k in every}]
        unknown += [("AUTOLOAD", name, points) for name in (self.allow or set()) - set(points)]
        for variable, name, known in sorted(unknown):
            warnings.warn(
                f"MAMBA_PLUGINS_{variable} names '{name}', which is no installed plugin."
                f"{suggest(name, known)}",
                stacklevel=2,
            )


def normal(name: str) -> str:
    """Normalise a distribution name (``Mamba_Audio`` -> ``mamba-audio``)."""
    return name.lower().replace("_", "-").replace(".", "-")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
