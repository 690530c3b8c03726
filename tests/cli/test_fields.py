"""Configs as flags."""

from __future__ import annotations

import importlib
import os

import pytest
import typer

from mamba_core import registry, save_pretrained
from mamba_core.cli import main
from mamba_core.cli.errors import CommandError
from mamba_core.cli.fields import config_fields, parse_value
from mamba_core.cli.flags import Role, find_target, model_role, target_spec, with_role_flags


@pytest.fixture
def config(toy):
    return importlib.import_module("acme_heavy").Config


@pytest.fixture
def by_name(config):
    return {field.dotted: field for field in config_fields(config)}


def test_nested_fields_and_help(by_name):
    assert by_name["inner.size"].type == "int, >= 1"
    assert by_name["inner.size"].help == "Channels inside."
    assert by_name["norm"].type == "rms|layer"
    assert by_name["rate"].type == "float or null"
    assert by_name["extra.size"].path == ("extra", "size")


def test_help_of_inherited_fields(make_plugin):
    source = (
        "from pydantic.dataclasses import dataclass\n"
        "from mamba_core.config import STRICT\n"
        '@dataclass(config=STRICT)\nclass Base:\n    a: int = 1\n    """One."""\n'
        '    b: int = 1\n    """Two."""\n'
        '@dataclass(config=STRICT)\nclass Own(Base):\n    b: int = 3\n    """Three."""\n'
    )
    own = importlib.import_module(make_plugin(source, name="own")).Own
    assert {f.dotted: f.help for f in config_fields(own)} == {"a": "One.", "b": "Three."}


def test_config_that_holds_itself(make_plugin):
    source = (
        "from __future__ import annotations\n"
        "from pydantic.dataclasses import dataclass\n"
        "@dataclass\nclass Tree:\n    size: int = 1\n    left: Tree | None = None\n"
    )
    tree = importlib.import_module(make_plugin(source, name="tree")).Tree
    assert "left.size" in [leaf.dotted for leaf in config_fields(tree)]


def test_required_field_has_no_default(toy):
    (root,) = config_fields(importlib.import_module("acme_heavy").Data)
    assert root.default is ...


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("width", "8", 8),
        ("width", "eight", "eight"),  # pydantic says what is wrong
        ("norm", "layer", "layer"),
        ("rate", "none", None),
        ("rate", "3", 3),
        ("rate", "1e-4", 1e-4),
        ("sizes", "3,4", ["3", "4"]),
        ("sizes", "[3, 4]", [3, 4]),
        ("sizes", "3", [3]),
        ("flag", "True", True),
        ("extra", '{"size": 2}', {"size": 2}),
    ],
)
def test_parse_value(by_name, name, text, value):
    assert parse_value(by_name[name], text) == value


def test_text_stays_text(toy):
    (root,) = config_fields(importlib.import_module("acme_heavy").Data)
    assert parse_value(root, "2024") == "2024"


def run_with(config, words):
    """Return the fields a command with the config's flags got."""
    return run_role(Role("model", config_fields(config)), words)


def run_role(role, words):
    got = {}

    def command(task: str, fields: dict, preset: str | None = None) -> None:
        got.update(fields)

    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(with_role_flags(command, [role]))
    app(["x", *words], standalone_mode=False)
    return got


def test_flags_nest(config):
    words = ["--model.inner.size", "6", "--model.norm=layer", "--model.extra.size", "3"]
    expected = {"model": {"inner": {"size": 6}, "norm": "layer", "extra": {"size": 3}}}
    assert run_with(config, words) == expected
    assert run_with(config, []) == {"model": {}}


def test_contradicting_flags(config):
    with pytest.raises(CommandError, match="give one"):
        run_with(config, ["--model.extra", "none", "--model.extra.size", "3"])


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (["audio-sep", "--resume"], "audio-sep"),
        (["--resume", "audio-sep"], "audio-sep"),
        (["--preset", "tiny", "audio-sep"], "audio-sep"),
        (["--preset=tiny", "audio-sep"], "audio-sep"),
        (["--model.depth", "8"], None),
        (["--help"], None),
    ],
)
def test_find_target(words, target):
    assert find_target(words, {"--resume"}) == target


def test_target_is_a_task_or_a_folder(toy, tmp_path, monkeypatch):
    folder = save_pretrained(registry.build(toy), tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    assert target_spec(toy).id == toy
    assert target_spec(str(folder)).id == target_spec("m").id == toy
    with pytest.raises(CommandError, match="no such folder"):
        target_spec("./nowhere")
    with pytest.raises(CommandError, match=r"is a file: .* --weights FILE"):
        target_spec("m/model.safetensors")


def test_a_folder_named_like_a_task_is_the_task(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "spec", lambda name: f"the task {name}")
    (tmp_path / "toy-cls").mkdir()
    assert target_spec("toy-cls") == "the task toy-cls"
    with pytest.raises(registry.WeightsError, match=r"no saved model: it holds no config\.json"):
        target_spec(f".{os.sep}toy-cls")


def test_train_takes_no_folder(toy, tmp_path, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["train", str(tmp_path)])
    assert leaving.value.code == 1
    assert "is no task but a path: give a task id. A training that stopped goes on" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_folder_with_a_broken_description(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(registry.WeightsError, match=r"config\.json"):
        target_spec(str(tmp_path))


def test_training_without_a_model_yet(tmp_path):
    (tmp_path / "config.json").write_text('{"task": "acme/toy-cls@1", "train": {}}')
    with pytest.raises(registry.WeightsError, match="a training without a model yet"):
        target_spec(str(tmp_path))


def test_help_shows_fields_with_defaults(capsys, toy, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    with pytest.raises(SystemExit):
        main(["train", toy, "--help"])
    out = capsys.readouterr().out
    assert "--model.inner.size" in out
    assert "Channels outside [B, L]. (default: 2)" in out
    assert "Folder of the recordings. (required)" in out


def test_misspelt_flag_is_answered(capsys, toy):
    with pytest.raises(SystemExit) as leaving:
        main(["train", toy, "--model.witdh", "3"])
    assert leaving.value.code == 2
    assert "--model.width" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "mixer"),
    [
        ([], None),
        (["--model.mixer", "mamba1"], "mamba1"),
        (["--model.mixer.d_state", "8"], {"name": "mamba2", "headdim": 16, "d_state": 8}),
        (["--model.mixer=mamba1", "--model.mixer.d_state=8"], {"name": "mamba1", "d_state": 8}),
        (["--model.mixer", '{"name": "mamba1"}'], {"name": "mamba1"}),
    ],
)
def test_mixer_fields(tmp_path, monkeypatch, words, mixer):
    from mamba_core.cli.new_plugin import write_plugin

    monkeypatch.syspath_prepend(str(write_plugin("acme-mixing", "acme/toy-mix", tmp_path)))
    plugin = importlib.import_module("acme_mixing.plugin")
    with registry.isolated(*plugin.mamba_tasks()):
        role = model_role(registry.spec("acme/toy-mix"), words)
        fields = run_role(role, words)["model"]
        assert fields.get("mixer") == mixer
        assert registry.config("acme/toy-mix", **fields)
        depth = next(
            leaf
            for leaf in model_role(registry.spec("acme/toy-mix"), ["--preset", "tiny"]).fields
            if leaf.dotted == "depth"
        )
        assert depth.default == 1  # the preset's, not the class's


KINDS = """
from pathlib import Path
from typing import Annotated, Literal
from pydantic import Field
from pydantic.dataclasses import dataclass
from mamba_core.config import STRICT

@dataclass(frozen=True, kw_only=True, config=STRICT)
class Made:
    kind: Literal["made"] = "made"
    items: int = 5
    seconds: float = 2.0

@dataclass(frozen=True, kw_only=True, config=STRICT)
class Read:
    kind: Literal["read"] = "read"
    folder: Path

@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    train: Annotated[Made | Read, Field(discriminator="kind")] = Made(items=7)
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data.train.seconds", "0.5"], {"kind": "made", "items": 7, "seconds": 0.5}),
        (["--data.train", '{"kind": "read", "folder": "x"}'], {"kind": "read", "folder": "x"}),
    ],
)
def test_one_of_several_kinds(make_plugin, words, expected):
    """The fields of the default's kind have flags, laid over the default; others are JSON."""
    from pydantic import TypeAdapter

    from mamba_registry.configs import make_config, merge

    data = importlib.import_module(make_plugin(KINDS, name="kinds")).Data
    fields = run_role(Role("data", config_fields(data)), words)["data"]
    config = make_config(data, merge({}, fields, data))
    assert TypeAdapter(data).dump_python(config, mode="json")["train"] == expected
