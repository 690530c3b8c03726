"""Plugins' implementations of the ops are asked before the built-in ones."""

from __future__ import annotations

import importlib

import pytest
import torch

from mamba_core import ops
from mamba_kernels import backends

SOURCE = """
from mamba_registry import *

class Backend:
    name = {name!r}

    def supports(self, call):
        return None if call.op == "rms_norm_gated" else "norms only"

    def load(self, op):
        import importlib
        return importlib.import_module(f"mamba_kernels.backends.reference.{{op}}")

def load():
    {before}
    return Backend()

@hookimpl
def mamba_kernel_backends():
    return [KernelBackendSpec(name={offered!r}, load="acme_{module}:load")]
"""


@pytest.fixture
def offer(install, monkeypatch):
    def put(module, name, offered=None, before="pass"):
        source = SOURCE.format(module=module, name=name, offered=offered or name, before=before)
        install(source, module)
        monkeypatch.setattr(backends, "_added", None)

    yield put
    backends._choice.cache_clear()


def test_it_is_chosen_where_it_accepts(offer):
    offer("npu", "acme-npu")
    row = next(row for row in ops.backends() if row["name"] == "acme-npu")
    assert row["chosen"] == ["rms_norm_gated"]
    x = torch.randn(2, 4)
    expected = x / x.pow(2).mean(-1, keepdim=True).add(1e-5).sqrt()
    torch.testing.assert_close(ops.rms_norm_gated(x, torch.ones(4), None, eps=1e-5), expected)
    assert ("acme-npu", "rms_norm_gated") in backends._loaded


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"name": "eager"}, "another one has that name"),
        ({"name": "a", "offered": "b"}, "it calls itself 'a'"),
        ({"name": "a", "before": "import does_not_exist"}, "No module named 'does_not_exist'"),
        ({"name": "a", "before": "raise SystemExit(3)"}, "is left out: 3"),
    ],
)
def test_a_bad_one_is_left_out_with_a_warning(offer, words, why):
    offer("npu", **words)
    with pytest.warns(UserWarning, match=why):
        names = [row["name"] for row in ops.backends()]
    assert names == ["triton", "native", "eager", "reference"]


def test_mixers_know_them_too():
    """Not only users of ``mamba_core.ops``."""
    importlib.import_module("mamba_core.mixers")
    from mamba_core.kernel_backends import plugin_backends

    assert plugin_backends in backends._sources
