"""The lines of ``rope-compat doctor`` about names beside RoPE that the installed release lacks."""

from __future__ import annotations

from collections.abc import Iterator

from rope_compat._facts.removed_names import TABLE, RemovedName, is_due
from rope_compat._report.page import Row, Section

__all__ = ["removed_names_of", "removed_names_section"]

_SHOWN = 2


def removed_names_of(release: str | None) -> dict[str, dict[str, tuple[str, ...]]]:
    """Names that a release has lost, by kind: those that `patch` restores, and those that it cannot.

    Names of models' modules are not among them: they differ by module.
    """
    lost = [record for record in TABLE if record.gone and is_due(record.gone, release)]
    return {"restored": _by_kind(lost, restored=True), "explained": _by_kind(lost, restored=False)}


def removed_names_section(release: str | None) -> Section:
    """The same for people; empty where nothing is lost, or nothing is installed."""
    return Section("Names beside RoPE that this release lacks", tuple(_rows(release)) if release else ())


def _by_kind(records: list[RemovedName], *, restored: bool) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for record in records:
        if record.restored is restored:
            found.setdefault(record.kind, {})[record.name] = None
    return {kind: tuple(names) for kind, names in found.items()}


def _rows(release: str) -> Iterator[Row]:
    lost = removed_names_of(release)
    restored = [f"{kind}: {_listed(names)}" for kind, names in lost["restored"].items()]
    if restored:
        yield Row("restored", "; ".join(restored))
    names = tuple(name for group in lost["explained"].values() for name in group)
    if names:
        yield Row("not restored", f"{_listed(names)}: the ImportError says since when, and what to use")


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
