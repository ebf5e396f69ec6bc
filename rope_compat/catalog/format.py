"""The catalog's file: a line of JSON that says what follows, then the sections, one after the other.

One file, so that replacing it replaces everything at once: whoever reads it sees the old data or the new.
`docs/catalog.md` describes what the sections hold. Light, as `rope_compat.patch` reads the file.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rope_compat.errors import RopeCompatError

__all__ = [
    "FORMAT",
    "KINDS",
    "NAME_KINDS",
    "NO_DETAIL",
    "CatalogError",
    "Container",
    "lines",
    "lines_of",
    "pack",
    "tables_of",
    "unpack",
]

FORMAT = 2
_KIND = "rope_compat catalog"
_LONGEST_HEADER = 1 << 20
_REMEDY = "install rope_compat again (pip install --force-reinstall --no-deps rope_compat)"

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
_MODULES = b',"modules":{\n'


class CatalogError(RopeCompatError, ValueError):
    """The catalog's data cannot be read; the message says why, and what to do."""


class Container(NamedTuple):
    """An opened file: its header, and the sections, whose checksums are looked at when they are asked for."""

    builds: tuple[str, ...]
    sections: Mapping[str, tuple[int, int, int]]
    data: bytes
    where: str

    def section(self, name: str) -> bytes:
        """The bytes of a section. Raises `CatalogError` when they are damaged."""
        try:
            start, length, checksum = self.sections[name]
        except KeyError:
            raise CatalogError(f"{self.where} has no section {name!r}; {_REMEDY}") from None
        content = self.data[start : start + length]
        if len(content) != length or zlib.crc32(content) != checksum:
            raise CatalogError(f"{self.where} is damaged or truncated (section {name!r}); {_REMEDY}")
        return content


def pack(builds: list[str], sections: Mapping[str, bytes]) -> bytes:
    """The file's bytes; equal for equal arguments."""
    header = {
        "kind": _KIND,
        "format": FORMAT,
        "builds": builds,
        "sections": {name: [len(content), zlib.crc32(content)] for name, content in sections.items()},
    }
    return b"".join([_compact(header), b"\n", *sections.values()])


def unpack(data: bytes, where: str) -> Container:
    """Open a file's bytes; ``where`` names it in errors.

    Raises `CatalogError`: it is no catalog, of another format, or damaged.
    """
    end = data.find(b"\n", 0, _LONGEST_HEADER)
    try:
        header: Any = json.loads(data[: max(end, 0)])
        if header["kind"] != _KIND:
            raise ValueError(f"kind {header['kind']!r}")
        found = header["format"]
        builds = tuple(map(str, header["builds"]))
        sizes = [(str(name), int(size), int(crc)) for name, (size, crc) in header["sections"].items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CatalogError(
            f"{where} is not a catalog of rope_compat, or its start is damaged; {_REMEDY}"
        ) from error
    if found != FORMAT:
        newer = isinstance(found, int) and found > FORMAT
        anew = "rope-compat catalog update --rebuild makes it anew"
        remedy = "pip install --upgrade rope_compat" if newer else anew
        raise CatalogError(f"{where} has format {found!r}; this rope_compat reads format {FORMAT}; {remedy}")
    sections: dict[str, tuple[int, int, int]] = {}
    start = end + 1
    for name, size, checksum in sizes:
        sections[name] = (start, size, checksum)
        start += size
    if start != len(data):
        raise CatalogError(f"{where} is truncated or has been appended to; {_REMEDY}")
    if not builds:
        raise CatalogError(f"{where} holds no release; {_REMEDY}")
    return Container(builds, sections, data, where)


def lines(tables: Mapping[str, object], modules: Iterable[tuple[str, object]]) -> bytes:
    """A section that is JSON with a line for each module, so that one can be read without the others."""
    body = b",\n".join(_compact(module) + b":" + _compact(value) for module, value in modules)
    return _compact(tables)[:-1] + _MODULES + body + b"\n}}\n"


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def tables_of(section: bytes) -> Any:
    """The tables at the head of a section of lines."""
    return json.loads(section[: section.index(_MODULES)] + b"}")


def lines_of(section: bytes) -> dict[str, bytes]:
    """The lines of a section, by module and not parsed: few are asked for, or all of them one by one."""
    found = {}
    for line in section[section.index(_MODULES) + len(_MODULES) :].split(b"\n"):
        if line.startswith(b'"'):
            end = line.index(b'"', 1)
            found[line[1:end].decode("ascii", "replace")] = line[end + 2 :].removesuffix(b",")
    return found
