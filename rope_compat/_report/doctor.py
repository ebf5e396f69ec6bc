"""The page of ``rope-compat doctor``, and the same as JSON-ready data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict

from rope_compat._environment.model import PackageInfo, Problem, Severity
from rope_compat._plan import Plan, Step
from rope_compat._report.drift import drift_section
from rope_compat._report.examination import Examination, is_unexpected
from rope_compat._report.functions import functions_section
from rope_compat._report.headline import headline
from rope_compat._report.page import Item, Page, Row, Section, Tone
from rope_compat._report.removed_names import removed_names_of, removed_names_section
from rope_compat._rules.shim import Shim
from rope_compat._version import __version__

__all__ = ["page", "to_dict"]

_TONES: dict[Severity, Tone] = {"fatal": "bad", "warning": "warn", "note": "plain"}
_SHOWN_SKIPS = 3
_SHORT_COMMIT = 12


def page(found: Examination) -> Page:
    """What is installed, what is wrong or known, what the functions look like, what patch() would do."""
    words, tone = headline(found)
    # Functions that differ have a section of their own, where those that differ alike share a line.
    listed = [each for each in found.problems if each.code not in ("signature-drift", "unexpected-function")]
    wrong = [problem for problem in listed if problem.severity != "note"]
    notes = [problem for problem in listed if problem.severity == "note"]
    return Page(
        words,
        (
            Section("Problems", tuple(map(_problem, wrong))),
            Section("Installed", tuple(_installed(found))),
            drift_section(found.drift),
            Section("Good to know", tuple(map(_problem, notes))),
            functions_section(found),
            removed_names_section(_release(found)),
            Section("What patch() would do", tuple(_plan(found.plan))),
        ),
        tone,
        _footer(found),
    )


def to_dict(found: Examination) -> dict[str, object]:
    """The page as JSON-ready data; ``functions`` is null where they were not looked at."""
    environment = found.environment.to_dict()
    verdict = environment.pop("verdict")
    del environment["problems"]
    return {
        "rope_compat": __version__,
        "environment": environment,
        "verdict": verdict,
        "problems": [asdict(problem) for problem in found.problems],
        "plan": [asdict(step) for step in found.plan.steps],
        "off": found.off,
        "functions": asdict(found.functions) if found.functions is not None else None,
        "neighbours": removed_names_of(_release(found)) if _release(found) else None,
        "drift": found.drift.to_dict() if found.drift is not None else None,
    }


def _release(found: Examination) -> str | None:
    return found.environment.transformers.version if found.environment.transformers.present else None


def _problem(problem: Problem) -> Item:
    return Item(problem.message, _TONES[problem.severity], (f"-> {problem.remedy}",))


def _installed(found: Examination) -> Iterator[Row]:
    yield Row("rope_compat", __version__)
    yield Row("Python", found.environment.python)
    for package in found.environment.packages:
        yield Row(package.name, _described(package))


def _described(package: PackageInfo) -> str:
    if not package.present:
        return "broken: listed, but not importable" if package.broken else "not installed"
    parts = [package.version or "(states no version)"]
    if package.kind == "development":
        parts.append("development build")
    if package.build is not None:
        parts.append(f"built for {package.build}")
    parts += _origin(package)
    if package.name == "transformers" and package.location:
        parts.append(f"in {package.location}")
    return ", ".join(parts)


def _origin(package: PackageInfo) -> Iterator[str]:
    origin = package.direct_url
    if origin is None or package.metadata_is_elsewhere:
        return
    if origin.editable:
        yield "editable"
    commit = f" at {origin.commit[:_SHORT_COMMIT]}" if origin.commit else ""
    asked = f" ({origin.requested_revision})" if origin.requested_revision else ""
    yield f"from {origin.url}{commit}{asked}"


def _plan(plan: Plan) -> Iterator[Row]:
    if not plan.shims:
        yield Row("nothing", "ROPE_COMPAT=off")
        return
    for key, value in plan.options:
        if key == "written_for" and value:
            yield Row("read", f"calls as code written for transformers {value} means them")
    waiting: dict[tuple[str, str], list[str]] = {}
    for shim in plan.shims:
        # What is watched for is a means to the others: `rope-compat plan` tells of it.
        if shim.kind == "watch":
            continue
        steps = [step for step in plan.steps if step.shim == shim.name]
        if steps and all(_only_waits(step) for step in steps):
            name, _, home = _name(shim).partition(" of ")
            waiting.setdefault((shim.kind, home), []).append(name)
        else:
            yield from _shim(shim, steps)
    for kind in dict.fromkeys(kind for kind, _ in waiting):
        groups = [(home, names) for (each, home), names in waiting.items() if each == kind]
        shown = [", ".join(names) + (f" of {home}" if home else "") for home, names in groups]
        yield Row(kind, "; ".join(shown))


def _only_waits(step: Step) -> bool:
    """Whether all that there is to say is that a module has to be imported, which goes without saying."""
    detail = step.detail
    waits = detail.startswith(("when ", "restored when ")) and detail.endswith(" is imported")
    return step.state == "on import" and waits


def _shim(shim: Shim, steps: Iterable[Step]) -> Iterator[Row]:
    steps = list(steps)
    name = _name(shim)
    now = [step for step in steps if step.state == "now"]
    if now:
        yield Row(shim.kind, f"{name}: {now[0].detail}" if len(now) == 1 else f"{name} in {len(now)} modules")
    else:
        for step in steps:
            if step.state == "on import":
                yield Row(shim.kind, f"{name}: {step.detail}")
    skipped = [step for step in steps if is_unexpected(step)]
    for step in skipped[:_SHOWN_SKIPS]:
        yield Row("leave alone", f"{step.target}: {step.detail}", "warn")
    if len(skipped) > _SHOWN_SKIPS:
        yield Row("leave alone", f"{len(skipped) - _SHOWN_SKIPS} more; --json lists them", "warn")


def _name(shim: Shim) -> str:
    pattern, _, name = shim.targets[0].partition(":")
    if name.endswith(("__getattr__", ".forward")):
        # How names are answered for says nothing to people, and every class has a forward.
        return shim.name
    if pattern.startswith("transformers_modules."):
        return f"{name} of remote code"
    return name if pattern.endswith("*") else f"{name} of {pattern.rpartition('.')[2]}"


def _footer(found: Examination) -> str:
    why = "rope-compat plan gives the reasons, step by step."
    if found.deep or any(problem.severity == "fatal" for problem in found.problems):
        return why
    look = "rope-compat doctor --deep imports the models and looks at their functions"
    model = "" if found.drift is not None else "; doctor --model DIR tells what of this touches a model"
    return f"{look}{model}; {why}"
