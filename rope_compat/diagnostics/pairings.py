"""Which channels transformers' own models turn together, as their attention multiplies q and k."""

from __future__ import annotations

__all__ = ["INTERLEAVED", "pairing_of"]

#: Folders below transformers.models whose heads are paired (0, 1), (2, 3), ...
INTERLEAVED = frozenset(
    {"codegen", "cohere", "cohere2", "glm", "glm4", "gptj", "helium", "llama4", "persimmon_"}
)


def pairing_of(attention: type) -> str | None:
    """``half``, ``interleaved``, or None where that is not known."""
    parts = attention.__module__.split(".")
    if parts[:2] != ["transformers", "models"] or len(parts) < 3:
        return None
    return None
