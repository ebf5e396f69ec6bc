"""The file: a line of JSON that says what follows, then the sections, one after the other.

One file, so that replacing it replaces everything at once: whoever reads it sees the old data or the new.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from rope_compat.errors import RopeCompatError

__all__ = ["FORMAT", "CatalogError", "Container", "pack", "unpack"]

FORMAT = 2
_KIND = "rope_compat catalog"
_LONGEST_HEADER = 1 << 20


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
            raise CatalogError(f"{self.where} has no section {name!r}; {_remedy()}") from None
        content = self.data[start : start + length]
        if len(content) != length or zlib.crc32(content) != checksum:
            raise CatalogError(f"{self.where} is damaged or truncated (section {name!r}); {_remedy()}")
        return content


def pack(builds: list[str], sections: Mapping[str, bytes]) -> bytes:
    """The file's bytes; equal for equal arguments."""
    header = {
        "kind": _KIND,
        "format": FORMAT,
        "builds": builds,
        "sections": {name: [len(content), zlib.crc32(content)] for name, content in sections.items()},
    }
    line = json.dumps(header, ensure_ascii=True, separators=(",", ":"))
    return b"".join([line.encode("ascii"), b"\n", *sections.values()])


def unpack(data: bytes, where: str) -> Container:
    """Open a file's bytes; ``where`` names it in errors.

    Raises:
        CatalogError: it is no catalog, of another format, or damaged.
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
            f"{where} is not a catalog of rope_compat, or its start is damaged; {_remedy()}"
        ) from error
    if found != FORMAT:
        newer = isinstance(found, int) and found > FORMAT
        remedy = (
            "pip install --upgrade rope_compat"
            if newer
            else "rope-compat catalog update --rebuild makes it anew"
        )
        raise CatalogError(f"{where} has format {found!r}; this rope_compat reads format {FORMAT}; {remedy}")
    sections: dict[str, tuple[int, int, int]] = {}
    start = end + 1
    for name, size, checksum in sizes:
        sections[name] = (start, size, checksum)
        start += size
    if start != len(data):
        raise CatalogError(f"{where} is truncated or has been appended to; {_remedy()}")
    if not builds:
        raise CatalogError(f"{where} holds no release; {_remedy()}")
    return Container(builds, sections, data, where)


def _remedy() -> str:
    return "install rope_compat again (pip install --force-reinstall --no-deps rope_compat)"
