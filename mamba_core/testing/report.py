"""Running checks and telling how it went."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mamba_core.testing.checks import CHECKS, MANDATORY
from mamba_core.testing.subject import Check, Skip, TaskUnderTest, one_thread

Outcome = Literal["passed", "failed", "skipped", "expected"]


@dataclass(frozen=True)
class CheckResult:
    """One check's outcome; ``message`` is empty where it passed."""

    name: str
    outcome: Outcome
    message: str
    seconds: float


@dataclass(frozen=True)
class CheckReport:
    """The outcomes of one task's checks; prints as a table."""

    task: str
    preset: str
    device: str
    results: tuple[CheckResult, ...]

    @property
    def not_run(self) -> tuple[str, ...]:
        """Mandatory checks without an outcome. A skipped check did not run."""
        ran = {result.name for result in self.results if result.outcome != "skipped"}
        return tuple(name for name in MANDATORY if name not in ran)

    @property
    def ok(self) -> bool:
        """True when nothing failed and every mandatory check ran."""
        return not self.not_run and not self.named("failed")

    def named(self, outcome: Outcome) -> tuple[str, ...]:
        """Return the names of the checks with this outcome."""
        return tuple(result.name for result in self.results if result.outcome == outcome)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "ok": self.ok, "not_run": list(self.not_run)}

    def __str__(self) -> str:
        width = max((len(result.name) for result in self.results), default=0)
        lines = [f"{self.task}, preset {self.preset}, on {self.device}"]
        for result in self.results:
            line = f"  {result.outcome:8}  {result.name:{width}}  {result.seconds:6.2f} s"
            lines.append(f"{line}  {result.message}".rstrip())
        counts = ", ".join(
            f"{len(self.named(outcome))} {outcome}"
            for outcome in ("passed", "failed", "expected", "skipped")
        )
        lines.append(f"{'OK' if self.ok else 'NOT OK'}: {counts}")
        if self.not_run:
            lines.append(f"Mandatory checks that did not run: {', '.join(self.not_run)}")
        return "\n".join(lines)


def check_task(
    task: str,
    *,
    preset: str = "tiny",
    device: str = "cpu",
    expected_failures: Mapping[str, str] | None = None,
    slow: bool = False,
    data: Mapping[str, Any] | None = None,
    only: Iterable[str] | None = None,
) -> CheckReport:
    """Run the conformance checks on one task.

    :param expected_failures: name of a check -> reason. Strict: one that passes is a failure.
    :param slow: run the slow checks too.
    :param data: fields of the task's data config, for the check that reads its data.
    :param only: names of the checks to run; a report without all mandatory ones is not ``ok``.
    :raises TaskNotFoundError: for an unknown task.
    :raises ValueError: for an unknown check, or an expected failure without a reason.
    """
    expected = validate_expected(expected_failures)
    subject = TaskUnderTest(task, preset, device, dict(data or {}))
    full_id = subject.full_id  # before the checks: an unknown task is no failed check
    chosen = select(only) if only is not None else [c for c in CHECKS if slow or not c.slow]
    results = tuple(run_check(item, subject, expected.get(item.name)) for item in chosen)
    return CheckReport(full_id, preset, device, results)


def run_check(item: Check, subject: TaskUnderTest, reason: str | None) -> CheckResult:
    """Run one check; ``reason`` is given where it is expected to fail."""
    start = time.perf_counter()
    outcome: Outcome = "passed"
    message = ""
    try:
        with one_thread():
            item.run(subject)
    except Skip as skip:
        outcome, message = "skipped", str(skip)
    except AssertionError as error:
        outcome, message = "failed", str(error)
    except (Exception, SystemExit) as error:  # a plugin may leave while it is imported
        outcome, message = "failed", f"{type(error).__name__}: {error}"
    if reason is not None and outcome == "failed":
        outcome, message = "expected", f"{reason} ({message})"
    elif reason is not None and outcome == "passed":
        outcome, message = "failed", f"passes, but was expected to fail: {reason}"
    return CheckResult(item.name, outcome, message, round(time.perf_counter() - start, 3))


def validate_expected(expected_failures: Mapping[str, str] | None) -> dict[str, str]:
    """Return the expected failures, each a known check with a reason.

    :raises ValueError: otherwise, with a suggestion.
    """
    expected = dict(expected_failures or {})
    select(expected)
    for name, reason in expected.items():
        if not reason.strip():
            raise ValueError(f"expected failure '{name}' has no reason: say why, and until when")
    return expected


def select(names: Iterable[str]) -> Sequence[Check]:
    """Return the checks of these names, in the kit's order.

    :raises ValueError: for a name that is no check, with a suggestion.
    """
    from mamba_registry import suggest

    by_name = {item.name: item for item in CHECKS}
    wanted = set(names)
    for name in wanted:
        if name not in by_name:
            raise ValueError(f"No check named '{name}'.{suggest(name, by_name)}")
    return [item for item in CHECKS if item.name in wanted]
