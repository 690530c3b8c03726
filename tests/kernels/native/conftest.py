"""The helpers of these tests, ``native_*.py``, lie beside them; importlib mode sees none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mamba_kernels.backends.native import _library

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def native():
    """The library, back at its own choice of instruction set afterwards."""
    if (reason := _library.unavailable()) is not None:
        pytest.skip(reason)  # test_library.py fails where that must not be
    before = _library.isa_in_use()
    yield _library
    _library.use_isa(before)


@pytest.fixture(params=["avx512", "avx2", "sse2", "neon", "plain"])
def isa(request, native) -> str:
    """Each instruction set that this CPU has, in use."""
    if request.param not in native.isas():
        pytest.skip(f"no {request.param} here")
    native.use_isa(request.param)
    return request.param
