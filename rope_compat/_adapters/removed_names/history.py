"""What the catalog says of a name, in the words of an ImportError."""

from __future__ import annotations

from ... import catalog
from ...catalog.store import catalog as _store

__all__ = ["names_when_last_there", "place_of", "what_happened"]


def place_of(release: str | None) -> int:
    """Where a release is in the order of the catalog; what cannot be read is taken for the newest."""
    return _store().order[_known(release)]


def _known(release: str | None) -> str:
    from packaging.version import InvalidVersion

    try:
        return catalog.release_for(release or "")
    except InvalidVersion:
        return catalog.newest_known()


def what_happened(module: str, name: str, release: str | None) -> str:
    """``it was removed in 5.0.0 (it was there from ...)``; empty where the catalog does not know the name."""
    known = catalog.explain(module, name, _known(release))
    if known.startswith("removed"):
        return f"it was {known.replace('(was there', '(it was there')}"
    if known.startswith("added"):
        return f"it was {known}, and transformers {release} is installed"
    if ", only if " in known:
        return f"it is {known}"
    # Listed, without a condition, and yet not there: nothing that the catalog could explain.
    return ""


def names_when_last_there(module: str, name: str) -> frozenset[str]:
    """Everything that a module had in the last release in which it had one name."""
    spans = catalog.name_spans(module, name)
    return _store().names_in(module, spans[-1].last) if spans else frozenset()
