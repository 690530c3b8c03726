"""Configs are data: they survive JSON, pickle and hashing, and say what is wrong with them."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
from pydantic import TypeAdapter, ValidationError

from mamba_core.blocks import BackboneConfig
from mamba_core.mixers import MixerChoice, MultiScanConfig

ADAPTER = TypeAdapter(BackboneConfig)
FULL = BackboneConfig(
    d_model=16,
    mixer={"name": "mamba2", "d_state": 32, "dt_limit": [0.0, 0.1]},
    scan=MultiScanConfig(merge="sum"),
    connection="dense",
)


@pytest.mark.parametrize("config", [BackboneConfig(d_model=8), FULL])
def test_configs_round_trip_json_and_pickle(config):
    assert ADAPTER.validate_json(ADAPTER.dump_json(config)) == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(dataclasses.replace(config)) == hash(config)


def test_a_mixer_is_written_as_it_is_given():
    plain = ADAPTER.dump_python(FULL)
    assert plain["mixer"] == {"name": "mamba2", "d_state": 32, "dt_limit": [0.0, 0.1]}
    assert plain["attention"] == "attention"


def test_schema_has_the_attribute_docstrings():
    schema = ADAPTER.json_schema()
    assert schema["properties"]["d_model"]["description"] == "Channels of the tokens."
    assert schema["properties"]["mixer"]["anyOf"]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"d_model": 0}, ("d_model",)),
        ({"d_model": 8, "patern": "M"}, ("patern",)),
        ({"d_model": 8, "mixer": 3}, ("mixer",)),
        ({"d_model": 8, "scan": {"merge": "max"}}, ("scan", "merge")),
    ],
)
def test_wrong_fields_are_found_at_their_path(fields, where):
    with pytest.raises(ValidationError) as error:
        BackboneConfig(**fields)
    assert error.value.errors()[0]["loc"] == where


def test_mixer_choices_compare_by_value():
    assert MixerChoice("mamba2", d_state=8, headdim=4) == MixerChoice(
        "mamba2", headdim=4, d_state=8
    )
    assert MixerChoice("mamba2") != MixerChoice("mamba2", d_state=8)
    assert MixerChoice("mamba2") != "mamba2"
    assert eval(repr(MixerChoice("a", b=1)), {"MixerChoice": MixerChoice}) == MixerChoice("a", b=1)
