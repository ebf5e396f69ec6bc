"""What is known to be wrong in which release of x-transformers, as data.

Sources: ``x_transformers/x_transformers.py`` of every release from 1.16.0 to 2.31.10, and calls of each.
"""

from __future__ import annotations

from rope_compat._facts.known_bad import KnownBad

__all__ = ["X_TRANSFORMERS_BAD", "X_TRANSFORMERS_OLDEST"]

#: The oldest release that is adapted.
X_TRANSFORMERS_OLDEST = "1.16.0"

_MENDED = 'rope_compat.patch() mends it; or pip install "x-transformers>={}"'

X_TRANSFORMERS_BAD = (
    KnownBad(
        code="x-transformers-offset",
        releases=">=1.22.8,<1.22.10",
        severity="note",
        message="rotary embeddings with seq_start_pos raise RuntimeError (einsum)",
        remedy=_MENDED.format("1.22.17"),
    ),
    KnownBad(
        code="x-transformers-xpos-cache",
        releases=">=1.21.0,<1.27.12",
        severity="note",
        message="rotary_xpos=True fails with a cache: the rows of the scale are not picked",
        remedy=_MENDED.format("1.27.14"),
    ),
    KnownBad(
        code="x-transformers-xpos-name",
        releases=">=1.25.4,<1.27.6",
        severity="note",
        message="rotary_xpos=True raises NameError: seq_len",
        remedy=_MENDED.format("1.27.14"),
    ),
    KnownBad(
        code="x-transformers-xpos-index",
        releases=">=1.27.6,<1.27.12",
        severity="note",
        message="the scale of rotary_xpos=True follows the index of a position, not the position",
        remedy=_MENDED.format("1.27.14"),
    ),
    KnownBad(
        code="x-transformers-typ-as",
        releases="==1.27.12",
        severity="note",
        message="every model with rotary embeddings raises AttributeError: typ_as",
        remedy=_MENDED.format("1.27.14"),
    ),
    KnownBad(
        code="x-transformers-xpos-einops",
        releases=">=1.42.21,<1.43.2",
        severity="note",
        message="rotary_xpos=True raises EinopsError",
        remedy=_MENDED.format("2.11.12"),
    ),
    KnownBad(
        code="x-transformers-xpos-batch",
        releases=">=1.42.21,<2.11.12",
        severity="note",
        message=(
            "rotary_xpos=True with positions [b, n] fails, or with as many heads as samples scales a head "
            "as another sample"
        ),
        remedy=_MENDED.format("2.11.12"),
    ),
)
