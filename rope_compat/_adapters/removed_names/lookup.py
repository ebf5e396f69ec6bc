"""What stands for a name that is gone, and what the catalog says of one that nothing stands for."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..._patching.edits import MISSING
from ..._patching.references import name_of, namespace

if TYPE_CHECKING:
    from ..._facts.removed_names import RemovedName

__all__ = ["RemovedNames", "names_when_last_there", "record_of", "was_there_in"]


class RemovedNames:
    """What one `patch()` gives for names that are gone; each object is built once, so its identity holds."""

    def __init__(
        self, release: str | None, written_for: str | None, selects: Callable[[str, str], bool]
    ) -> None:
        self._release = release
        self._written_for = written_for
        self._selects = selects
        self._built: dict[tuple[str, str], Any] = {}

    def find(self, module: str, name: str) -> Any:
        """The object that stands for ``module:name``; `MISSING` where there is none."""
        key = (module, name)
        if key not in self._built:
            record = record_of(module, name, self._release)
            if record is None or not record.restored or not self._selects(module, name):
                return MISSING
            value = _build(record, module, name, self._written_for)
            if value is MISSING:
                return MISSING
            self._built.setdefault(key, value)
        return self._built[key]

    def explain(self, module: ModuleType, name: str) -> None:
        """Raise `RemovedNameError` where some release had the name; otherwise do nothing."""
        from ...errors import RemovedNameError

        place = name_of(module)
        happened = _what_happened(place, name, self._release)
        if not happened:
            return
        record = record_of(place, name, self._release)
        advice = f"; {record.instead}" if record is not None and record.instead else ""
        file = namespace(module).get("__file__")
        path = file if isinstance(file, str) else None
        where = f" ({path})" if path is not None else ""
        raise RemovedNameError(
            f"cannot import name {name!r} from {place!r}{where}: {happened}{advice}", name=place, path=path
        )

    def explain_module(self, name: str) -> None:
        """Raise `RemovedModuleError` where some release had the module; otherwise do nothing."""
        from ...errors import RemovedModuleError

        happened = _what_happened(name, "", self._release)
        if happened:
            raise RemovedModuleError(f"No module named {name!r}: {happened}", name=name)


@functools.cache
def _records() -> tuple[Mapping[str, Sequence[RemovedName]], Sequence[RemovedName]]:
    """The table by name, and its patterns: it is asked for every attribute that a module lacks."""
    from ..._facts.removed_names import TABLE

    by_name: dict[str, list[RemovedName]] = {}
    for record in TABLE:
        by_name.setdefault(record.name, []).append(record)
    return by_name, [record for record in TABLE if "*" in record.name]


def record_of(module: str, name: str, release: str | None) -> RemovedName | None:
    """The record of a name that is gone from a module; None where the table or the module never had it."""
    from ..._facts.removed_names import is_due

    by_name, patterns = _records()
    for record in (*by_name.get(name, ()), *patterns):
        if record.covers(module, name):
            if record.gone:
                return record if is_due(record.gone, release) else None
            # It differs by module.
            place = _place_of(release)
            return record if any(first < place for first, _ in _spans(module, name)) else None
    return None


def _build(record: RemovedName, module: str, name: str, written_for: str | None) -> Any:
    """The object that stands for a name; `MISSING` where the installed packages have nothing for it."""
    if record.made:
        made = importlib.import_module(f"{__package__}.{record.made}")
        return made.find(module, name, written_for) if hasattr(made, "find") else getattr(made, name)
    return next((value for home in record.home if (value := _at_home(home)) is not MISSING), MISSING)


def _at_home(home: str) -> Any:
    place, _, attribute = home.partition(":")
    try:
        module = importlib.import_module(place)
        return getattr(module, attribute) if attribute else module
    except (ImportError, AttributeError):
        return MISSING


# The catalog's names are read, in a tenth of a second, where an import would fail and not before.


def _known(release: str | None) -> str:
    """The release of the catalog that a version stands for; what cannot be read is taken for the newest."""
    from packaging.version import InvalidVersion

    from ... import catalog

    try:
        return catalog.release_for(release or "")
    except InvalidVersion:
        return catalog.newest_known()


def _spans(module: str, name: str) -> list[tuple[int, int]]:
    """From which release to which a module had a name, by their places in the catalog."""
    from ... import catalog
    from ...catalog.store import catalog as store

    order = store().order
    return [(order[span.first], order[span.last]) for span in catalog.name_spans(module, name)]


def _place_of(release: str | None) -> int:
    from ...catalog.store import catalog as store

    return store().order[_known(release)]


def was_there_in(release: str | None, module: str, name: str) -> bool:
    """Whether a release, if one is said, is one of those up to the last that had a name."""
    spans = _spans(module, name) if release is not None else []
    return bool(spans) and _place_of(release) <= spans[-1][1]


def names_when_last_there(module: str, name: str) -> frozenset[str]:
    """Everything that a module had in the last release in which it had one name."""
    from ...catalog.store import catalog as store

    spans = _spans(module, name)
    return store().names_in(module, store().builds[spans[-1][1]]) if spans else frozenset()


def _what_happened(module: str, name: str, release: str | None) -> str:
    """``it was removed in 5.0.0 (it was there from ...)``; empty where the catalog does not know the name."""
    from ... import catalog

    known = catalog.explain(module, name, _known(release))
    if known.startswith("removed"):
        return f"it was {known.replace('(was there', '(it was there')}"
    if known.startswith("added"):
        return f"it was {known}, and transformers {release} is installed"
    # Listed, without a condition, and yet not there: nothing that the catalog could explain.
    return f"it is {known}" if ", only if " in known else ""
