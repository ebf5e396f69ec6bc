"""Two builds side by side: releases of the catalog, or anything that can be read like one."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rope_compat.catalog.differences import Change, Facts, Side, changes_between
from rope_compat.catalog.model import DEFAULT_KINDS
from rope_compat.catalog.query import release_for
from rope_compat.catalog.reading.facts import Definition
from rope_compat.catalog.sources import BadSourceError
from rope_compat.catalog.store import Catalog, catalog

if TYPE_CHECKING:
    from rope_compat.catalog.reading.release import ReleaseFacts

__all__ = ["changes", "compare", "facts_at", "side_of"]


def changes(
    before: str, after: str, *, pattern: str = "*", kinds: Iterable[str] = DEFAULT_KINDS
) -> list[Change]:
    """What changed in the RoPE API from one release to another, those changes first that break most callers.

    A release may be a version of the catalog, the path of a wheel, an sdist, an unpacked transformers or a
    checkout, or ``"installed"``; the last two are read then, which takes some ten seconds. ``pattern``
    narrows as for `targets`.

    Raises:
        BadSourceError: a path holds no transformers that can be read, or none is installed.
        ValueError: neither a path nor a version.
    """
    return compare(side_of(before), side_of(after), pattern=pattern, kinds=kinds)


def compare(
    before: Side, after: Side, *, pattern: str = "*", kinds: Iterable[str] = DEFAULT_KINDS
) -> list[Change]:
    """`changes`, of sides that have been looked up."""
    known = catalog()
    calls = known.call_counts(before.version) if before.version in known.order else {}
    return changes_between(before, after, pattern=pattern, kinds=kinds, calls=calls)


def side_of(what: str) -> Side:
    """A release of the catalog, what lies at a path, or what is installed. Raises as `changes`."""
    known = catalog()
    if what == "installed":
        return Side(*_harvested(_installed()))
    if what not in known.order and Path(what).exists():
        return Side(*_harvested(Path(what)))
    from packaging.version import InvalidVersion

    if what in known.order:
        return Side(what, facts_at(known, what))
    try:
        version = release_for(what)
    except InvalidVersion:
        raise ValueError(
            f"{what!r} is neither a release that the catalog knows ({known.releases[0]} to "
            f"{known.releases[-1]}) nor an existing path"
        ) from None
    return Side(version, facts_at(known, version))


def facts_at(known: Catalog, build: str) -> Facts:
    """The targets of one build, by module."""
    place = known.order[build]
    return {
        module: [
            (name, Definition(*each[2:]))
            for name in known.names(module)
            for each in known.generations(module, name)
            if known.order[each.first] <= place <= known.order[each.last]
        ]
        for module in known.modules()
    }


def _installed() -> Path:
    spec = find_spec("transformers")
    if spec is None or spec.origin is None:
        raise BadSourceError("transformers is not installed; give a release of the catalog, or a path")
    return Path(spec.origin).parent


def _harvested(path: Path) -> tuple[str, Facts]:
    from rope_compat.catalog.harvest import harvest

    read: ReleaseFacts = harvest(path)
    return read.version, read.targets
