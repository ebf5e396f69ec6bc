"""Releases of transformers: which are supported, which do not count, which are warned of."""

from __future__ import annotations

__all__ = [
    "NEWEST_SUPPORTED",
    "OLDEST_IN_CATALOG",
    "OLDEST_SUPPORTED",
    "WANTS_PYTHON_3_11",
    "WITHDRAWN",
    "WITH_WARNINGS",
]

OLDEST_SUPPORTED = "4.36.0"
#: The newest release that the tests have run with. `rope-compat catalog update` may know newer ones.
NEWEST_SUPPORTED = "5.24.0"

#: Where the catalog begins.
OLDEST_IN_CATALOG = "4.28.0"
#: Taken from the index by the maintainers within hours; pip lists withdrawn releases nevertheless.
WITHDRAWN = ("4.46.0", "5.10.0")

#: Supported releases that `rope_compat._facts.known_bad.KNOWN_BAD` warns of, on any Python. Here once more,
#: as `rope_compat.patch` has no time to compare versions; a test holds the two to each other.
WITH_WARNINGS = ("5.0.0", "5.1.0", "5.2.0")
#: The first release that wants Python 3.11 (its Requires-Python).
WANTS_PYTHON_3_11 = "5.21.0"
