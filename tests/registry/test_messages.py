"""What a user reads who asked for something that is not there, word for word."""

from __future__ import annotations

import sys

import pytest

from mamba_core import registry
from mamba_registry.errors import (
    ConfigError,
    DependencyMissingError,
    MambaRegistryError,
    MixerError,
    PluginLoadError,
    ScanOrderError,
    TaskConflictError,
    TaskNotFoundError,
    TaskSpecError,
    WeightsError,
)

LAST = "See `mamba-core list` and `mamba-core doctor`."
PIP = f"{sys.executable} -m pip install"


def of_task(name):
    with pytest.raises(TaskNotFoundError) as caught:
        registry.spec(name)
    return str(caught.value).splitlines()


def test_suggestion_and_the_causes_of_failed_plugins_in_one_message(task, install):
    task("acme/toy-sep", "toy")
    install("import does_not_exist\n", "broken")
    install("__mamba_api__ = (2, 0)\n", "future")
    assert of_task("acme/toy-sap") == [
        "No task named 'acme/toy-sap'. Did you mean 'acme/toy-sep'?",
        "Plugin 'broken' (acme-broken 1.0) did not load: "
        "ModuleNotFoundError: No module named 'does_not_exist'",
        "Plugin 'future' (acme-future 1.0) is incompatible: "
        "needs plugin API 2.0, this mamba-core speaks 1.0",
        LAST,
    ]


def test_an_official_task_comes_with_its_install_line(install):
    install("import does_not_exist\n", "broken")  # has nothing to do with it: not told
    assert of_task("weather-now") == [
        "No task named 'weather-now'.",
        f"'weather-now' comes with mamba-weather: {PIP} mamba-weather",
        LAST,
    ]


def test_suggestion_of_a_task_that_is_not_installed():
    assert of_task("weather-nows") == [
        "No task named 'weather-nows'. Did you mean 'weather-now'?",
        f"'weather-now' comes with mamba-weather: {PIP} mamba-weather",
        LAST,
    ]


def test_an_official_plugin_that_failed_is_not_to_be_installed_again(install, set_variable):
    install("import does_not_exist\n", "weather", module="mamba_weather")
    assert of_task("weather-now") == [
        "No task named 'weather-now'.",
        "Plugin 'weather' (mamba-weather 1.0) did not load: "
        "ModuleNotFoundError: No module named 'does_not_exist'",
        LAST,
    ]
    set_variable(BLOCK="weather")
    assert of_task("weather-now")[1] == (
        "Plugin 'weather' (mamba-weather 1.0) is blocked: named in MAMBA_PLUGINS_BLOCK"
    )
    set_variable(BLOCK="", AUTOLOAD="0")
    assert of_task("weather-now")[1].endswith("is blocked: MAMBA_PLUGINS_AUTOLOAD=0")


def test_an_official_plugin_that_is_too_old(task):
    task("weather-next", "weather", module="mamba_weather")
    assert of_task("weather-now")[1] == (
        "'weather-now' is not in mamba-weather 1.0, perhaps in a newer one: "
        f"{PIP} --upgrade mamba-weather"
    )


@pytest.mark.parametrize("text", ["Graph_CLS", "graph_cls", "graph cls"])
def test_no_id(text):
    with pytest.raises(TaskSpecError) as caught:
        registry.build(text)
    assert str(caught.value) == (
        f"'{text}' is not a task id: expected 'domain-task', 'namespace/domain-task' or "
        "'...@version', in lower case. Did you mean 'graph-cls'?"
    )


def test_scan_orders(install):
    install(
        "from mamba_registry import *\n@hookimpl\ndef mamba_scan_orders():\n"
        "    return [ScanOrderSpec(name='zigzag', dims=2, order='acme:zigzag')]\n",
        "orders",
    )
    for name, dims, text in [
        (
            "rastor",
            2,
            "No scan order 'rastor' for 2-d inputs. Did you mean 'raster'? "
            "`mamba-core scan-order list` shows them all.",
        ),
        (
            "zigzag",
            3,
            "No scan order 'zigzag' for 3-d inputs. It exists for 2-d inputs. "
            "`mamba-core scan-order list` shows them all.",
        ),
    ]:
        with pytest.raises(ScanOrderError) as caught:
            registry.scan_order_spec(name, dims=dims)
        assert str(caught.value) == text


def test_mixers(install):
    install("import does_not_exist\n", "broken")
    with pytest.raises(MixerError) as caught:
        registry.mixer_spec("mamba")
    first, second = str(caught.value).splitlines()
    assert first.startswith("No mixer 'mamba'. Did you mean 'mamba")
    assert " Available: attention, group-scan," in first
    assert " mamba1, mamba2, mamba2d," in first
    assert second.startswith("Plugin 'broken' (acme-broken 1.0) did not load")


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (TaskNotFoundError, LookupError),
        (TaskConflictError, Exception),
        (TaskSpecError, ValueError),
        (ConfigError, ValueError),
        (ScanOrderError, ValueError),
        (MixerError, ValueError),
        (PluginLoadError, Exception),
        (DependencyMissingError, ImportError),
        (WeightsError, Exception),
    ],
)
def test_classes(error, base):
    assert issubclass(error, MambaRegistryError)
    assert issubclass(error, base)
    assert error.__doc__.startswith("Raised ")
    assert str(error("it's")) == "it's"  # no quotes around it
    assert str(error()) == ""
    assert getattr(registry, error.__name__) is error
