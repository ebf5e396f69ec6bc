"""What readers and the writer of the file agree on; light, as `rope_compat.patch` reads the file."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["KINDS", "MODULES", "NAME_KINDS", "NO_DETAIL", "line_of", "tables_of"]

#: One letter for each kind of target, and of name.
KINDS = {
    "f": "function",
    "c": "class",
    "m": "method",
    "d": "mapping",
    "a": "field",
    "k": "carrier",
    "r": "reexport",
}
NAME_KINDS = {"f": "function", "c": "class", "d": "mapping", "v": "value", "m": "module", "i": "import"}

#: Decorators, bases and condition of most targets.
NO_DETAIL: tuple[tuple[str, ...], tuple[str, ...], str] = ((), (), "")

#: In a section of lines, what stands between its tables and its modules.
MODULES = b',"modules":{\n'


def tables_of(section: bytes) -> Any:
    """The tables at the head of a section of lines."""
    return json.loads(section[: section.index(MODULES)] + b"}")


def line_of(section: bytes, module: str) -> Any:
    """What a section of lines has for one module, without parsing the others; None where it has nothing."""
    start = section.find(b'\n"%s":' % module.encode("ascii", "replace"))
    if start < 0:
        return None
    start += len(module) + 4
    return json.loads(section[start : section.index(b"\n", start)].removesuffix(b","))
