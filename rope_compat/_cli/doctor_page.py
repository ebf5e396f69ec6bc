"""What ``rope-compat doctor`` has found, its page, and the same as JSON-ready data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

from rope_compat._cli.installed_functions import Functions
from rope_compat._environment.model import Environment, PackageInfo, Problem, Severity
from rope_compat._facts.removed_names import TABLE, is_due
from rope_compat._outcome import Report
from rope_compat._plan import Plan, Step, unexpected
from rope_compat._report.page import Entry, Item, Page, Row, Section, Tone, counted, some
from rope_compat._rules.shim import Shim
from rope_compat._version import __version__

__all__ = ["Examination", "lost_names", "lost_names_section", "page", "to_dict"]

_TONES: dict[Severity, Tone] = {"fatal": "bad", "warning": "warn", "note": "plain"}
_SHOWN_SKIPS = 3
_SHOWN_GROUPS = 4  # of functions that differ alike
_SHOWN_TARGETS = 3  # of each
_SHOWN_NAMES = 2  # of the names beside RoPE
_SHORT_COMMIT = 12
_TELL = "calls in other forms fail there; tell the authors of rope_compat, with the signature"


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
        found = list(self.environment.problems)
        if self.off:
            what = "ROPE_COMPAT=off: patch() does nothing"
            found.append(Problem("switched-off", "note", what, "unset it to patch"))
        found += self._imports()
        for each in self.functions.drift if self.functions is not None else ():
            found.append(Problem("signature-drift", "warning", each.message, self._drift_remedy))
        for step in unexpected(self.plan):
            what = f"{step.target} is left alone: {step.detail}"
            found.append(Problem("unexpected-function", "warning", what, _TELL))
        rank = {"fatal": 0, "warning": 1, "note": 2}
        return tuple(sorted(found, key=lambda problem: rank[problem.severity]))

    def _imports(self) -> Iterator[Problem]:
        """That modules cannot be imported: one problem for all."""
        functions = self.functions
        if functions is None or not functions.failed:
            return
        (module, reason), others = functions.failed[0], len(functions.failed) - 1
        if functions.targets:
            more = f" (and {counted(others, 'more module')})" if others else ""
            message, remedy = f"{module}{more} cannot be imported: {reason}", "only these models are affected"
            yield Problem("import-fails", "note", message, remedy)
            return
        message = f"{module} cannot be imported: {reason}"
        if others:
            message = f"none of {others + 1} modules can be imported; {module}: {reason}"
        remedy = f'see all of it with: python -c "import {module}"'
        yield Problem(
            "import-fails", "fatal", message, remedy if self.environment.torch.present else "install torch"
        )

    @property
    def _drift_remedy(self) -> str:
        version = self.environment.transformers.version
        if self.environment.verdict == "supported":
            return f'to have the release as it was: pip install --force-reinstall "transformers=={version}"'
        return "nothing to do if that build is meant: each function is judged by its own signature"


def page(found: Examination) -> Page:
    """What is installed, what is wrong or known, what the functions look like, what patch() would do."""
    words, tone = _verdict(found)
    if found.off:
        words += " ROPE_COMPAT=off: patch() does nothing."
    # Functions that differ have a section of their own, where those that differ alike share a line.
    listed = [each for each in found.problems if each.code not in ("signature-drift", "unexpected-function")]
    wrong = [problem for problem in listed if problem.severity != "note"]
    notes = [problem for problem in listed if problem.severity == "note"]
    return Page(
        words,
        (
            Section("Problems", tuple(map(_problem, wrong))),
            Section("Installed", tuple(_installed(found))),
            _drift_section(found.drift),
            Section("Good to know", tuple(map(_problem, notes))),
            _functions_section(found.functions),
            lost_names_section(_release(found)),
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
        "neighbours": lost_names(_release(found)) if _release(found) else None,
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
        yield Row(package.name, _about(package))


def _about(package: PackageInfo) -> str:
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
    skipped = [step for step in steps if step.surprising]
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


def _verdict(found: Examination) -> tuple[str, Tone]:
    """The first line: one sentence or two, and how grave they are."""
    environment = found.environment
    fatal = [problem for problem in found.problems if problem.severity == "fatal"]
    if fatal:
        return f"NOT WORKING: {fatal[0].message}.", "bad"
    name = f"transformers {environment.transformers.version}"
    if not environment.transformers.present:
        name = f"x-transformers {environment.x_transformers.version}"
    warnings = [problem for problem in environment.problems if problem.severity == "warning"]
    tone: Tone = "warn"
    if environment.verdict == "development":
        origin = environment.transformers.direct_url
        commit = origin.commit if origin is not None else None
        source = f" (commit {commit[:_SHORT_COMMIT]})" if commit else ""
        words = f"DEVELOPMENT BUILD: {name} is no release{source}."
    elif environment.verdict == "untested":
        reason = warnings[0].message if warnings else f"{name} is not a release that rope_compat knows"
        words = f"UNTESTED: {reason}."
    elif warnings:
        number = "is one problem" if len(warnings) == 1 else f"are {len(warnings)} problems"
        words = f"TAKE CARE: {name} is supported, but there {number}."
    elif any(problem.severity == "warning" for problem in found.problems):
        words = f"TAKE CARE: {name} is supported, but not as released."
    else:
        words, tone = f"OK: {name} is supported.", "good"
    return f"{words} {_all_functions(found)}".rstrip(), tone


def _all_functions(found: Examination) -> str:
    """What is to be said of the functions, where they were looked at."""
    functions = found.functions
    if functions is None:
        return ""
    left, total = len(unexpected(found.plan)), len(functions.targets)
    if not total:
        return "It has no rotary function that rope_compat knows."
    release = functions.release or "any release"
    new = f", {len(functions.unknown)} are new" if functions.unknown else ""
    sentence = f"Of its {total} rotary functions, {_differing(functions)} from {release}{new}."
    if not functions.drift:
        sentence = f"Its {total} rotary functions are as in {release}{new}."
    if functions.how == "read":
        return f"{sentence} To be sure, run rope-compat doctor --deep."
    if found.off:
        return sentence
    return f"{sentence} patch() adapts {'all of them' if not left else f'all but {left} of them'}."


def _drift_section(report: Report | None) -> Section:
    """Which releases compute other numbers for a model, by how much, and the way to these numbers."""
    if report is None:
        return Section("", ())
    items = []
    for found in report:
        details = [f"-> {found.advice}"]
        if found.max_error:
            details.insert(0, f"phase error {found.max_error:.3g} rad at position {found.position}")
        items.append(Item(f"{found.name}: {found.reason}", "warn", tuple(details)))
    none = Item("the same on every release, as far as is known")
    return Section(f"Numbers of {report.subject} on other releases", tuple(items) or (none,))


def _functions_section(functions: Functions | None) -> Section:
    """What was looked at, and what differs; without entries where nothing was looked at."""
    if functions is None:
        return Section("Rotary functions", ())
    how = "in the source" if functions.how == "read" else "in the imported modules"
    return Section(f"Rotary functions, {how}", tuple(_functions(functions)))


def _differing(functions: Functions) -> str:
    count = len(functions.drift)
    return f"{count} differ{'s' if count == 1 else ''}"


def _functions(functions: Functions) -> Iterator[Entry]:
    modules = len({target.partition(":")[0] for target in functions.targets})
    yield Row("found", f"{len(functions.targets)} in {counted(modules, 'module')}")
    if functions.failed:
        yield Row("failed", f"{counted(len(functions.failed), 'module')} cannot be imported", "warn")
    if functions.failed and not functions.targets:
        return
    if functions.release is None:
        yield Row("compared", "with nothing, as the version names no release")
    elif not functions.drift:
        yield Row("compared", f"with {functions.release}: no difference")
    else:
        yield Row("compared", f"with {functions.release}: {_differing(functions)}", "warn")
    if functions.unknown:
        new = some(functions.unknown, _SHOWN_TARGETS)
        yield Row("new", f"{len(functions.unknown)} that no known release has: {new}")
    # Targets that differ in the same way, under the sentence that is true of each; most targets first.
    by_message: dict[str, list[str]] = {}
    for each in functions.drift:
        by_message.setdefault(each.message.replace(each.target, "{}"), []).append(each.target)
    groups = sorted(by_message.items(), key=lambda group: -len(group[1]))
    for message, targets in groups[:_SHOWN_GROUPS]:
        whose = targets[0] if len(targets) == 1 else f"each of {len(targets)}"
        details = (some(targets, _SHOWN_TARGETS),) if len(targets) > 1 else ()
        yield Item(message.replace("{}", whose, 1), "warn", details)
    if len(groups) > _SHOWN_GROUPS:
        yield Item(f"{len(groups) - _SHOWN_GROUPS} more kinds of difference; --json lists them", "warn")


def lost_names(release: str | None) -> dict[str, dict[str, tuple[str, ...]]]:
    """Names beside RoPE that a release lacks, by kind: those that `patch` restores, and those that it cannot.

    Names of models' modules are not among them: they differ by module.
    """
    found: dict[str, dict[str, dict[str, None]]] = {"restored": {}, "explained": {}}
    for record in TABLE:
        if record.gone and is_due(record.gone, release):
            kinds = found["restored" if record.restored else "explained"]
            kinds.setdefault(record.kind, {})[record.name] = None
    return {how: {kind: tuple(names) for kind, names in kinds.items()} for how, kinds in found.items()}


def lost_names_section(release: str | None) -> Section:
    """The same for people; empty where nothing is lost, or nothing is installed."""
    lost = lost_names(release) if release else {"restored": {}, "explained": {}}
    rows = []
    if lost["restored"]:
        listed = (f"{kind}: {some(names, _SHOWN_NAMES)}" for kind, names in lost["restored"].items())
        rows.append(Row("restored", "; ".join(listed)))
    names = [name for group in lost["explained"].values() for name in group]
    if names:
        said = f"{some(names, _SHOWN_NAMES)}: the ImportError says since when, and what to use"
        rows.append(Row("not restored", said))
    return Section("Names beside RoPE that this release lacks", tuple(rows))
