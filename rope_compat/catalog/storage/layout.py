"""What readers and the writer of the file agree on; light, as `rope_compat.patch` reads the file."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["KINDS", "MODULES", "NAME_KINDS", "NO_DETAIL", "lines_of", "tables_of"]

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


def lines_of(section: bytes) -> dict[str, bytes]:
    """The lines of a section, by module and not parsed: few are asked for, or all of them one by one."""
    found = {}
    for line in section[section.index(MODULES) + len(MODULES) :].split(b"\n"):
        if line.startswith(b'"'):
            end = line.index(b'"', 1)
            found[line[1:end].decode("ascii", "replace")] = line[end + 2 :].removesuffix(b",")
    return found
