"""What is recorded of a name that transformers has taken away."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

__all__ = ["MODELING", "Kind", "Neighbour", "Period", "is_due", "periods"]

#: Every module that holds a model.
MODELING = "transformers.models.*.modeling_*"

Kind = Literal[
    "predicate", "re-export", "documentation", "type", "function", "class", "attention class", "value"
]
Period = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One name, or one pattern of names, in the modules where it once was.

    Attributes:
        name: the name; may have ``*``.
        modules: where it was; each may have ``*``.
        kind: what it is, for people.
        gone: in which releases it is not there, from the oldest supported one on: ``"5.0.0-"``, or
            ``"4.48.0-4.48.1"``, or several of these with commas. Empty where it differs by module: then the
            catalog tells.
        home: where the object lives, ``module:name`` or a module; the first that the installed release has.
        made: the module of `_adapters.removed_names` that has it under its own name, or builds it.
        instead: what to use, where it cannot be restored.
        note: what one has to know about what is restored.
    """

    name: str
    modules: tuple[str, ...]
    kind: Kind
    gone: str = ""
    home: tuple[str, ...] = ()
    made: str = ""
    instead: str = ""
    note: str = ""

    @property
    def restored(self) -> bool:
        """Whether asking for the name gives something."""
        return bool(self.home or self.made)

    def covers(self, module: str, name: str) -> bool:
        """Whether this record is about ``module:name``."""
        if name != self.name and not ("*" in self.name and fnmatchcase(name, self.name)):
            return False
        return any(module == each or ("*" in each and fnmatchcase(module, each)) for each in self.modules)


def periods(gone: str) -> tuple[Period, ...]:
    """`Neighbour.gone` as first and last releases; the last is empty where there is no end in sight."""
    parts = [part.strip().partition("-") for part in gone.split(",") if part.strip()]
    return tuple((first, last) for first, _, last in parts)


def is_due(gone: str, release: str | None) -> bool:
    """Whether a name is gone in a release; one that cannot be read is taken for the newest."""
    from packaging.version import InvalidVersion, Version

    known = periods(gone)
    try:
        here = Version(Version(release or "").base_version)
    except InvalidVersion:
        return any(not last for _, last in known)
    return any(Version(first) <= here and (not last or here <= Version(last)) for first, last in known)
