"""Plugins found at first use, each on its own, failures kept as data."""

from __future__ import annotations

import doctest
import importlib
import sys

import pluggy
import pytest

from mamba_core import registry
from mamba_registry import PLUGIN_API, hookspecs
from mamba_registry.errors import PluginLoadError

HOOK = "from mamba_registry import *\n@hookimpl\n"


def test_the_examples_of_the_hooks_run():
    assert doctest.testmod(hookspecs).attempted > 12
    assert not doctest.testmod(hookspecs).failed


def test_nothing_is_imported_before_first_use(task):
    importlib.reload(importlib.import_module("mamba_core.registry"))
    name = task()
    assert "acme_toy" not in sys.modules
    assert name in [found.id for found in registry.list()]
    assert "acme_toy" in sys.modules
    assert "acme_parts" not in sys.modules  # the heavy part, not before something is built
    assert registry.list() == registry.list()


def test_what_is_known_of_a_good_plugin(task, plugin):
    task()
    found = plugin("toy")
    assert (found.module, found.distribution, found.version) == ("acme_toy", "acme-toy", "1.0")
    assert (found.status, found.error, found.traceback) == ("ok", None, None)
    assert found.tasks == ("acme/toy-cls@1",)
    assert 0 < found.seconds < 5
    assert found.origin == "acme-toy 1.0"


def test_all_kinds_of_records(install, plugin):
    source = (
        "from mamba_registry import *\n"
        "@hookimpl\ndef mamba_mixers(): yield MixerSpec(name='acme-mix', build='acme:m')\n"
        "@hookimpl\ndef mamba_scan_orders():\n"
        "    return (ScanOrderSpec(name='acme-order', dims=n, order='acme:o') for n in (1, 2))\n"
    )
    install(source, "kinds")
    assert plugin("kinds").status == "ok"
    assert registry.mixer_spec("acme-mix").build == "acme:m"
    assert [order.dims for order in registry.scan_orders() if order.name == "acme-order"] == [1, 2]
    assert "acme-mix" in [mixer.name for mixer in registry.mixers()]


def test_each_plugin_has_a_manager_of_its_own(task, install, monkeypatch):
    made = []
    real = pluggy.PluginManager
    monkeypatch.setattr(pluggy, "PluginManager", lambda name: made.append(real(name)) or made[-1])
    task()
    install(HOOK + "def mamba_mixers(): return []\n", "other")
    registry.plugins()
    held = [[name for name, _ in manager.list_name_plugin()] for manager in made]
    assert all(len(names) == 1 for names in held)
    assert {"toy", "other"} <= {names[0] for names in held}


@pytest.mark.parametrize(
    ("source", "api"),
    [
        ("", "1.0"),
        ("__mamba_api__ = (9, 1)\n", "9.1"),
        ("__mamba_api__ = '1'\n", None),
        ("1 / 0", None),
    ],
)
def test_a_plugin_tells_the_api_it_was_written_for(install, plugin, source, api):
    install(source, "told")
    assert plugin("told").api == api


@pytest.mark.parametrize(
    ("source", "status", "error"),
    [
        ("def f(:\n", "failed", "SyntaxError: invalid syntax (acme_bad.py, line 1)"),
        ("import does_not_exist\n", "failed", "No module named 'does_not_exist'"),
        ("import sys; sys.exit(3)\n", "failed", "SystemExit: 3"),
        ("raise BaseException\n", "failed", "BaseException"),
        ("__mamba_api__ = (9, 0)\n", "incompatible", "needs plugin API 9.0, this mamba-core "),
        ("__mamba_api__ = (1, 99)\n", "incompatible", "needs plugin API 1.99"),
        ("__mamba_api__ = '1'\n", "incompatible", "__mamba_api__ = '1' is not a pair"),
        (HOOK + "def mamba_task(): return []\n", "failed", "Did you mean 'mamba_tasks'?"),
        ("def mamba_tasks(): return []\n", "failed", "no hook without @mamba_registry.hookimpl"),
        (HOOK + "def mamba_tasks(x): return []\n", "failed", "PluginValidationError"),
        (HOOK + "def mamba_tasks(): 1 / 0\n", "failed", "ZeroDivisionError: division by zero"),
        (HOOK + "def mamba_tasks(): yield 1 / 0\n", "failed", "ZeroDivisionError"),
        (HOOK + "def mamba_tasks(): return 3\n", "failed", "returned 3: expected several TaskSpec"),
        (HOOK + "def mamba_tasks(): return 'abc'\n", "failed", "returned 'abc': expected several"),
        (HOOK + "def mamba_tasks(): []\n", "failed", "returned None: expected several TaskSpec"),
        (HOOK + "def mamba_tasks(): return [3]\n", "failed", "returned 3: not a TaskSpec"),
        (
            HOOK + "def mamba_mixers(): return 2 * [MixerSpec(name='m', build='a:b')]\n",
            "failed",
            "mamba_mixers returned 'm' twice",
        ),
        (
            HOOK + "def mamba_mixers(): return [MixerSpec(name='m', build='ab')]\n",
            "failed",
            "mixer 'm': build = 'ab': expected 'module:attribute'",
        ),
    ],
)
def test_bad_plugin_is_data_and_hurts_nobody(
    task, install, plugin, set_variable, capfd, recwarn, source, status, error
):
    name = task()
    install(source, "bad")
    bad = plugin("bad")
    assert bad.status == status
    assert error in bad.error
    assert "\n" not in bad.error
    assert (bad.traceback is not None) == (status == "failed")
    assert registry.spec(name).id == name
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    set_variable(STRICT="1")
    with pytest.raises(PluginLoadError, match=r"plugin 'bad' \(acme-bad 1.0\)"):
        registry.list()


def test_ctrl_c_is_no_failure_of_a_plugin(install):
    install("raise KeyboardInterrupt\n", "slow")
    with pytest.raises(KeyboardInterrupt):
        registry.plugins()


def test_a_hook_of_a_later_api_may_be_optional(install, plugin):
    source = "from mamba_registry import hookimpl\n@hookimpl(optionalhook=True)\n"
    install(f"__mamba_api__ = {PLUGIN_API}\n{source}def mamba_later(): return []\n", "modern")
    assert plugin("modern").status == "ok"


def test_a_hook_by_another_name(install, plugin):
    source = "from mamba_registry import hookimpl\n@hookimpl(specname='mamba_tasks')\n"
    install(source + "def tasks(): return []\n", "named")
    assert plugin("named").status == "ok"


def test_order_is_that_of_the_names(install):
    for name in ("zebra", "ape"):
        install("", name)
    names = [found.name for found in registry.plugins()]
    assert names == sorted(names)


def test_refresh_finds_what_was_installed_meanwhile(install, tmp_path):
    from mamba_core.testing.plugin import write_plugin

    install("", "first")
    assert "later" not in [found.name for found in registry.plugins()]
    write_plugin(tmp_path / "site", "", module="acme_later", name="later")
    assert "later" not in [found.name for found in registry.plugins()]
    registry.refresh()
    assert next(p.status for p in registry.plugins() if p.name == "later") == "ok"
    sys.modules.pop("acme_later")
