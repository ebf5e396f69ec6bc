"""What each transformers release looked like, read from its source without running it.

Imports neither torch nor transformers; the data is read at the first question.
"""

from __future__ import annotations

from rope_compat.catalog.signature import normalize
from rope_compat.catalog.store import (
    CatalogError,
    Span,
    newest_known,
    oldest_supported,
    release_for,
    releases,
    removed_in,
    signature_at,
    spans,
    targets,
)

__all__ = [
    "CatalogError",
    "Span",
    "newest_known",
    "normalize",
    "oldest_supported",
    "release_for",
    "releases",
    "removed_in",
    "signature_at",
    "spans",
    "targets",
]
