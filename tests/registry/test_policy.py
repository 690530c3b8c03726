"""MAMBA_PLUGINS_*: which plugins may load."""

from __future__ import annotations

import sys

import pytest

from mamba_core import registry
from mamba_registry.policy import Policy


@pytest.fixture
def two(task, install):
    """The plugins toy (acme-toy) and other (acme-other)."""
    task()
    install("", "other")


def statuses():
    return {info.name: (info.status, info.error) for info in registry.plugins()}


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("off", ["0", "false", "No", " off "])
def test_autoload_off(set_variable, off):
    set_variable(AUTOLOAD=off)
    assert statuses()["toy"] == ("blocked", "MAMBA_PLUGINS_AUTOLOAD=0")
    assert "acme_toy" not in sys.modules  # decided before its code runs


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("on", ["1", "true", "YES", "on", ""])
def test_autoload_on(set_variable, on):
    set_variable(AUTOLOAD=on)
    assert statuses()["toy"][0] == "ok"


@pytest.mark.usefixtures("two")
def test_autoload_of_some(set_variable):
    set_variable(AUTOLOAD="toy, ")
    assert statuses()["toy"] == ("ok", None)
    assert statuses()["other"] == ("blocked", "not in MAMBA_PLUGINS_AUTOLOAD")


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("name", ["toy", "acme-toy", "Acme_Toy", "nobody,toy"])
@pytest.mark.filterwarnings("ignore:MAMBA_PLUGINS_BLOCK names 'nobody'")
def test_block_beats_everything(set_variable, name):
    set_variable(AUTOLOAD="toy,other", BLOCK=name)
    assert statuses()["toy"] == ("blocked", "named in MAMBA_PLUGINS_BLOCK")
    assert "acme_toy" not in sys.modules
    assert statuses()["other"][0] == "ok"


@pytest.mark.usefixtures("two")
def test_block_beats_extra(set_variable, add_module):
    add_module("acme_side", "")
    set_variable(EXTRA="acme_side", BLOCK="acme_side")
    assert statuses()["acme_side"][0] == "blocked"


def test_extra_module_needs_no_distribution(set_variable, add_module, plugin):
    source = "from mamba_registry import *\n@hookimpl\ndef mamba_mixers():\n"
    add_module("acme_side", source + "    return [MixerSpec(name='side', build='acme:m')]\n")
    set_variable(AUTOLOAD="0", EXTRA="acme_side,acme_side, does_not_exist")
    assert registry.mixer_spec("side").name == "side"
    assert plugin("acme_side").origin == "acme_side"
    assert plugin("does_not_exist").status == "failed"
    sys.modules.pop("acme_side")


@pytest.mark.usefixtures("two")
def test_extra_module_that_is_installed_too_is_loaded_once(set_variable):
    set_variable(EXTRA="acme_toy")
    assert registry.spec("acme/toy-cls")
    set_variable(AUTOLOAD="0")
    assert registry.spec("acme/toy-cls")


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("BLOCK", "tooy", r"BLOCK names 'tooy', which is no installed plugin\. Did you mean 'toy'"),
        ("AUTOLOAD", "tooy,other", r"AUTOLOAD names 'tooy'.*Did you mean 'toy'"),
        ("AUTOLOAD", "acme-toy", "AUTOLOAD names 'acme-toy'"),  # names of entry points only
    ],
)
def test_unknown_names_are_one_warning(set_variable, variable, value, message):
    set_variable(**{variable: value})
    with pytest.warns(UserWarning, match=message) as caught:
        registry.list()
    assert len(caught) == 1


@pytest.mark.usefixtures("two")
def test_known_names_are_none(set_variable, recwarn):
    set_variable(BLOCK="Acme_Other", AUTOLOAD="toy")
    registry.list()
    assert not recwarn.list


def test_defaults():
    policy = Policy.from_environment({})
    assert policy == Policy()
    assert policy.admits("anything")
    assert not policy.refuses("anything", "any-thing")
    assert not Policy.from_environment({"MAMBA_PLUGINS_STRICT": "off"}).strict
