"""A broken plugin never breaks a command that does not need it."""

from __future__ import annotations

import json

import pytest

from mamba_core.testing.plugin import write_plugin

BROKEN = {
    "syntax": "def f(:\n",
    "missing": "import does_not_exist\n",
    "leaves": "import sys\nsys.exit(3)\n",
    "future": "__mamba_api__ = (9, 0)\n",
    "badhook": (
        "from mamba_registry import hookimpl\n@hookimpl\ndef mamba_tasks():\n    return [42]\n"
    ),
}


@pytest.fixture
def broken(site):
    """Every kind of broken plugin beside the working one."""
    for name, source in BROKEN.items():
        write_plugin(site, source, module=f"acme_{name}", name=name)


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["plugins"],
        ["info", "acme/toy-cls"],
        ["train", "acme/toy-cls", "--help"],
        ["new-plugin", "acme-new", "--task", "acme/toy-new"],
    ],
)
def test_other_commands_work(cli, words):
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # nobody wants a warning with every command


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--json"],
        ["list", "--mixers", "--json"],
        ["list", "--scan-orders"],
        ["plugins", "--json"],
        ["info", "acme/toy-cls", "--json"],
        ["check", "acme/toy-cls"],
        ["eval", "acme/toy-cls", "--help"],
        ["predict", "acme/toy-cls", "--help"],
        ["bench", "--help"],
    ],
    ids=" ".join,
)
def test_so_do_these(toy, make_plugin, capsys, words):
    """In this process, which is quicker; the code of the plugins runs all the same."""
    from mamba_core.cli import main

    for name, source in BROKEN.items():
        make_plugin(source, name=name)
    with pytest.raises(SystemExit) as leaving:
        main(words)
    captured = capsys.readouterr()
    # the toy fails some checks: it has no card, for one
    assert leaving.value.code in ((1,) if words[0] == "check" else (0, None)), captured.err
    assert captured.err == ""
    if "--json" in words:
        assert json.loads(captured.out)


@pytest.mark.usefixtures("broken")
def test_plugins_says_why(cli):
    rows = {row["name"]: row for row in json.loads(cli("plugins", "--json").stdout)}
    assert rows["toy"]["status"] == "ok"
    assert rows["future"]["status"] == "incompatible"
    assert "SyntaxError" in rows["syntax"]["error"]
    assert "does_not_exist" in rows["missing"]["error"]
    assert "SystemExit" in rows["leaves"]["error"]
    assert "42" in rows["badhook"]["error"]


@pytest.mark.usefixtures("broken")
def test_name_error_tells_the_causes(cli):
    done = cli("info", "acme/missing-task")
    assert done.returncode == 1
    assert "does_not_exist" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import does_not_exist\n", "does_not_exist"),
        ("import sys\nsys.exit(0)\n", "SystemExit"),
        ("def f(:\n", "SyntaxError"),
    ],
)
def test_broken_heavy_part(cli, site, source, cause):
    """What a record says is shown when what it names cannot be imported."""
    (site / "acme_heavy.py").write_text(source)
    done = cli("info", "acme/toy-cls")
    assert done.returncode == 1
    assert "float[batch, 3]" in done.stdout
    assert cause in done.stdout
    done = cli("train", "acme/toy-cls", "--help")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(("DependencyMissingError", "PluginLoadError"))
    assert cause in done.stderr


def test_misspelt_block_is_one_plain_warning(cli):
    done = cli("list", MAMBA_PLUGINS_BLOCK="toi")
    assert done.returncode == 0
    assert done.stderr == (
        "Warning: MAMBA_PLUGINS_BLOCK names 'toi', which is no installed plugin. "
        "Did you mean 'toy'?\n"
    )
