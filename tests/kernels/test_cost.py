"""Work and memory of the eager scans are linear in the length; counted, not timed."""

from __future__ import annotations

import pytest
import torch
from kernel_cases import Draw, scan_call, ssd_call
from torch.utils._python_dispatch import TorchDispatchMode

from mamba_kernels.backends.eager import selective_scan, ssd
from mamba_kernels.backends.eager._ssd_core import WORKSPACE


class Meter(TorchDispatchMode):
    """Counts operations, the numbers they write, and the largest tensor among them."""

    def __init__(self):
        super().__init__()
        self.operations = self.written = self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.operations += 1
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor) and not function.is_view:
                self.written += value.numel()
                self.largest = max(self.largest, value.numel())
        return result


def scan(length):
    call = scan_call(Draw(torch.float32), batch=2, channels=8, n=16, length=length)
    tensors = [call[n] for n in ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")]
    options = (call["initial_state"], call["delta_softplus"], None, None)
    return selective_scan, (*tensors, *options), 2 * 8 * length


def dual(length):
    call = ssd_call(Draw(torch.float32), batch=2, heads=4, p=4, n=16, length=length)
    tensors = [call[n] for n in ("x", "dt", "A", "B", "C", "D", "z", "dt_bias")]
    options = (call["initial_states"], 64, True, 0.0, float("inf"), None, None, None)
    return ssd, (*tensors, *options), 2 * 16 * length


def measured(make, length):
    module, args, tokens = make(length)
    with Meter() as meter:
        out, last, saved = module.forward(*args, True)
        grads = torch.ones_like(out), torch.ones_like(last)
        module.backward(*grads, saved, [a is not None for a in args[:9]], *args)
    return meter, tokens


@pytest.mark.parametrize("make", [scan, dual], ids=["selective_scan", "ssd"])
def test_forward_and_backward_are_linear_in_length(make):
    (short, _), (long, _) = measured(make, 512), measured(make, 2048)
    assert long.operations <= 4.2 * short.operations
    assert long.written <= 4.2 * short.written


def test_the_scan_keeps_no_history_of_states():
    """The states of all steps would be 16 times the tokens."""
    meter, tokens = measured(scan, 2048)
    assert meter.largest <= 2 * tokens


def test_ssd_works_on_pieces_of_a_fixed_size():
    """The decays between all steps of all chunks would be 16 times the tokens."""
    meter, tokens = measured(dual, 8192)
    assert meter.largest <= WORKSPACE < 16 * tokens
