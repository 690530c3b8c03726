"""The checks as pytest tests, one each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mamba_core.testing.checks import CHECKS
from mamba_core.testing.report import validate_expected
from mamba_core.testing.subject import Check, Skip, TaskUnderTest, one_thread

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class BoundCheck:
    """A check and the task it is run on; calling it runs it."""

    item: Check
    subject: TaskUnderTest

    def __call__(self) -> None:
        """Run the check.

        :raises AssertionError: when the task breaks the promise.
        """
        import pytest

        try:
            with one_thread():
                self.item.run(self.subject)
        except Skip as skip:
            pytest.skip(str(skip))


def parametrize_task_checks(
    task: str,
    *,
    preset: str = "tiny",
    device: str = "cpu",
    expected_failures: Mapping[str, str] | None = None,
    data: Mapping[str, Any] | None = None,
) -> pytest.MarkDecorator:
    """Decorate ``def test_conformance(check): check()`` with every check of a task.

    Slow checks carry the marker ``slow``, expected failures ``xfail(strict=True)`` with their
    reason. Nothing of the task is imported before a test runs.

    :param expected_failures: name of a check -> reason.
    :param data: fields of the task's data config, for the check that reads its data.
    :raises ValueError: for an unknown check, or an expected failure without a reason.
    """
    import pytest

    expected = validate_expected(expected_failures)
    subject = TaskUnderTest(task, preset, device, dict(data or {}))
    parameters = []
    for item in CHECKS:
        marks = [pytest.mark.slow] if item.slow else []
        if item.name in expected:
            marks.append(pytest.mark.xfail(reason=expected[item.name], strict=True))
        parameters.append(pytest.param(BoundCheck(item, subject), id=item.name, marks=marks))
    return pytest.mark.parametrize("check", parameters)
