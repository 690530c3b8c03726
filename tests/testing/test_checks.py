"""Each check passes a task that keeps its promise and catches one that does not."""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from mamba_core import registry
from mamba_core.testing import CHECKS, MANDATORY, Skip, TaskUnderTest, write_golden_output
from mamba_core.testing.report import run_check, select
from mamba_registry import catalog


def outcome(name, subject=None):
    (item,) = select([name])
    result = run_check(item, subject or TaskUnderTest("acme/toy-cls"), None)
    return result.outcome, result.message


def change(**fields):
    """Put a changed record in the place of the installed one."""
    registry.register(importlib.import_module("acme_toy").spec(**fields))


@pytest.fixture(autouse=True)
def _restore(parts):
    with registry.isolated(importlib.import_module("acme_toy").spec()):
        yield


def test_every_check_says_why():
    assert len({item.name for item in CHECKS}) == len(CHECKS)
    for item in CHECKS:
        first, blank, *rest = item.why.split("\n")
        assert first.endswith("."), item.name
        assert not blank, item.name
        assert rest, f"{item.name} does not say why"


@pytest.mark.parametrize("name", MANDATORY)
def test_good_task_passes(name):
    assert outcome(name) == ("passed", "")


@pytest.mark.parametrize(
    ("name", "flaw", "message"),
    [
        ("forward_matches_declared_outputs", "other name", "'y' is declared but missing"),
        ("forward_matches_declared_outputs", "transposed", "'time' of"),
        ("eval_is_deterministic", "noise", "differs between two runs"),
        ("batch_items_are_independent", "batch mixing", "item 0 moved"),
        ("gradients_reach_every_parameter", "dead parameter", "dead.weight, dead.bias"),
        ("save_load_is_bit_exact", "unsaved buffer", "changed by saving"),
        ("moves_device_and_dtype", "fixed dtype", "dtype"),
    ],
)
def test_flawed_model_is_caught(monkeypatch, parts, name, flaw, message):
    monkeypatch.setattr(parts.Model, "flaw", flaw)
    result, text = outcome(name)
    assert result == "failed"
    assert message in text


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("spec_valid", {"summary": " "}, "summary is empty"),
        ("spec_valid", {"inputs": {"x": "a picture"}}, "'a picture' declares no tensor"),
        ("spec_valid", {"metrics": "acme_toy_parts:loss"}, "metric_names"),
        ("refs_resolve", {"loss": "acme_toy_parts:los"}, "no attribute 'los'"),
        ("card_has_sections", {"card": None}, "no card"),
        ("card_has_sections", {"card": "acme_toy_cards:none.md"}, "not in the package"),
        ("presets_build", {"presets": ("tiny", "huge")}, "no preset 'huge'"),
        ("loss_is_finite", {"loss": "acme_toy_parts:nan_loss"}, "the loss is nan"),
        ("loss_is_finite", {"loss": "acme_toy_parts:detached_loss"}, "not depend on the model"),
        ("one_batch_overfits", {"loss": "acme_toy_parts:rising_loss"}, "expected below 0.9"),
        ("eval_is_deterministic", {"inputs": {"w": "int[batch]"}}, "lacks the declared"),
        (
            "forward_matches_declared_outputs",
            {"outputs": {"y": "int[batch, time, width]"}},
            "is torch.float32",
        ),
        ("forward_matches_declared_outputs", {"outputs": {"y": "float[batch, 2]"}}, "has shape"),
    ],
)
def test_flawed_record_is_caught(name, fields, message):
    change(**fields)
    result, text = outcome(name)
    assert result == "failed"
    assert message in text


def test_card_without_limits(cards):
    (cards / "toy.md").write_text("# toy\n## Data\n## Protocol\n## Measured\n")
    assert "no heading with: limits" in outcome("card_has_sections")[1]


def test_padding(monkeypatch, parts):
    assert outcome("padding_does_not_leak")[0] == "skipped"  # no lengths are declared
    change(inputs={"x": "float[batch, time, 3]", "lengths": "int[batch]"})
    assert outcome("padding_does_not_leak") == ("passed", "")
    monkeypatch.setattr(parts.Model, "flaw", "time mixing")
    assert "moved by up to" in outcome("padding_does_not_leak")[1]


def test_packed_items_are_not_compared():
    change(inputs={"x": "float[tokens, time, 3]"})
    assert outcome("batch_items_are_independent")[0] == "skipped"


def test_bad_scan_order():
    def twice(shape, *, device="cpu"):
        return torch.zeros(1, torch.Size(shape).numel(), dtype=torch.int64, device=device)

    registry.register_scan_order("twice", twice, dims=1)
    change(scan_orders=("twice",))
    assert outcome("scan_orders_are_permutations")[0] == "failed"


def test_light_and_heavy_imports(make_plugin, parts):
    assert outcome("import_is_light")[0] == "skipped"  # registered at run time
    source = Path(importlib.import_module("acme_toy").__file__)
    text = source.read_text().replace("acme/toy-cls", "acme/fat-cls")
    make_plugin("import numpy\n" + text, name="fat")
    (item,) = select(["import_is_light"])
    with registry_with_plugins():
        with pytest.raises(AssertionError, match="imports numpy"):
            item.run(TaskUnderTest("acme/fat-cls"))
        item.run(TaskUnderTest("acme/toy-cls"))


@contextmanager
def registry_with_plugins():
    """Look at the installed plugins inside an isolated test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "_no_plugins", False)
        patch.setattr(catalog, "_snapshot", None)
        patch.setattr(catalog, "_session", {})
        yield


def test_golden_output(parts, cards, monkeypatch):
    assert outcome("golden_output_unchanged")[0] == "skipped"
    place = cards / "toy.golden.json"
    write_golden_output("acme/toy-cls", place)
    assert outcome("golden_output_unchanged") == ("passed", "")
    with pytest.raises(FileExistsError, match="bump the task's version"):
        write_golden_output("acme/toy-cls", place)
    monkeypatch.setattr(parts.Model, "flaw", "time mixing")
    assert "bump the version" in outcome("golden_output_unchanged")[1]


def test_task_without_a_loss():
    change(loss=None)
    assert outcome("loss_is_finite") == ("passed", "")
    with pytest.raises(Skip):
        TaskUnderTest("acme/toy-cls").loss({}, {})


def test_data_is_skipped_where_there_is_none():
    assert outcome("data_module_smoke") == ("skipped", "the task has no data of its own")


def test_models_and_batches_are_the_same_every_time():
    subject = TaskUnderTest("acme/toy-cls")
    before = torch.random.get_rng_state()
    one, other = subject.model(), subject.model()
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one.layer.weight, other.layer.weight)
    assert torch.equal(subject.batch()["x"], subject.batch()["x"])
