"""The author kit: conformance checks for tasks, with and without pytest.

In a plugin's tests::

    from mamba_core.testing import parametrize_task_checks

    @parametrize_task_checks("acme/audio-birds")
    def test_conformance(check):
        check()

and, for the fixtures ``isolated_registry`` and ``make_plugin``, either
``pytest_plugins = ["mamba_core.testing.plugin"]`` in the top-level ``conftest.py`` or
``-p mamba_core.testing.plugin`` among pytest's ``addopts``.
"""

from __future__ import annotations

from mamba_core.testing.checks import CHECKS, MANDATORY
from mamba_core.testing.golden import write_golden_output
from mamba_core.testing.parametrize import parametrize_task_checks
from mamba_core.testing.report import CheckReport, CheckResult, check_task
from mamba_core.testing.subject import Check, Skip, TaskUnderTest, check

__all__ = [
    "CHECKS",
    "MANDATORY",
    "Check",
    "CheckReport",
    "CheckResult",
    "Skip",
    "TaskUnderTest",
    "check",
    "check_task",
    "parametrize_task_checks",
    "write_golden_output",
]
