"""What to give for a name that a module of transformers does not have any more."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from ..._facts.removed_name_record import Neighbour, is_due
from ..._facts.removed_names import TABLE
from ..._patching.edits import MISSING

__all__ = ["build", "record_of"]

_PACKAGE = __package__ or ""

#: Records without a pattern in their name, by name: asked for every attribute that a module lacks.
_BY_NAME: dict[str, list[Neighbour]] = {}
_PATTERNS = tuple(record for record in TABLE if "*" in record.name)
for _record in TABLE:
    if "*" not in _record.name:
        _BY_NAME.setdefault(_record.name, []).append(_record)


def record_of(module: str, name: str, release: str | None) -> Neighbour | None:
    """The record of a name that is gone from a module; None where the table or the module never had it."""
    for record in _candidates(name):
        if record.covers(module, name):
            due = is_due(record.gone, release) if record.gone else _was_there(module, name, release)
            return record if due else None
    return None


def _candidates(name: str) -> Iterator[Neighbour]:
    yield from _BY_NAME.get(name, ())
    yield from _PATTERNS


def _was_there(module: str, name: str, release: str | None) -> bool:
    """Whether a release before this one had the name; asked of the catalog, for it differs by module."""
    from ... import catalog
    from .history import place_of

    place = place_of(release)
    return any(place_of(span.first) < place for span in catalog.name_spans(module, name))


def build(record: Neighbour, module: str, name: str, written_for: str | None = None) -> Any:
    """The object that stands for a name; `MISSING` where the installed packages have nothing for it."""
    if record.made:
        implementation = importlib.import_module(f"{_PACKAGE}.{record.made}")
        if record.made == "attention":
            return implementation.find(module, name, written_for)
        find = vars(implementation).get("find")
        return getattr(implementation, name) if find is None else find(module, name)
    for home in record.home:
        value = _at_home(home)
        if value is not MISSING:
            return value
    return MISSING


def _at_home(home: str) -> Any:
    place, _, attribute = home.partition(":")
    try:
        module = importlib.import_module(place)
        return getattr(module, attribute) if attribute else module
    except (ImportError, AttributeError):
        return MISSING
