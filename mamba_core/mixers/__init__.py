"""Mixers: the sequence operators. A block adds norm and residual to one."""

from __future__ import annotations

import mamba_core.kernel_backends  # noqa: F401  (plugins' implementations of the ops)
from mamba_core.mixers.attention import Attention
from mamba_core.mixers.base import Mixer, ScanMixer
from mamba_core.mixers.choice import MixerChoice, build_mixer
from mamba_core.mixers.mamba1 import Mamba1
from mamba_core.mixers.mamba2 import Mamba2
from mamba_core.mixers.multi_scan import Merge, MultiScan, MultiScanConfig, Share
from mamba_core.mixers.state import MixerState

__all__ = [
    "Attention",
    "Mamba1",
    "Mamba2",
    "Merge",
    "Mixer",
    "MixerChoice",
    "MixerState",
    "MultiScan",
    "MultiScanConfig",
    "ScanMixer",
    "Share",
    "build_mixer",
]
