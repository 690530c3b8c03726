"""Costs as they are reported."""

from __future__ import annotations

import pytest

from mamba_audio.separation.cost import file_cost, in_new_process


def test_a_file_costs_time_and_memory():
    cost = file_cost("tiny", 1.0)
    assert cost.real_time_factor == cost.cpu_s > 0
    assert cost.peak_mib >= cost.base_mib > 0


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file():
    """Half a minute and ten, measured in fresh processes; test_predict has an hour."""
    short, long = in_new_process("tiny", 30), in_new_process("tiny", 600)
    assert long.peak_mib < 1.05 * short.peak_mib
