"""Checks of what a task says about itself, and of its configs."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from importlib.resources import files

import torch

from mamba_core import registry
from mamba_core.light import HEAVY_MODULES
from mamba_core.testing.declared import parse_declared
from mamba_core.testing.subject import Skip, TaskUnderTest, check

TINY_PARAMETERS = 2_000_000
TINY_SECONDS = 5.0
SECTIONS = ("data", "protocol", "measured", "limits")
"""Words that a card's headings must hold, one heading each."""
_REFS = (
    "config",
    "builder",
    "example",
    "data",
    "data_config",
    "loss",
    "metrics",
    "predictor",
    "predict_config",
    "train_config",
    "preset_fields",
)
_IMPORT_TIMEOUT_S = 60.0


@check()
def spec_valid(subject: TaskUnderTest) -> None:
    """The record is complete and says what it means.

    A list shows nothing but the record; a user decides by it.
    """
    spec = subject.spec
    assert spec.summary.strip(), "the summary is empty"
    assert "\n" not in spec.summary, "the summary must be one line"
    assert spec.inputs, "no inputs are declared"
    assert spec.outputs, "no outputs are declared"
    for text in (*spec.inputs.values(), *spec.outputs.values()):
        parse_declared(text)
    assert len(set(spec.presets)) == len(spec.presets), f"presets repeat: {spec.presets}"
    if spec.metrics is not None:
        assert spec.metric_names, "metrics without metric_names: the first name is the score"


@check(mandatory=False)
def import_is_light(subject: TaskUnderTest) -> None:
    """Importing the plugin's module loads no heavy library.

    Every command pays for the slowest plugin: one that imports torch costs seconds.
    """
    plugin = next((p for p in registry.plugins() if subject.full_id in p.tasks), None)
    if plugin is None:
        raise Skip("the task was registered at run time, by no plugin")
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; import {plugin.module}; "
        f"print(*[name for name in {HEAVY_MODULES!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=_IMPORT_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{plugin.module} does not import alone: {done.stderr[-500:]}"
    assert not done.stdout.strip(), (
        f"{plugin.module} imports {done.stdout.strip()}: name heavy parts as 'module:attribute'"
    )


@check()
def refs_resolve(subject: TaskUnderTest) -> None:
    """Everything the record names can be imported.

    A misspelt reference would otherwise surface only when somebody trains or predicts.
    """
    for name in _REFS:
        reference = getattr(subject.spec, name)
        if reference is not None:
            registry.resolve(reference)


@check()
def card_has_sections(subject: TaskUnderTest) -> None:
    """The card says what data, which protocol, what was measured, and the limits.

    Numbers without a protocol cannot be compared; a model without limits misleads.
    """
    card = subject.spec.card
    assert card, "the task has no card: card='package:cards/NAME.md'"
    package, _, path = card.partition(":")
    file = files(package).joinpath(path)
    assert file.is_file(), f"{card} is not in the package; is it in the wheel?"
    lines = file.read_text(encoding="utf-8").splitlines()
    headings = [line.lower() for line in lines if line.startswith("#")]
    missing = [word for word in SECTIONS if not any(word in heading for heading in headings)]
    assert not missing, f"{card} has no heading with: {', '.join(missing)}"


@check()
def config_roundtrips_json(subject: TaskUnderTest) -> None:
    """Every preset's config survives JSON.

    A saved model is its config in JSON; what does not come back equal cannot be loaded.
    """
    from pydantic import TypeAdapter

    adapter = TypeAdapter(registry.resolve(subject.spec.config))
    for preset in subject.spec.presets:
        config = registry.config(subject.full_id, preset=preset)
        again = adapter.validate_json(adapter.dump_json(config))
        assert again == config, f"preset '{preset}' comes back from JSON as {again}"


@check()
def config_rejects_unknown_field(subject: TaskUnderTest) -> None:
    """A misspelt field is an error that suggests the right one, never ignored.

    An ignored field trains another model than the one asked for.
    """
    field = dataclasses.fields(registry.resolve(subject.spec.config))[0].name
    misspelt = field + "x"
    text = ""
    try:
        registry.config(subject.full_id, preset=subject.preset, **{misspelt: 1})
    except registry.ConfigError as error:
        text = str(error)
    assert text, f"the unknown field '{misspelt}' was accepted"
    assert f"'{field}'" in text, f"the error suggests nothing for '{misspelt}': {text}"


@check()
def presets_build(subject: TaskUnderTest) -> None:
    """Every preset builds (on the meta device, so size costs nothing).

    A large preset breaks unseen: nobody builds it in a test.
    """
    for preset in subject.spec.presets:
        with torch.device("meta"):
            model = registry.build(subject.full_id, preset=preset)
        assert isinstance(model, torch.nn.Module), f"preset '{preset}' built {type(model)}"
        assert any(True for _ in model.parameters()), f"preset '{preset}' has no parameters"


@check()
def tiny_is_small(subject: TaskUnderTest) -> None:
    """The preset ``tiny`` stays under 2 M parameters and 5 s for a forward pass on a CPU.

    It is what tests and first tries run; it must never be a burden.
    """
    tiny = TaskUnderTest(subject.full_id, "tiny", "cpu")
    model = tiny.model()
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count < TINY_PARAMETERS, f"tiny has {count} parameters, limit {TINY_PARAMETERS}"
    start = time.perf_counter()
    with torch.no_grad():
        tiny.forward(model, tiny.batch())
    seconds = time.perf_counter() - start
    assert seconds < TINY_SECONDS, f"tiny took {seconds:.1f} s, limit {TINY_SECONDS:.0f} s"
