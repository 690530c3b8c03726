"""Registrations of a running process, refreshing, isolation, threads."""

from __future__ import annotations

import threading

import pytest
import torch

from mamba_core import registry
from mamba_registry import MixerSpec, catalog
from mamba_registry.errors import MixerError, ScanOrderError, TaskNotFoundError, TaskSpecError


def order(shape, *, device="cpu"):
    return torch.arange(shape[0]).unsqueeze(0)


def other_order(shape, *, device="cpu"):
    return torch.arange(shape[0]).flip(0).unsqueeze(0)


def test_a_task_of_the_session(spec):
    registry.register(spec())
    assert registry.spec("acme/toy-cls") == spec()
    assert "acme/toy-cls" in [found.id for found in registry.list("toy")]


def test_a_cell_run_twice_is_quiet():
    def define():
        @registry.scan_order("mine", dims=1, summary="mine", causal=True)
        def mine(shape, *, device="cpu"):
            return order(shape)

        @registry.mixer("mixer-of-mine", streams=True)
        class Mine(torch.nn.Module):
            def __init__(self, d_model: int, taps: int = 3) -> None:
                super().__init__()

        return mine, Mine

    define()
    mine, cls = define()
    assert registry.scan_order_spec("mine").order is mine
    assert registry.scan_order_spec("mine").causal
    assert registry.mixer_spec("mixer-of-mine").build is cls
    assert registry.mixer_spec("mixer-of-mine").streams


def test_another_function_needs_replace():
    registry.register_scan_order("mine", order, dims=1)
    with pytest.raises(TaskSpecError) as caught:
        registry.register_scan_order("mine", other_order, dims=1)
    assert ":order (" in str(caught.value)
    assert ":other_order needs another name, or replace=True" in str(caught.value)
    registry.register_scan_order("mine", order, dims=2)  # for other grids: another order
    registry.register_scan_order("mine", other_order, dims=1, replace=True)
    assert registry.scan_order_spec("mine", dims=1).order is other_order


def test_an_installed_name_needs_replace(task):
    with pytest.raises(TaskSpecError, match=r"scan order 'raster' exists already, from mamba_core"):
        registry.scan_order("raster", dims=None)(order)
    with pytest.raises(TaskSpecError, match="mixer 'mamba2' exists already"):
        registry.mixer("mamba2")(torch.nn.Identity)
    registry.mixer("mamba2", replace=True)(torch.nn.Identity)
    assert registry.mixer_spec("mamba2").build is torch.nn.Identity
    task()
    installed = registry.spec("acme/toy-cls")
    registry.register(installed)  # the same one
    assert registry.spec("acme/toy-cls") is installed


@pytest.mark.parametrize("thing", [None, "audio-sep", TaskSpecError, catalog.SESSION])
def test_no_record(thing):
    with pytest.raises(TaskSpecError, match="is not a record"):
        registry.register(thing)


def test_isolated_sees_nothing_installed_and_leaves_nothing(task, spec):
    name = task()
    registry.register(spec(id="acme/toy-before"))
    with registry.isolated(spec(id="acme/toy-inside")):
        assert [found.id for found in registry.list()] == ["acme/toy-inside"]
        assert registry.scan_order_spec("raster")
        registry.register(spec(id="acme/toy-more"))
        registry.refresh()
        assert len(registry.list()) == 2
        assert registry.plugins() == ()
    assert {name, "acme/toy-before"} <= {found.id for found in registry.list()}
    with pytest.raises(TaskNotFoundError):
        registry.spec("acme/toy-inside")


def test_isolated_restores_after_an_error(spec):
    with pytest.raises(ZeroDivisionError), registry.isolated(spec()):
        raise ZeroDivisionError
    with pytest.raises(TaskNotFoundError):
        registry.spec("acme/toy-cls")


def test_no_plugins_from_now_on(task, monkeypatch):
    name = task()
    monkeypatch.setattr(catalog, "_no_plugins", False)  # so that it is restored
    registry.disable_plugins()
    with pytest.raises(TaskNotFoundError):
        registry.spec(name)
    assert registry.scan_order_spec("raster")


def test_threads_get_one_snapshot(install):
    """The plugin is slow, so that all threads are on the way at once."""
    source = "import time\ntime.sleep(0.05)\nfrom mamba_registry import hookimpl\n"
    install(source + "@hookimpl\ndef mamba_tasks():\n    time.sleep(0.02)\n    return []\n", "slow")
    seen, start = [], threading.Barrier(16)

    def look():
        start.wait()
        seen.append(catalog.snapshot())

    threads = [threading.Thread(target=look) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(seen) == 16
    assert all(found is seen[0] for found in seen)
    assert [info.status for info in seen[0].plugins if info.name == "slow"] == ["ok"]


def test_threads_registering_lose_nothing():
    def work(number):
        for index in range(20):
            name = f"m{number}-{index}"
            registry.register(MixerSpec(name=name, build=f"acme:m{number}"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len([mixer for mixer in registry.mixers() if mixer.name.startswith("m")]) >= 160


def test_a_refresh_during_the_search_is_not_lost(monkeypatch):
    """A search that began before a refresh must not publish what it found."""
    real, began, go = catalog._discover, threading.Event(), threading.Event()
    results = []

    def slow():
        found = real()
        results.append(found)
        began.set()
        go.wait(10)
        return found

    monkeypatch.setattr(catalog, "_discover", slow)
    thread = threading.Thread(target=catalog.snapshot)
    thread.start()
    assert began.wait(10)
    registry.refresh()
    go.set()
    thread.join(10)
    assert len(results) == 2
    assert catalog.snapshot() is results[1]


@pytest.mark.parametrize(
    "call",
    [
        "list()",
        "build('acme/toy-cls')",
        "refresh()",
        "scan_order('x', dims=1)(len)",
    ],
)
def test_a_plugin_that_uses_the_registry_while_it_is_imported(task, install, plugin, call):
    name = task()
    install(f"from mamba_core import registry\nregistry.{call}\n", "eager")
    found = plugin("eager")
    assert found.status == "failed"
    assert "was used while the plugin 'eager' was being imported; move that call" in found.error
    assert registry.spec(name)  # the others are there


def test_such_a_call_in_a_hook_is_the_same(install, plugin):
    source = "from mamba_registry import hookimpl\nfrom mamba_core import registry\n"
    install(source + "@hookimpl\ndef mamba_tasks(): return registry.list()\n", "eager")
    assert "was being imported" in plugin("eager").error


def test_the_search_takes_no_lock_while_plugins_are_imported(install, plugin):
    """A plugin that waits for a thread which uses what is known does not hang."""
    registry.list()
    found = catalog.snapshot()
    source = (
        "import threading, time\nfrom mamba_registry import catalog\n"
        "done = []\n"
        "def peek():\n    catalog._publish.acquire(timeout=5) and done.append(1)\n"
        "    catalog._publish.release()\n"
        "t = threading.Thread(target=peek); t.start(); t.join(6)\n"
        "assert done\n"
    )
    install(source, "waiting")
    assert plugin("waiting").status == "ok"
    assert catalog.snapshot() is not found


def test_unknown_mixer_and_order():
    with pytest.raises(MixerError, match=r"No mixer 'mamba3'\. Did you mean 'mamba[12]'\?.*mamba1"):
        registry.mixer_spec("mamba3")
    with pytest.raises(ScanOrderError, match=r"No scan order 'rastor'\. Did you mean 'raster'\?"):
        registry.scan_order_spec("rastor")
