"""What a plugin is: records, hooks, discovery, errors. Imports pluggy and nothing heavier."""

from __future__ import annotations

from mamba_registry.hookspecs import GROUP, PLUGIN_API, hookimpl
from mamba_registry.refs import Ref
from mamba_registry.specs import (
    CommandSpec,
    DoctorCheck,
    KernelBackendSpec,
    MixerSpec,
    PluginInfo,
    ScanOrderSpec,
    TaskRecord,
    TaskSpec,
    WeightsSpec,
)
from mamba_registry.suggest import suggest

__all__ = [
    "GROUP",
    "PLUGIN_API",
    "CommandSpec",
    "DoctorCheck",
    "KernelBackendSpec",
    "MixerSpec",
    "PluginInfo",
    "Ref",
    "ScanOrderSpec",
    "TaskRecord",
    "TaskSpec",
    "WeightsSpec",
    "hookimpl",
    "suggest",
]
