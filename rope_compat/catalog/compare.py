"""Two builds side by side: releases of the catalog, or anything that can be read like one."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from rope_compat.catalog.differences import DIFF_KINDS, Change, Side, changes_between
from rope_compat.catalog.query import release_for
from rope_compat.catalog.reading.facts import Definition
from rope_compat.catalog.sources import BadSourceError
from rope_compat.catalog.store import Catalog, catalog

__all__ = ["changes", "compare", "side_at", "side_of"]


def changes(
    before: str, after: str, *, pattern: str = "*", kinds: Iterable[str] = DIFF_KINDS
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
    before: Side, after: Side, *, pattern: str = "*", kinds: Iterable[str] = DIFF_KINDS
) -> list[Change]:
    """`changes`, of sides that have been looked up."""
    known = catalog()
    calls = known.call_counts(before.version) if before.version in known.order else {}
    return changes_between(before, after, pattern=pattern, kinds=kinds, calls=calls)


def side_of(what: str) -> Side:
    """A release of the catalog, what lies at a path, or what is installed. Raises as `changes`."""
    known = catalog()
    if what == "installed":
        return _harvested(_installed())
    if what not in known.order and Path(what).exists():
        return _harvested(Path(what))
    from packaging.version import InvalidVersion, Version

    if what in known.order:
        return side_at(known, what)
    try:
        version = release_for(what)
    except InvalidVersion:
        raise ValueError(
            f"{what!r} is neither a release that the catalog knows ({known.releases[0]} to "
            f"{known.releases[-1]}) nor an existing path"
        ) from None
    if Version(Version(what).base_version) > Version(known.releases[-1]):
        raise ValueError(
            f"{what} is newer than {known.releases[-1]}, the newest release that the catalog knows; run "
            "rope-compat catalog update, or give the path of a wheel or checkout"
        )
    return side_at(known, version)


def side_at(known: Catalog, build: str) -> Side:
    """One build of a catalog."""
    place = known.order[build]

    def has(module: str, name: str) -> bool:
        spans = known.name_spans(module, name)
        return any(known.order[span.first] <= place <= known.order[span.last] for span in spans)

    facts = {
        module: [
            (name, Definition(*each[2:]))
            for name in known.names(module)
            for each in known.generations(module, name)
            if known.order[each.first] <= place <= known.order[each.last]
        ]
        for module in known.modules()
    }
    return Side(build, facts, has)


def _installed() -> Path:
    spec = find_spec("transformers")
    if spec is None or spec.origin is None:
        raise BadSourceError("transformers is not installed; give a release of the catalog, or a path")
    return Path(spec.origin).parent


def _harvested(path: Path) -> Side:
    from rope_compat.catalog.harvest import harvest

    read = harvest(path)

    def has(module: str, name: str) -> bool:
        return (
            any(each.name == name for each in read.names.get(module, ())) or f"{module}.{name}" in read.names
        )

    return Side(read.version, read.targets, has)
