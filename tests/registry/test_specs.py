"""Records: frozen, checked when they are made, importing nothing."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from mamba_registry import (
    CommandSpec,
    DoctorCheck,
    KernelBackendSpec,
    MixerSpec,
    ScanOrderSpec,
    WeightsSpec,
)
from mamba_registry.errors import TaskSpecError

SHA = "0" * 64
SMALL = [
    MixerSpec(name="m", build="acme:m"),
    ScanOrderSpec(name="o", dims=2, order="acme:o"),
    KernelBackendSpec(name="k", load="acme:k"),
    CommandSpec(name="c", run="acme:c"),
    DoctorCheck(name="d", run="acme:d"),
    WeightsSpec(name="w", preset="tiny", resource="acme:w.safetensors", sha256=SHA, licence="x"),
]


def test_frozen_without_dict(spec):
    for record in [spec(), *SMALL]:
        assert not hasattr(record, "__dict__")
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, dataclasses.fields(record)[0].name, "other")


def test_mappings_are_frozen(spec):
    inputs = {"x": "float[batch]"}
    record = spec(inputs=inputs)
    inputs["y"] = "float[batch]"
    assert dict(record.inputs) == {"x": "float[batch]"}
    with pytest.raises(TypeError):
        record.inputs["y"] = "float[batch]"


def test_copied_and_sent_to_another_process(spec):
    """A predictor keeps its task's record, and may go to workers."""
    for record in [spec(inputs={"x": "float[batch]"}, weights=(SMALL[-1],)), *SMALL]:
        assert pickle.loads(pickle.dumps(record)) == record
        assert copy.deepcopy(record) == record


def test_nothing_is_imported(spec):
    spec(config="does_not_exist:Config", card="does_not_exist:card.md")


def test_objects_and_dicts_do_as_refs(spec):
    spec(config=dict, builder=len, preset_fields={"tiny": {}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "Toy Cls"}, "is not a task id"),
        ({"id": "acme/toy-cls@2"}, "the version is a field of its own"),
        ({"version": 0}, "version = 0 must be at least 1"),
        ({"aliases": ("Old",)}, "'Old' is not a task id"),
        ({"presets": ("base",)}, "must contain 'tiny'"),
        ({"presets": "tiny"}, "presets = 'tiny' must be a tuple"),
        ({"requires": "torchaudio"}, "requires = 'torchaudio' must be a tuple"),
        ({"default_preset": "base"}, "default_preset 'base' is not in"),
        ({"preset_fields": {}}, "preset_fields lacks tiny"),
        ({"default_weights": "w"}, "default_weights 'w' is not in"),
        ({"card": "card.md"}, "card = 'card.md': expected 'package:path'"),
        ({"config": "acme_parts"}, "config = 'acme_parts': expected 'module:attribute'"),
        ({"builder": "acme parts:x"}, "builder = 'acme parts:x': expected"),
        ({"builder": None}, "builder = None: expected"),
        ({"example": "acme:"}, "example = 'acme:': expected"),
        ({"preset_fields": "acme"}, "preset_fields = 'acme': expected"),
        ({"train_config": "acme"}, "train_config = 'acme': expected"),
        ({"predict_config": 3}, "predict_config = 3: expected"),
    ],
)
def test_bad_task(spec, changes, message):
    with pytest.raises(TaskSpecError) as caught:
        spec(**changes)
    assert message in str(caught.value)


def test_weights_of_a_preset_that_is_none(spec):
    weights = WeightsSpec(name="w", preset="huge", resource="a:b", sha256=SHA, licence="x")
    with pytest.raises(TaskSpecError, match="are for the preset 'huge', which is not in"):
        spec(weights=(weights,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "https://a/b"}, "exactly one of resource and url"),
        ({"resource": None}, "exactly one of resource and url"),
        ({"resource": "acme/w.safetensors"}, "resource = 'acme/w.safetensors': expected"),
        ({"resource": None, "url": "acme.org/w"}, "must begin with one of https://"),
        ({"sha256": "A" * 64}, "not 64 hex digits"),
        ({"sha256": "0" * 63}, "not 64 hex digits"),
        ({"sha256": None}, "a resource needs its sha256"),
        ({"converter": "acme"}, "converter = 'acme': expected"),
    ],
)
def test_bad_weights(changes, message):
    fields = {"name": "w", "preset": "tiny", "resource": "acme:w", "sha256": SHA, "licence": "x"}
    with pytest.raises(TaskSpecError) as caught:
        WeightsSpec(**(fields | changes))
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a:b", "-a", None])
def test_names_that_no_command_line_holds(name):
    for make in (
        lambda: MixerSpec(name=name, build="acme:m"),
        lambda: ScanOrderSpec(name=name, dims=None, order="acme:o"),
        lambda: CommandSpec(name=name, run="acme:c"),
        lambda: KernelBackendSpec(name=name, load="acme:k"),
    ):
        with pytest.raises(TaskSpecError, match="a name has letters, digits"):
            make()


def test_dims_of_an_order():
    with pytest.raises(TaskSpecError, match="dims = 0 must be at least 1"):
        ScanOrderSpec(name="o", dims=0, order="acme:o")
