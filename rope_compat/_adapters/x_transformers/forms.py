"""The call forms that x-transformers' rotary class and function have had, as data."""

from __future__ import annotations

from ..._facts.call_forms import CallForm

__all__ = ["APPLY_FORMS", "FORWARD_FORMS"]

X = CallForm(
    "x",
    "(x, seq_dim=1)",
    "0.11.2 to 0.11.7",
    "the length of x, rank 3 or more, along seq_dim; freqs alone, [1, 1, n, d]",
)
MAX_LENGTH = CallForm(
    "max_seq_len",
    "(max_seq_len, device)",
    "0.11.9 to 1.0.x",
    "told by the name max_seq_len; freqs alone, [n, d]",
)
LENGTH = CallForm(
    "length",
    "(seq_len, device=None)",
    "to 1.25.15",
    "all positions below seq_len, an int; (freqs [n, d], scale [n, d] or 1)",
)
OFFSET = CallForm(
    "offset",
    "(seq_len, offset)",
    "1.22.8 to 1.22.12",
    "offset is an integer tensor [b], added to the positions; (freqs [b, n, d], scale [n, d] or 1)",
)
POSITIONS = CallForm(
    "positions",
    "(t, offset=0)",
    "from 1.25.4 as seq_arange_or_len, from 1.26.0 as t, offset from 2.3.20",
    "t is a tensor of positions [n] or [b, n]; offset is taken and ignored, as by 2.3.20 and later",
)

FORWARD_FORMS = (X, MAX_LENGTH, LENGTH, OFFSET, POSITIONS)

TABLE = CallForm(
    "table",
    "(t, freqs, scale=1)",
    "to 1.42.20",
    "freqs and scale are [n, d]; their last rows are used",
)
BATCHED = CallForm(
    "batched",
    "(t, freqs, scale=1)",
    "from 1.42.21",
    "freqs and scale are [b or 1, n, d]; their last rows are used",
)
WITH_HEADS = CallForm(
    "with heads",
    "(t, freqs, scale=1)",
    "1.22.10, and to 0.25.x",
    "freqs and scale are [b or 1, h or 1, n, d]; their last rows are used",
)
PAIR = CallForm(
    "pair",
    "(t, (freqs, scale))",
    "callers of the forms that gave freqs alone",
    "what the rotary module returns as a whole, where its scale is a number",
)

APPLY_FORMS = (TABLE, BATCHED, WITH_HEADS, PAIR)
