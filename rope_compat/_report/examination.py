"""What ``rope-compat doctor`` has found, before it is put into words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rope_compat._environment.model import Environment, Problem
from rope_compat._outcome import Report
from rope_compat._plan import Plan, Step
from rope_compat._report.words import counted

__all__ = ["Drift", "Examination", "Functions", "is_unexpected"]


@dataclass(frozen=True, slots=True)
class Drift:
    """A function that is not as its release had it; ``message`` is one sentence."""

    target: str
    message: str


@dataclass(frozen=True, slots=True)
class Functions:
    """The rotary functions that are there, as against those of a release.

    Attributes:
        how: ``read`` from the source, or ``imported`` and looked at.
        release: the release that they are compared with, None where the version says none.
        targets: all of them, as ``module:name``.
        drift: those that differ, and those that are not there.
        unknown: those that no known release has.
        failed: modules that could not be imported, and why.
    """

    how: Literal["read", "imported"]
    release: str | None
    targets: tuple[str, ...]
    drift: tuple[Drift, ...] = ()
    unknown: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Examination:
    """All that doctor knows.

    Attributes:
        environment: what is installed.
        plan: what `rope_compat.patch` would do.
        off: ``ROPE_COMPAT=off``.
        deep: the user asked for the modules to be imported.
        functions: None where they were not looked at.
        drift: which releases compute other numbers for a model, None where none was named.
    """

    environment: Environment
    plan: Plan
    off: bool = False
    deep: bool = False
    functions: Functions | None = None
    drift: Report | None = None

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong or uncertain, the gravest first."""
        found = [*self.environment.problems, *self._switch(), *self._imports(), *self._drift()]
        found += [
            Problem("unexpected-function", "warning", f"{step.target} is left alone: {step.detail}", _TELL)
            for step in self.plan.steps
            if is_unexpected(step)
        ]
        rank = {"fatal": 0, "warning": 1, "note": 2}
        return tuple(sorted(found, key=lambda problem: rank[problem.severity]))

    def _switch(self) -> list[Problem]:
        if not self.off:
            return []
        return [Problem("switched-off", "note", "ROPE_COMPAT=off: patch() does nothing", "unset it to patch")]

    def _imports(self) -> list[Problem]:
        failed = self.functions.failed if self.functions is not None else ()
        if not failed or self.functions is None:
            return []
        module, reason = failed[0]
        if self.functions.targets:
            others = f" (and {counted(len(failed) - 1, 'more module')})" if len(failed) > 1 else ""
            message, remedy = (
                f"{module}{others} cannot be imported: {reason}",
                "only these models are affected",
            )
            return [Problem("import-fails", "note", message, remedy)]
        message = f"{module} cannot be imported: {reason}"
        if len(failed) > 1:
            message = f"none of {len(failed)} modules can be imported; {module}: {reason}"
        remedy = f'see all of it with: python -c "import {module}"'
        if not self.environment.torch.present:
            remedy = "install torch"
        return [Problem("import-fails", "fatal", message, remedy)]

    def _drift(self) -> list[Problem]:
        drift = self.functions.drift if self.functions is not None else ()
        return [Problem("signature-drift", "warning", each.message, self._drift_remedy) for each in drift]

    @property
    def _drift_remedy(self) -> str:
        version = self.environment.transformers.version
        if self.environment.verdict == "supported":
            return f'to have the release as it was: pip install --force-reinstall "transformers=={version}"'
        return "nothing to do if that build is meant: each function is judged by its own signature"


_TELL = "calls in other forms fail there; tell the authors of rope_compat, with the signature"


def is_unexpected(step: Step) -> bool:
    """Whether a step is a target that should have been adapted and cannot be.

    Remote code may hold anything under a function's name: that it is left alone there is no surprise.
    """
    return step.state == "skip" and step.surprising
