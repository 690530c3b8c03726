"""The networks of ``rec-next``; each continues a state by new events."""

from __future__ import annotations

from mamba_recsys.next_item.networks.gru4rec import GRU4RecNetwork
from mamba_recsys.next_item.networks.hstu import HSTUNetwork
from mamba_recsys.next_item.networks.mamba4rec import Mamba4RecNetwork
from mamba_recsys.next_item.networks.prenorm import PreNormNetwork
from mamba_recsys.next_item.networks.sasrec import SASRecNetwork
from mamba_recsys.next_item.networks.stack import StackNetwork
from mamba_recsys.next_item.networks.tim4rec import TiM4RecNetwork
from mamba_recsys.next_item.networks.two_path import TwoPathNetwork

__all__ = [
    "GRU4RecNetwork",
    "HSTUNetwork",
    "Mamba4RecNetwork",
    "PreNormNetwork",
    "SASRecNetwork",
    "StackNetwork",
    "TiM4RecNetwork",
    "TwoPathNetwork",
]
