"""What `patch()` would do here: the record, how it is made, and the page that it prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Literal

from . import catalog
from ._facts.function_names import NAMES
from ._patching.edits import Edit, Skip
from ._report.page import Entry, Item, Page, Row, Section, page_text
from ._rules import remote_code, transformers, x_transformers
from ._rules.options import SWITCHES, Options
from ._rules.restored import has_name
from ._rules.rooms import changes_by_part
from ._rules.shim import Shim

__all__ = ["Plan", "Step", "make_plan", "page", "unexpected"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan.

    ``state``: ``now`` (the module is loaded), ``on import`` (when its modules are imported; `target` is a
    pattern), ``skip`` (left alone, `detail` says why; ``surprising`` where it should have been adapted.
    Remote code may hold anything under a function's name).
    """

    target: str
    action: Literal["adapt", "restore", "watch", "guard"]
    state: Literal["now", "on import", "skip"]
    shim: str
    detail: str
    surprising: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The list of steps, for one environment and one set of options.

    ``transformers`` and ``x_transformers`` are the installed releases, None where there is none.
    """

    transformers: str | None
    options: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    shims: tuple[Shim, ...]
    x_transformers: str | None = None

    @property
    def digest(self) -> str:
        """A hash of what decides the plan: release, options and shims, not of what happens to be loaded."""
        import hashlib
        import json

        shims = [shim.to_dict() for shim in self.shims]
        decisive = [self.transformers, self.x_transformers, self.options, shims]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, object]:
        """The plan as JSON-ready data."""
        return {
            "transformers": self.transformers,
            "x_transformers": self.x_transformers,
            "options": dict(self.options),
            "digest": self.digest,
            "steps": [asdict(step) for step in self.steps],
            "shims": [shim.to_dict() for shim in self.shims],
        }

    def __str__(self) -> str:
        return page_text(page(self))


def page(plan: Plan) -> Page:
    """The plan, shim by shim, with each shim's reason."""
    if not plan.shims:
        return Page("rope_compat does nothing here: ROPE_COMPAT=off.", (), "warn")
    skipped = len(unexpected(plan))
    headline = f"Plan {plan.digest} for transformers {plan.transformers or '(not installed)'}"
    if plan.x_transformers is not None:
        headline += f" and x-transformers {plan.x_transformers}"
    headline += f"; {'; '.join(f'{name} {value}' for name, value in plan.options if value)}"
    if skipped:
        headline += f"; {skipped} left alone, marked with !"
    found: dict[str, list[Item]] = {}
    for step in plan.steps:
        item = Item(f"{step.state}: {step.target}: {step.detail}", "warn" if step.surprising else "plain")
        found.setdefault(step.shim, []).append(item)
    sections = []
    for shim in plan.shims:
        if shim.name in found:
            why: list[Entry] = [Row("why", f"{shim.why}."), Row("helps", f"{shim.helps}.")]
            why += [Row("note", f"{shim.note}.")] if shim.note else []
            sections.append(Section(_title(shim), (*why, *found[shim.name])))
    idle = tuple(Item(_title(shim)) for shim in plan.shims if shim.name not in found)
    parts = changes_by_part(step.shim for step in plan.steps if step.state == "now")
    changes = Section("Changes to what is loaded, by part:", tuple(Item(f"{part}: {n}") for part, n in parts))
    all_sections = (changes, *sections, Section("Nothing to do here:", idle))
    return Page(headline, all_sections, "warn" if skipped else "plain")


def unexpected(plan: Plan) -> list[Step]:
    """The steps whose target is there, should be adapted, and cannot be."""
    return [step for step in plan.steps if step.surprising]


def _title(shim: Shim) -> str:
    when = f"{shim.since} to {shim.until}" if shim.until else f"since {shim.since}"
    whose = "" if shim.package == "transformers" else f"{shim.package} "
    return f"{shim.name} ({shim.kind}, {whose}{when})"


def make_plan(options: Options, shims: Sequence[Shim], edits: Sequence[Edit]) -> Plan:
    """Combine what the rules propose for loaded modules with what waits for an import."""
    kinds = {shim.name: shim.kind for shim in shims}
    steps = [
        Step(edit.target, kinds[edit.rule], "skip", edit.rule, edit.reason, edit.surprising)
        if isinstance(edit, Skip)
        else Step(edit.target, kinds[edit.rule], "now", edit.rule, edit.detail)
        for edit in edits
    ]
    done = {step.target for step in steps}
    for shim in shims:
        targets = _missing(shim, options, done) if shim is transformers.FUNCTIONS_RESTORED else shim.targets
        waiting = _waiting(shim, options, done) if targets else ""
        if waiting:
            steps.append(Step(", ".join(targets), shim.kind, "on import", shim.name, waiting))
    chosen = (
        ("written_for", str(options.written_for or "")),
        ("targets", repr(options.selection)),
        *((name, "off") for name in SWITCHES if not getattr(options, name)),
        *((("strict", "on"),) if options.strict else ()),
        *((("numbers", options.numbers),) if options.numbers != "installed" else ()),
    )
    return Plan(options.release, chosen, tuple(steps), tuple(shims), x_transformers.release())


def _missing(shim: Shim, options: Options, done: set[str]) -> tuple[str, ...]:
    """The targets that a shim will restore: selected, not done, in modules of the release that lack them."""
    release = options.release
    if release is None:
        return ()
    return tuple(
        target
        for target in shim.targets
        for module, _, name in (target.partition(":"),)
        if target not in done
        and options.selection.selects(module, name)
        and has_name(module, "", release)
        and not has_name(module, name, release)
    )


def _waiting_by_release(shim: Shim, release: str, done: set[str]) -> str:
    """What a shim of classes or modules will do, by the releases that it names."""
    from packaging.version import InvalidVersion, Version

    if done.intersection(shim.targets):
        return ""
    module = shim.targets[0].partition(":")[0].removesuffix(".*")
    try:
        here = Version(Version(release).base_version)
    except InvalidVersion:
        return f"when {module} is imported"
    if here < Version(shim.since) or (shim.until is not None and here > Version(shim.until)):
        return ""
    return f"when {module} is imported"


def _waiting_elsewhere(shim: Shim, options: Options, done: set[str]) -> str:
    """What a shim for another package will do, where the package is installed."""
    target = shim.targets[0]
    module, _, name = target.partition(":")
    is_done = any(fnmatchcase(each, target) or each.startswith(f"{target}.") for each in done)
    if is_done or not options.selection.selects(module.replace("*", ""), name.partition(".")[0]):
        return ""
    from ._environment.packages import read_package

    found = read_package(shim.package, module.partition(".")[0])
    return _waiting_by_release(shim, found.version, done) if found.version is not None else ""


def _waiting(shim: Shim, options: Options, done: set[str]) -> str:
    """What a shim will do when modules are imported, as far as the catalog can tell; empty if nothing."""
    if shim.package != "transformers":
        return _waiting_elsewhere(shim, options, done)
    pattern, _, name = shim.targets[0].partition(":")
    if shim.kind == "watch" or not pattern.startswith("transformers."):
        wanted = remote_code.is_wanted(options.selection, () if shim.kind == "watch" else (name,))
        return "when such a module is imported" if wanted and shim.targets[0] not in done else ""
    if options.release is None:
        return ""
    if shim is transformers.FUNCTIONS_RESTORED:
        return "restored when its module is imported"
    if name not in NAMES:
        return _waiting_by_release(shim, options.release, done)
    from packaging.version import InvalidVersion

    try:
        here = catalog.release_for(options.release)
    except InvalidVersion:
        return "wherever a module defines it"
    targets = catalog.functions(NAMES)
    modules = {module for module, family in targets if catalog.signature_at(module, family, here)}
    waiting = [
        module
        for module, family in targets
        if family == name
        and fnmatchcase(module, pattern)
        and module in modules
        and f"{module}:{name}" not in done
        and options.selection.selects(module, name)
    ]
    defined = [module for module in waiting if catalog.signature_at(module, name, here)]
    if shim.kind == "restore":
        return "restored when its module is imported" if len(defined) < len(waiting) else ""
    if not defined:
        return ""
    return (
        f"{len(defined)} modules of {here} define it" if len(defined) > 1 else "when its module is imported"
    )
