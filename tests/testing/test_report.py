"""Reports, expected failures, the pytest side and the fixtures."""

from __future__ import annotations

import json
import sys

import pytest

from mamba_core import registry
from mamba_core.cli import main
from mamba_core.testing import CHECKS, MANDATORY, check_task, parametrize_task_checks

TASK = "acme/toy-cls"


def test_good_task(parts):
    report = check_task(TASK)
    assert report.ok, str(report)
    assert report.not_run == ()
    assert report.task == "acme/toy-cls@1"
    assert "OK: " in str(report)


def test_fewer_than_the_mandatory_checks_is_a_failure(parts):
    report = check_task(TASK, only=["spec_valid", "refs_resolve"])
    assert report.named("passed") == ("spec_valid", "refs_resolve")
    assert not report.ok
    assert "loss_is_finite" in report.not_run
    assert "Mandatory checks that did not run" in str(report)


def test_expected_failure(parts, monkeypatch):
    monkeypatch.setattr(parts.Model, "flaw", "noise")
    expected = {"eval_is_deterministic": "dithers on purpose, see #12"}
    report = check_task(TASK, only=expected, expected_failures=expected)
    assert report.named("expected") == ("eval_is_deterministic",)
    assert not report.named("failed")
    assert "see #12" in str(report)


def test_expected_failure_is_strict(parts):
    expected = {"eval_is_deterministic": "dithers on purpose"}
    report = check_task(TASK, only=expected, expected_failures=expected)
    assert report.named("failed") == ("eval_is_deterministic",)
    assert "expected to fail" in report.results[0].message


def test_expected_failure_needs_a_reason_and_a_name(parts):
    with pytest.raises(ValueError, match="has no reason"):
        check_task(TASK, expected_failures={"spec_valid": " "})
    with pytest.raises(ValueError, match="Did you mean 'spec_valid'"):
        parametrize_task_checks(TASK, expected_failures={"spec_vald": "because"})


def test_unknown_task_is_no_failed_check():
    with pytest.raises(registry.TaskNotFoundError):
        check_task("acme/nothing-here")


def test_slow_checks_only_on_request(parts):
    slow = {item.name for item in CHECKS if item.slow}
    assert slow
    assert not slow & {result.name for result in check_task(TASK).results}
    assert not slow & set(MANDATORY)


def call(capsys, *words):
    with pytest.raises(SystemExit) as leaving:
        main(["check", *words])
    captured = capsys.readouterr()
    return leaving.value.code or 0, captured.out, captured.err


def test_command(parts, capsys):
    code, out, _ = call(capsys, TASK)
    assert code == 0, out
    code, out, _ = call(capsys, "acme-toy", "--json")
    (report,) = json.loads(out)
    assert report["ok"]
    assert {result["name"] for result in report["results"]} >= set(MANDATORY)


def test_command_leaves_with_one(parts, capsys, monkeypatch):
    monkeypatch.setattr(parts.Model, "flaw", "noise")
    code, out, _ = call(capsys, TASK)
    assert code == 1
    assert "NOT OK" in out


def test_command_on_a_broken_plugin(make_plugin, capsys):
    make_plugin("import does_not_exist\n", name="torn")
    code, _, err = call(capsys, "torn")
    assert code == 1
    assert "does_not_exist" in err


def test_command_writes_golden(parts, capsys, tmp_path):
    place = tmp_path / "toy.golden.json"
    assert call(capsys, TASK, "--write-golden", str(place))[0] == 0
    assert json.loads(place.read_text())["task"] == "acme/toy-cls@1"


@parametrize_task_checks(TASK, expected_failures={"card_has_sections": "no card is shipped yet"})
def test_parametrized(check, cards):
    """The decorator as a plugin uses it; the card is taken away for the expected failure."""
    (cards / "toy.md").unlink()
    check()


def test_isolated_registry(isolated_registry, monkeypatch):
    assert isolated_registry.list() == ()
    assert "mamba2" in [spec.name for spec in isolated_registry.mixers()]
    with pytest.raises(registry.TaskNotFoundError):
        isolated_registry.spec("audio-sep")


def test_make_plugin(make_plugin):
    assert make_plugin("value = 3\n", name="my-birds", version="2.5") == "acme_my_birds"
    (plugin,) = [p for p in registry.plugins() if p.name == "my-birds"]
    assert (plugin.origin, plugin.status) == ("acme-my-birds 2.5", "ok")
    assert "acme_my_birds" in sys.modules


def test_make_plugin_is_gone_afterwards():
    assert "acme_my_birds" not in sys.modules
    assert all(plugin.name != "my-birds" for plugin in registry.plugins())
