"""What the registry can complain about; each message names the value, the rule, the way out."""

from __future__ import annotations


class MambaRegistryError(Exception):
    """Base of all registry errors."""

    def __str__(self) -> str:
        # LookupError's subclasses would otherwise print a quoted repr of the message
        return str(self.args[0]) if self.args else ""


class TaskNotFoundError(MambaRegistryError, LookupError):
    """Raised when no installed plugin offers the task, version or preset asked for."""


class TaskConflictError(MambaRegistryError):
    """Raised when two distributions offer the id asked for, or one takes another's name."""


class TaskSpecError(MambaRegistryError, ValueError):
    """Raised for a record that breaks its own rules: a bad id, no ``tiny`` preset, a bad ref."""


class ConfigError(MambaRegistryError, ValueError):
    """Raised for a config field that does not exist or a value it does not accept."""


class ScanOrderError(MambaRegistryError, ValueError):
    """Raised for an unknown scan order, or for something that is not an order."""


class MixerError(MambaRegistryError, ValueError):
    """Raised for a mixer that nobody offers."""


class PluginLoadError(MambaRegistryError):
    """Raised in strict mode for a plugin that does not load, and for a ref that does not."""


class DependencyMissingError(MambaRegistryError, ImportError):
    """Raised when a task needs a library that is missing or does not import."""


class WeightsError(MambaRegistryError):
    """Raised for weights that are unknown, unreachable, or not the file they should be."""
