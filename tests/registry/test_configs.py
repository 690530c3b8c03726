"""Configs: preset, overrides, and everything that is wrong with them at once."""

from __future__ import annotations

import dataclasses

import pytest

from mamba_core import registry
from mamba_registry.configs import make_config, merge
from mamba_registry.errors import ConfigError, TaskNotFoundError, TaskSpecError


@pytest.fixture
def name(task):
    return task()


def message(name, **fields):
    with pytest.raises(ConfigError) as caught:
        registry.config(name, **fields)
    return str(caught.value)


def test_default_preset_named_preset_and_overrides(name):
    assert registry.config(name).encoder.dim == 8
    assert registry.config(name, preset="tiny").encoder.dim == 4
    changed = registry.config(name, preset="tiny", sources=3, norm="layer")
    assert (changed.sources, changed.norm, changed.encoder.dim) == (3, "layer", 4)


def test_nested_overrides_keep_the_rest_of_the_preset(name):
    config = registry.config(name, encoder={"dim": 9})
    assert (config.encoder.dim, config.encoder.kernel) == (9, 4)


def test_nested_overrides_keep_the_rest_of_the_default(name):
    """The preset tiny is silent on the kernel, the class's default encoder has dim 96."""
    config = registry.config(name, preset="tiny", encoder={"kernel": 3}, extra={"kernel": 5})
    assert (config.encoder.dim, config.encoder.kernel) == (4, 3)
    assert (config.extra.dim, config.extra.kernel) == (64, 5)
    cls = type(config)
    assert make_config(cls, merge({}, {"encoder": {"kernel": 3}}, cls)).encoder.dim == 96


def test_whole_nested_configs(name):
    encoder = registry.config(name, preset="tiny").encoder
    config = registry.config(name, encoder=dataclasses.replace(encoder, kernel=7))
    assert (config.encoder.dim, config.encoder.kernel) == (4, 7)


def test_variants_replace():
    old = {"mixer": {"name": "mamba2", "headdim": 16}, "data": {"kind": "made", "items": 3}}
    assert merge(old, {"mixer": {"name": "mamba1"}})["mixer"] == {"name": "mamba1"}
    assert merge(old, {"mixer": {"headdim": 8}})["mixer"] == {"name": "mamba2", "headdim": 8}
    assert merge(old, {"data": {"kind": "read"}})["data"] == {"kind": "read"}
    same = {"kind": "made", "items": 3, "seconds": 1}
    assert merge(old, {"data": {"kind": "made", "seconds": 1}})["data"] == same
    assert old["data"] == {"kind": "made", "items": 3}


def test_unknown_field(name):
    assert message(name, source=3) == (
        "Config has no field 'source'. Did you mean 'sources'? "
        "Fields: sources, norm, encoder, extra."
    )


def test_unknown_nested_fields(name):
    assert message(name, encoder={"dimm": 3}) == (
        "Config.encoder has no field 'dimm'. Did you mean 'dim'? Fields: dim, kernel."
    )
    assert "Config.extra has no field 'kernels'. Did you mean 'kernel'?" in message(
        name, extra={"kernels": 3}
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"encoder": {"dim": 0}}, "Config.encoder.dim = 0: must be at least 1."),
        ({"encoder": {"dim": 513}}, "Config.encoder.dim = 513: must be at most 512."),
        ({"encoder": {"kernel": 0}}, "Config.encoder.kernel = 0: must be more than 0."),
        ({"encoder": {"kernel": 100}}, "Config.encoder.kernel = 100: must be less than 100."),
        ({"norm": "rsm"}, "Config.norm = 'rsm': must be 'rms' or 'layer'."),
        ({"sources": 9}, "Config: sources = 9 needs an encoder.dim of at least as much."),
    ],
)
def test_rules(name, fields, text):
    assert message(name, **fields) == text


def test_wrong_types(name):
    assert message(name, sources="many").startswith("Config.sources = 'many': should be a valid")
    assert message(name, encoder=None).startswith("Config.encoder = None: should be")


def test_everything_wrong_is_said_at_once(name):
    lines = message(name, source=1, norm="x", encoder={"dim": 0, "kernl": 1}).splitlines()
    assert len(lines) == 4
    assert all(line.startswith("Config") for line in lines)


def test_text_of_the_command_line_becomes_numbers(name):
    assert registry.config(name, sources="3").sources == 3


def test_missing_field():
    @dataclasses.dataclass
    class Plain:
        root: str

    from pydantic.dataclasses import dataclass

    with pytest.raises(ConfigError, match=r"Plain: .*missing 1 required .*'root'"):
        make_config(Plain, {})
    with pytest.raises(ConfigError, match=r"^Plain\.root is required\.$"):
        make_config(dataclass(Plain), {})
    with pytest.raises(ConfigError, match=r"root is required \(--data\.root on the command"):
        make_config(dataclass(Plain), {}, role="data")


def test_missing_field_that_is_a_config_names_what_it_needs():
    from pydantic.dataclasses import dataclass

    @dataclass
    class Folder:
        images: str
        masks: str
        seed: int = 0

    @dataclass
    class Other:
        root: str

    # the classes are local, which a module's annotations could not name
    one = dataclass(type("One", (), {"__annotations__": {"train": Folder}}))
    several = dataclass(type("Several", (), {"__annotations__": {"train": Folder | Other}}))
    with pytest.raises(ConfigError, match=r"\(--data\.train\.images and --data\.train\.masks on"):
        make_config(one, {}, role="data")
    with pytest.raises(ConfigError, match=r"\(--data\.train on the command line\)"):
        make_config(several, {}, role="data")


def test_misspelt_preset(name):
    with pytest.raises(TaskNotFoundError) as caught:
        registry.config(name, preset="tinny")
    assert str(caught.value) == (
        "Task 'acme/toy-cls@1' has no preset 'tinny'. Did you mean 'tiny'? Presets: tiny, base."
    )
    with pytest.raises(TaskNotFoundError, match="has no preset ''"):
        registry.config(name, preset="")


def test_presets_as_a_dict(spec, task):
    task()
    registry.register(spec(id="acme/toy-dict", preset_fields={"tiny": {"sources": 3}}))
    assert registry.config("acme/toy-dict").sources == 3


def test_a_preset_that_is_listed_and_not_there(spec, task):
    task()
    registry.register(spec(id="acme/toy-lies", presets=("tiny", "base", "huge")))
    with pytest.raises(TaskSpecError, match="preset_fields has no preset 'huge'"):
        registry.config("acme/toy-lies", preset="huge")
