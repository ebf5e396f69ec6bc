"""What each transformers release looked like, read from its source without running it.

Imports neither torch nor transformers; data is read when it is asked for. `docs/catalog.md` has examples.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rope_compat.catalog.format import CatalogError
from rope_compat.catalog.model import Caller, Generation, NameSpan, Span, Target
from rope_compat.catalog.query import (
    builds,
    callers,
    explain,
    functions,
    generations,
    name_spans,
    names_in,
    nearest_releases,
    newest_known,
    newest_supported,
    oldest_supported,
    release_for,
    releases,
    removed_in,
    signature_at,
    spans,
    targets,
)

if TYPE_CHECKING:
    from rope_compat.catalog.compare import Change, changes
    from rope_compat.catalog.signature import normalize

__all__ = [
    "Caller",
    "CatalogError",
    "Change",
    "Generation",
    "NameSpan",
    "Span",
    "Target",
    "builds",
    "callers",
    "changes",
    "explain",
    "functions",
    "generations",
    "name_spans",
    "names_in",
    "nearest_releases",
    "newest_known",
    "newest_supported",
    "normalize",
    "oldest_supported",
    "release_for",
    "releases",
    "removed_in",
    "signature_at",
    "spans",
    "targets",
]

#: These need the syntax of Python, which takes long to import.
_HOMES = {"Change": "compare", "changes": "compare", "normalize": "signature"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
