"""The six hooks of a plugin.

All of them collect records; none can change what another plugin returned, so that the order in
which plugins load never matters. A plugin is a module with functions of these names::

    from mamba_registry import hookimpl

    @hookimpl
    def mamba_tasks():
        return [TaskSpec(...)]
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from mamba_registry.specs import (
    CommandSpec,
    DoctorCheck,
    KernelBackendSpec,
    MixerSpec,
    ScanOrderSpec,
    TaskSpec,
)

PROJECT = "mamba_core"
GROUP = "mamba_core.plugins"
PLUGIN_API = (1, 0)
"""(major, minor). A plugin states what it was written for as ``__mamba_api__``."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class MambaSpecs:
    """The hooks; each docstring holds a complete plugin."""

    @hookspec
    def mamba_tasks(self) -> Iterable[TaskSpec]:  # type: ignore[empty-body]
        """Offer tasks.

        >>> from mamba_registry import TaskSpec, hookimpl
        >>> @hookimpl
        ... def mamba_tasks():
        ...     return [TaskSpec(
        ...         id="acme/audio-birds", domain="audio", summary="which bird sings",
        ...         config="acme_birds.config:BirdConfig", builder="acme_birds.model:build",
        ...         example="acme_birds.data:example", preset_fields="acme_birds.config:PRESETS",
        ...     )]
        >>> [spec.full_id for spec in mamba_tasks()]
        ['acme/audio-birds@1']
        """

    @hookspec
    def mamba_scan_orders(self) -> Iterable[ScanOrderSpec]:  # type: ignore[empty-body]
        """Offer named token orders.

        >>> from mamba_registry import ScanOrderSpec, hookimpl
        >>> @hookimpl
        ... def mamba_scan_orders():
        ...     return [ScanOrderSpec(name="checkerboard", dims=2, order="acme.o:board")]
        >>> mamba_scan_orders()[0].name
        'checkerboard'
        """

    @hookspec
    def mamba_mixers(self) -> Iterable[MixerSpec]:  # type: ignore[empty-body]
        """Offer sequence operators.

        >>> from mamba_registry import MixerSpec, hookimpl
        >>> @hookimpl
        ... def mamba_mixers():
        ...     return [MixerSpec(name="gated-conv", build="acme.mixers:GatedConv")]
        >>> mamba_mixers()[0].causal
        True
        """

    @hookspec
    def mamba_kernel_backends(self) -> Iterable[KernelBackendSpec]:  # type: ignore[empty-body]
        """Offer implementations of the ops.

        >>> from mamba_registry import KernelBackendSpec, hookimpl
        >>> @hookimpl
        ... def mamba_kernel_backends():
        ...     return [KernelBackendSpec(name="acme-npu", load="acme.npu:backend")]
        >>> mamba_kernel_backends()[0].name
        'acme-npu'
        """

    @hookspec
    def mamba_commands(self) -> Iterable[CommandSpec]:  # type: ignore[empty-body]
        """Offer ``mamba-core NAME`` commands.

        >>> from mamba_registry import CommandSpec, hookimpl
        >>> @hookimpl
        ... def mamba_commands():
        ...     return [CommandSpec(name="birds", run="acme_birds.cli:app", help="Name a bird.")]
        >>> mamba_commands()[0].help
        'Name a bird.'
        """

    @hookspec
    def mamba_doctor_checks(self) -> Iterable[DoctorCheck]:  # type: ignore[empty-body]
        """Offer self-tests for ``mamba-core doctor``.

        >>> from mamba_registry import DoctorCheck, hookimpl
        >>> @hookimpl
        ... def mamba_doctor_checks():
        ...     return [DoctorCheck(name="microphone", run="acme_birds.checks:microphone")]
        >>> mamba_doctor_checks()[0].name
        'microphone'
        """
