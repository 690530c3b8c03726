"""What is not imported: held by sys.modules, since times differ between machines."""

from __future__ import annotations

import pytest

from mamba_core.light import HEAVY_MODULES

SHOW = (
    "import sys\n"
    "try:\n    {run}\n"
    "except SystemExit:\n    pass\n"
    f"print('LOADED', *[m for m in {(*HEAVY_MODULES, 'acme_heavy')!r} if m in sys.modules])"
)
MAIN = "from mamba_core.cli import main; main({words!r})"


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["list"], ["list", "--json"], ["plugins"], ["nothing"]]
)
def test_command_loads_nothing_heavy(run, words):
    done = run("-c", SHOW.format(run=MAIN.format(words=words)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_help_loads_no_plugin(run, words):
    code = MAIN.format(words=words)
    shown = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    print('acme_toy' in sys.modules)"
    )
    assert run("-c", shown).stdout.splitlines()[-1] == "False"


def test_import_of_the_package_is_light(run):
    done = run("-c", SHOW.format(run="import mamba_core; mamba_core.registry"))
    assert done.stdout.splitlines()[-1] == "LOADED"
    done = run("-c", "import mamba_core.registry, sys; print('acme_toy' in sys.modules)")
    assert done.stdout == "False\n"  # plugins are looked for at first use


@pytest.mark.parametrize("call", ["train('acme/toy-cls', out='x')", "evaluate('x')"])
def test_without_its_extra_training_names_the_line(run, call):
    missing = "sys.modules.update(dict.fromkeys(('lightning', 'torchmetrics')))"
    done = run("-c", f"import sys, mamba_core; {missing}; mamba_core.{call}")
    assert "DependencyMissingError" in done.stderr
    assert "pip install 'mamba-core[train]'" in done.stderr
