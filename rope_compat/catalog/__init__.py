"""What each transformers release looked like, read from its source without running it.

Imports neither torch nor transformers; data is read when it is asked for. `docs/catalog.md` has examples.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rope_compat.catalog.compare import changes
    from rope_compat.catalog.differences import Change
    from rope_compat.catalog.explanation import explain
    from rope_compat.catalog.model import Caller, Generation, NameSpan, Span, Target
    from rope_compat.catalog.query import (
        builds,
        callers,
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
    from rope_compat.catalog.signature import normalize
    from rope_compat.catalog.storage.container import CatalogError

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

_HOMES = {
    "Caller": "model",
    "CatalogError": "storage.container",
    "Change": "differences",
    "Generation": "model",
    "NameSpan": "model",
    "Span": "model",
    "Target": "model",
    "changes": "compare",
    "explain": "explanation",
    "normalize": "signature",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'query')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
