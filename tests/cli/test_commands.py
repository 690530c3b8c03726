"""The commands as a new user types them."""

from __future__ import annotations

import json

import pytest

from mamba_core import registry
from mamba_core.cli import main
from mamba_core.cli.builtin import COMMANDS


def call(capsys, *words):
    """Return (exit code, stdout, stderr) of one command in this process."""
    with pytest.raises(SystemExit) as leaving:
        main(words)
    code = leaving.value.code
    captured = capsys.readouterr()
    return code or 0, captured.out, captured.err


def test_help_names_every_command(capsys):
    code, out, _ = call(capsys, "--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)


def test_misspelt_command_is_answered(capsys):
    code, _, err = call(capsys, "lst")
    assert code == 2
    assert "Did you mean 'list'" in err


def test_misspelt_option_is_answered(capsys):
    code, _, err = call(capsys, "plugins", "--jsn")
    assert code == 2
    assert "--json" in err


def test_version(capsys):
    assert call(capsys, "--version")[1].startswith("mamba-core ")


def test_list_shows_tasks(capsys, toy):
    code, out, _ = call(capsys, "list", "--domain", "toy")
    assert code == 0
    assert out.splitlines()[1].split()[:2] == ["acme/toy-cls@1", "toy"]


def test_list_json(capsys, toy):
    rows = json.loads(call(capsys, "list", "--json")[1])
    row = next(row for row in rows if row["id"] == "acme/toy-cls@1")
    assert row["status"] == "ok"
    assert row["inputs"] == {"x": "float[batch, 3]"}


def test_list_says_conflict(capsys, toy, make_plugin):
    source = (
        "from mamba_registry import hookimpl\nimport acme_toy\n"
        "@hookimpl\ndef mamba_tasks():\n    return acme_toy.mamba_tasks()\n"
    )
    make_plugin(source, name="dup")
    rows = json.loads(call(capsys, "list", "--json", "--domain", "toy")[1])
    assert [(row["status"], row["plugin"]) for row in rows] == [("conflict", "dup, toy")]
    code, _, err = call(capsys, "info", toy)
    assert code == 1
    assert "MAMBA_PLUGINS_BLOCK" in err


def test_list_of_no_such_domain(capsys, toy):
    out = call(capsys, "list", "--domain", "toys")[1]
    assert out.startswith("No task of domain 'toys'. Did you mean 'toy'? Installed: ")


def test_list_mixers_and_scan_orders(capsys):
    assert "mamba2" in call(capsys, "list", "--mixers")[1]
    assert "bidirectional" in call(capsys, "list", "--scan-orders")[1]
    code, _, err = call(capsys, "list", "--scan-orders", "--mixers")
    assert code == 1
    assert "give one" in err


def test_info_text(capsys, toy):
    code, out, _ = call(capsys, "info", toy)
    assert code == 0
    assert "--model.inner.size" in out
    assert "required" in out
    assert "tiny (default)  8" in out


def test_info_json(capsys, toy):
    facts = json.loads(call(capsys, "info", toy, "--json")[1])
    assert facts["presets"] == {"tiny": 8}
    fields = {field["flag"]: field for field in facts["fields"]["model"]}
    assert fields["--model.inner.size"]["help"] == "Channels inside."
    assert fields["--model.inner.size"]["default"] == 4


def test_info_of_a_misspelt_task(capsys, toy):
    code, out, err = call(capsys, "info", "acme/toy-cl")
    assert (code, out) == (1, "")
    assert "Did you mean 'acme/toy-cls'?" in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback():
    with pytest.raises(registry.TaskNotFoundError):
        main(["--debug", "info", "acme/nothing"])


def test_plugins_json(capsys, toy):
    rows = json.loads(call(capsys, "plugins", "--json")[1])
    row = next(row for row in rows if row["name"] == "toy")
    assert row["tasks"] == ["acme/toy-cls@1"]


def test_no_plugins(capsys, toy, monkeypatch):
    monkeypatch.setenv("MAMBA_PLUGINS_AUTOLOAD", "1")  # so that it is restored
    registry.refresh()
    code, _, err = call(capsys, "--no-plugins", "info", toy)
    assert code == 1
    assert "acme/toy-cls" in err


def test_unknown_benchmark(capsys):
    code, _, err = call(capsys, "bench", "scann")
    assert code == 1
    assert "Did you mean 'scan'?" in err


def test_plugin_command(capsys, make_plugin):
    source = (
        "from mamba_registry import CommandSpec, hookimpl\n"
        "def greet(name: str):\n    print('hello', name)\n"
        "@hookimpl\ndef mamba_commands():\n"
        "    return [CommandSpec(name='greet', run='acme_greeter:greet', help='Say hello.'),\n"
        "            CommandSpec(name='list', run='acme_greeter:greet', help='Take a name.')]\n"
    )
    make_plugin(source, name="greeter")
    assert call(capsys, "greet", "you")[:2] == (0, "hello you\n")
    code, _, err = call(capsys, "great", "you")
    assert code == 2
    assert "Did you mean 'greet'" in err
    assert "bidirectional" in call(capsys, "list", "--scan-orders")[1]  # stays the core's
    assert "Say hello." in call(capsys, "plugins")[1]
