"""Mixers: the sequence operators. A block adds norm and residual to one."""

from __future__ import annotations

import mamba_core.kernel_backends  # noqa: F401  (plugins' implementations of the ops)
from mamba_core.mixers.attention import Attention
from mamba_core.mixers.base import Mixer, ScanMixer
from mamba_core.mixers.choice import MixerChoice, build_mixer
from mamba_core.mixers.grid import GridMixer
from mamba_core.mixers.group_scan import GroupScan
from mamba_core.mixers.mamba1 import Mamba1
from mamba_core.mixers.mamba2 import Mamba2
from mamba_core.mixers.mamba2d import Mamba2D
from mamba_core.mixers.merge import Merge
from mamba_core.mixers.multi_scale import MultiScale
from mamba_core.mixers.multi_scan import MultiScan, MultiScanConfig, Share
from mamba_core.mixers.plain_mamba import PlainMamba
from mamba_core.mixers.spatial_mamba import SpatialMamba
from mamba_core.mixers.state import MixerState
from mamba_core.mixers.vssd import NonCausalSSD

__all__ = [
    "Attention",
    "GridMixer",
    "GroupScan",
    "Mamba1",
    "Mamba2",
    "Mamba2D",
    "Merge",
    "Mixer",
    "MixerChoice",
    "MixerState",
    "MultiScale",
    "MultiScan",
    "MultiScanConfig",
    "NonCausalSSD",
    "PlainMamba",
    "ScanMixer",
    "Share",
    "SpatialMamba",
    "build_mixer",
]
