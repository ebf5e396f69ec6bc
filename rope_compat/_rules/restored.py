"""The rule for names that the installed release lacks: put them back in the modules that it is about."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from .. import catalog
from .._facts.functions import Restored, places
from .._patching.edits import MISSING, Assign, Edit, Resolve
from .._patching.references import namespace
from .dead_patches import in_vain
from .functions import context_for
from .options import Options
from .shim import Shim

if TYPE_CHECKING:
    from packaging.version import Version

__all__ = ["RestoringRule", "has_name"]


@dataclass(frozen=True, slots=True)
class RestoringRule:
    """Restores names in modules, by the records of each; where they are missing, and only there."""

    shim: Shim
    records: Mapping[str, Sequence[Restored]]
    options: Options

    @staticmethod
    def of(shim: Shim, records: Iterable[Restored], options: Options) -> RestoringRule:
        """The rule for some records."""
        by_module: dict[str, list[Restored]] = {}
        for record in records:
            for module in places(record):
                by_module.setdefault(module, []).append(record)
        return RestoringRule(shim, by_module, options)

    @property
    def name(self) -> str:
        """The name of the shim."""
        return self.shim.name

    @property
    def lasting(self) -> bool:
        """What a module lacks follows from the module."""
        return True

    @property
    def modules(self) -> Iterable[str]:
        """The modules that there are records of."""
        return self.records

    @property
    def packages(self) -> tuple[str, ...]:
        """Top-level packages of the modules."""
        return ("transformers",)

    def matches(self, module_name: str) -> bool:
        """Whether there is a record for a module of this name."""
        return module_name in self.records

    def propose(self, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        """An assignment for each name that is missing; a skip where a user has assigned it in vain."""
        from .._adapters.functions.base import is_restored

        records: dict[str, list[Restored]] = {}
        for record in self.records[module.__name__]:
            records.setdefault(record.name, []).append(record)
        attributes = namespace(module)
        for name, known in records.items():
            if not self.options.selection.selects(module.__name__, name):
                continue
            value = resolve(attributes.get(name, MISSING))
            if value is MISSING or is_restored(value):
                yield self._edit(module, name, _meant(known, self.options))
            elif self._is_in_vain(module.__name__, name, value):
                yield in_vain(module, name, value, self.shim.name, note=self.shim.note)

    def _edit(self, module: ModuleType, name: str, record: Restored) -> Assign:
        target = f"{module.__name__}:{name}"
        removed = catalog.removed_in(module.__name__, name)
        spans = catalog.spans(module.__name__, name)
        if removed is not None:
            when = f"removed in {removed}"
        elif spans:
            when = f"later releases have it, from {spans[-1].first} on"
        else:
            when = "no release of the catalog in use has it there"
        detail = f"restored, {when}; {self.shim.note}"
        key: Hashable = (self.shim.name, str(self.options.written_for), self.options.strict)
        make = partial(_make, record.operation, target, self.options)
        return Assign(target, module, name, make, key, self.shim.name, detail)

    def _is_in_vain(self, module: str, name: str, value: object) -> bool:
        """Whether nothing of the installed release can have bound `value` to the name."""
        release = self.options.release
        if release is None or getattr(value, "__module__", None) == module:
            return False
        return not has_name(module, name, release)


def _make(operation: str, target: str, options: Options) -> object:
    from .._adapters.functions.restoring import restore

    return restore(operation, context_for(target, options, is_library=True))


def _meant(records: Sequence[Restored], options: Options) -> Restored:
    """The meaning that callers rely on: of the release they are written for, or near the installed one."""
    if len(records) == 1:
        return records[0]
    from packaging.version import InvalidVersion, Version

    here: Version | None = options.written_for
    if here is None:
        try:
            here = Version(options.release or "0")
        except InvalidVersion:
            return records[0]
    known = [record for record in records if Version(record.first) <= here]
    return known[-1] if known else records[0]


def has_name(module: str, name: str, release: str) -> bool:
    """Whether a release has a name in a module (empty: the module itself). True where nobody knows."""
    from packaging.version import InvalidVersion, Version

    try:
        here = Version(catalog.release_for(release))
    except InvalidVersion:
        return True
    spans = catalog.name_spans(module, name)
    return any(Version(span.first) <= here <= Version(span.last) for span in spans)
