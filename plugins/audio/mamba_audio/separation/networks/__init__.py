"""The networks between encoder and decoder, one file each: its typed config and its module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mamba_audio.separation.networks.base import Network
from mamba_audio.separation.networks.conv_tasnet import ConvTasNet, ConvTasNetMasker
from mamba_audio.separation.networks.dprnn import DPRNN, DPRNNMasker
from mamba_audio.separation.networks.dual_path import DualPath, DualPathMasker
from mamba_audio.separation.networks.single_path import SinglePath, SinglePathMasker
from mamba_audio.separation.networks.time_frequency import TimeFrequency, TimeFrequencyNetwork

if TYPE_CHECKING:
    from mamba_audio.separation.config import SeparatorConfig

NetworkConfig = Annotated[
    SinglePath | DualPath | TimeFrequency | ConvTasNet | DPRNN,
    Field(discriminator="kind"),
]
"""One of the networks, told apart by ``kind``."""

_READING = ("scan_order", "merge")
UNUSED: dict[type, tuple[str, ...]] = {
    TimeFrequency: _READING,
    ConvTasNet: ("mixer", *_READING),
    DPRNN: ("mixer", *_READING),
}
"""Fields of the separator's config that a network has no use for: SPMamba always reads both ways
and joins the results, the peers have no mixer."""

_MODULES: dict[type, type[Network]] = {
    SinglePath: SinglePathMasker,
    DualPath: DualPathMasker,
    TimeFrequency: TimeFrequencyNetwork,
    ConvTasNet: ConvTasNetMasker,
    DPRNN: DPRNNMasker,
}


def build_network(config: SeparatorConfig) -> Network:
    """Return the module of ``config.network``."""
    return _MODULES[type(config.network)](config.network, config)
