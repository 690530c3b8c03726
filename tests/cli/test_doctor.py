"""The doctor finds what is broken, says the fix, and survives it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mamba_core import registry
from mamba_core.cli import doctor
from mamba_core.cli.doctor import kernels, libraries, machine, plugins
from mamba_core.cli.doctor.finding import Finding
from mamba_core.testing.plugin import write_plugin


def problems(findings):
    found = [finding for finding in findings if finding.status == "problem"]
    assert all(finding.fix for finding in found), "a problem without a fix"
    return found


def test_this_machine_is_looked_at():
    assert not problems(machine.python())
    assert next(f.text.split()[0] for f in machine.torch()) == "torch"
    assert any(f.text.startswith("cpu") for f in machine.devices())


def test_misspelt_variable(monkeypatch):
    monkeypatch.setenv("MAMBA_OFLINE", "1")
    monkeypatch.setenv("MAMBA_OFFLINE", "1")
    monkeypatch.setenv("MAMBA_ROOT_PREFIX", "/opt/conda")
    (found,) = problems(machine.variables())
    assert "Did you mean 'MAMBA_OFFLINE'?" in found.text
    assert found.fix == "unset MAMBA_OFLINE"


def test_every_variable_that_is_read_is_known():
    """A variable the doctor does not know would be called a mistake."""
    import re

    import mamba_core
    import mamba_kernels
    import mamba_registry

    used = set()
    for package in (mamba_core, mamba_kernels, mamba_registry):
        for file in Path(package.__file__).parent.rglob("*.py"):
            used |= set(re.findall(r"[\"'`](MAMBA_[A-Z_]+)[\"'`]", file.read_text()))
    assert used <= {*machine.VARIABLES, *machine._OTHERS}


def test_cache_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("MAMBA_CACHE", str(tmp_path / "a" / "b"))
    assert [f.status for f in machine.cache()] == ["ok"]
    monkeypatch.setattr("os.access", lambda *_: False)
    (found,) = machine.cache()
    assert "MAMBA_CACHE" in (found.fix or "")


def test_home_that_is_no_folder(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.delenv("MAMBA_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    (found,) = machine.cache()
    assert found.status == "note"
    assert "cannot be written" in found.text


def test_file_that_hides_a_package(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kernels").mkdir()  # a folder without __init__ hides nothing
    assert not list(machine.shadows())
    (tmp_path / "torch.py").touch()
    (tmp_path / "mamba_core").mkdir()
    (tmp_path / "mamba_core" / "__init__.py").touch()
    assert [f.text.split(" hides ")[1].split()[2] for f in problems(machine.shadows())] == [
        "mamba_core",
        "torch",
    ]


def test_plugins_are_timed_apart(toy):
    (found,) = [f for f in plugins.imports(30) if f.text.startswith("toy ")]
    assert found.status == "ok"


def test_heavy_plugin_is_noted(make_plugin):
    make_plugin("import numpy\n", name="fat")
    (found,) = [f for f in plugins.imports(30) if f.text.startswith("fat ")]
    assert found.status == "note"
    assert "loads numpy" in found.text


def test_hanging_plugin_is_blocked(make_plugin, monkeypatch):
    monkeypatch.setenv("MAMBA_PLUGINS_AUTOLOAD", "sleepy")
    monkeypatch.setenv("MAMBA_PLUGINS_BLOCK", "nobody")
    make_plugin("import time\ntime.sleep(60)\n", name="sleepy")
    (found,) = problems(plugins.imports(1.0))
    assert found.fix == "export MAMBA_PLUGINS_BLOCK=sleepy"
    with pytest.warns(UserWarning, match="nobody"):
        assert not problems(plugins.loaded())  # it would hang if the plugin were imported


def test_failed_plugins_and_their_fixes(make_plugin):
    make_plugin("import does_not_exist.deeper\n", name="lacking")
    make_plugin("import sys; sys.exit(1)\n", name="leaving")
    make_plugin("__mamba_api__ = (9, 9)\n", name="future")
    found = {f.text.split()[0]: f.fix or "" for f in problems(plugins.loaded())}
    assert f"{sys.executable} -m pip install does_not_exist" in found["lacking"]
    assert "MAMBA_PLUGINS_BLOCK=leaving" in found["leaving"]
    assert "--upgrade mamba-core acme-future" in found["future"]


def test_conflict(toy, make_plugin):
    source = (
        "from mamba_registry import hookimpl\nimport acme_toy\n"
        "@hookimpl\ndef mamba_tasks():\n    return acme_toy.mamba_tasks()\n"
    )
    make_plugin(source, name="dup")
    (found,) = problems(plugins.conflicts())
    assert "acme/toy-cls@1" in found.text
    assert "MAMBA_PLUGINS_BLOCK" in (found.fix or "")


def test_checks_of_plugins(make_plugin):
    source = (
        "from mamba_registry import DoctorCheck, hookimpl\n"
        "def fine(): return None\n"
        "def deaf(): return 'no microphone\\nplug one in'\n"
        "def mad(): raise SystemExit(4)\n"
        "@hookimpl\ndef mamba_doctor_checks():\n"
        "    return [DoctorCheck(name=n, run='acme_ears:' + n) for n in ('fine', 'deaf', 'mad')]\n"
    )
    make_plugin(source, name="ears")
    fine, deaf, mad = (f for f in plugins.own_checks() if "(ears)" in f.text)
    assert fine.status == "ok"
    assert (deaf.status, deaf.fix) == ("problem", "plug one in")
    assert mad.status == "problem"
    assert "SystemExit" in mad.text


def test_broken_libraries_are_told_apart():
    text = "RuntimeError: operator torchvision::nms does not exist"
    assert "--force-reinstall torch torchvision" in libraries.fix_for("torchvision", text)
    assert "CUDA" in libraries.fix_for("torchaudio", "OSError: libcudart.so.13: cannot open")


def test_library_that_kills_python(tmp_path, monkeypatch):
    (tmp_path / "deadly.py").write_text("import os\nprint('[]noise')\nos._exit(7)\n")
    (tmp_path / "wrong.py").write_text("raise OSError('libx.so: no such file')\n")
    (tmp_path / "right.py").write_text("__version__ = '1.2'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert list(libraries.try_imports(["wrong", "deadly", "right"])) == [
        ("wrong", False, "OSError: libx.so: no such file"),
        ("deadly", False, "importing it ends Python (exit code 7)"),
        ("right", True, "1.2"),
    ]


def test_kernels_agree():
    assert not problems(kernels.backends())
    found = list(kernels.self_test())
    assert {f.text.split()[1] for f in found} == set(kernels.CASES)
    assert not problems(found)


def test_missing_compiled_kernels_are_explained(monkeypatch):
    reason = "no compiler was found"
    monkeypatch.setattr("mamba_kernels.backends.native.library_status", lambda: (None, reason))
    (found,) = [f for f in kernels.backends() if reason in f.text]
    assert found.status == "note"
    assert "mamba-kernels-native" in (found.fix or "")


def test_wrong_kernel_is_a_problem(monkeypatch):
    monkeypatch.setattr(kernels, "relative_error", lambda *_: 0.3)
    assert "off by 3.0e-01" in problems(kernels.self_test())[0].text


def test_forced_backend_that_is_none(monkeypatch):
    monkeypatch.setenv("MAMBA_KERNELS_BACKEND", "refrence")
    (found,) = problems(kernels.backends())
    assert "Did you mean 'reference'?" in found.text


def test_a_look_that_fails_is_a_finding():
    def look():
        yield Finding("Here", "ok", "fine so far")
        raise OSError("no such thing")

    first, second = doctor._safely(look)
    assert first.status == "ok"
    assert (second.area, second.status) == ("Here", "problem")


@pytest.mark.parametrize(("status", "code"), [("ok", None), ("note", None), ("problem", 1)])
def test_exit_code_and_json(monkeypatch, capsys, status, code):
    from mamba_core.cli import main

    finding = Finding("Here", status, "something", "do this" if code else None)
    monkeypatch.setattr(doctor, "examine", lambda timeout: [finding])
    with pytest.raises(SystemExit) as leaving:
        main(["doctor", "--json"])
    assert (leaving.value.code or None) == code
    assert json.loads(capsys.readouterr().out)[0]["status"] == status
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert ("fix: do this" in capsys.readouterr().out) == bool(code)


@pytest.mark.slow
def test_whole_doctor_beside_a_broken_plugin(cli, site):
    write_plugin(site, "def f(:\n", module="acme_torn", name="torn")
    done = cli("doctor", "--json")
    assert done.returncode == 1, done.stderr
    texts = [row["text"] for row in json.loads(done.stdout) if row["status"] == "problem"]
    assert any("torn" in text and "SyntaxError" in text for text in texts)


def test_registry_is_clean_afterwards():
    registry.refresh()
    assert all(plugin.distribution != "acme-toy" for plugin in registry.plugins())
