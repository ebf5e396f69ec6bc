"""Installed metadata: the ``*.dist-info`` and ``*.egg-info`` directories of one package.

Only the few lines that matter are read, by pattern: parsing whole METADATA files as e-mail messages takes
longer than all the rest of `detect`.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from importlib import metadata
from urllib.parse import urlsplit, urlunsplit

from rope_compat._environment.model import DirectUrl

__all__ = ["InstalledMetadata", "direct_url", "find"]

_VERSION = re.compile(r"^Version:[ \t]*(\S+)", re.MULTILINE | re.IGNORECASE)
_REQUIRES_PYTHON = re.compile(r"^Requires-Python:[ \t]*(\S.*?)\s*$", re.MULTILINE | re.IGNORECASE)
# Both ways of writing that transformers' wheels have used: "torch>=2.2; extra == ..." and "torch
# (!=1.12.0,>=1.10) ; ...".
_REQUIRES_DIST = re.compile(
    r"^Requires-Dist:[ \t]*(torch|accelerate|kernels)[ \t]*\(?((?:[<>=!~][^;)\n]*)?)\)?[ \t]*(?:;.*)?$",
    re.MULTILINE | re.IGNORECASE,
)


@dataclass(frozen=True)
class InstalledMetadata:
    """One metadata directory that names a version."""

    version: str
    root: str
    """The directory in which the metadata directory lies, symbolic links resolved."""
    wants: dict[str, str]
    direct_url: DirectUrl | None

    def describes(self, location: str) -> bool:
        """Whether the package at ``location`` is the one that was installed with this metadata."""
        parent = os.path.dirname(os.path.realpath(location))
        if parent == self.root:
            return True
        if self.direct_url is None or self.direct_url.directory is None or not self.direct_url.editable:
            return False
        checkout = os.path.realpath(self.direct_url.directory)
        return parent == checkout or parent.startswith(checkout + os.sep)


def find(name: str) -> list[InstalledMetadata]:
    """All metadata of the distribution ``name``, in the order of ``sys.path``; those without a version are
    left out.
    """
    found: list[InstalledMetadata] = []
    for distribution in metadata.distributions(name=name):
        head = _head(distribution)
        version = _VERSION.search(head)
        if version is None:
            continue  # what an interrupted pip leaves behind
        entry = InstalledMetadata(
            version=version[1],
            root=os.path.realpath(str(distribution.locate_file(""))),
            wants=_wants(head),
            direct_url=direct_url(_read(distribution, "direct_url.json")),
        )
        if entry not in found:  # the same directory may be on sys.path twice
            found.append(entry)
    return found


def _read(distribution: metadata.Distribution, name: str) -> str | None:
    try:
        return distribution.read_text(name)
    except (OSError, UnicodeDecodeError):
        return None


def _head(distribution: metadata.Distribution) -> str:
    text = _read(distribution, "METADATA") or _read(distribution, "PKG-INFO") or ""
    return text.replace("\r\n", "\n").partition("\n\n")[0]


def _wants(head: str) -> dict[str, str]:
    wants: dict[str, set[str]] = {}
    for name, specifier in _REQUIRES_DIST.findall(head):
        wants.setdefault(name.lower(), set()).update(
            part.strip() for part in specifier.split(",") if part.strip()
        )
    python = _REQUIRES_PYTHON.search(head)
    if python is not None:
        wants["python"] = {part.strip() for part in python[1].split(",")}
    return {name: ",".join(sorted(parts)) for name, parts in sorted(wants.items()) if parts}


def direct_url(text: str | None) -> DirectUrl | None:
    """The record in the text of a ``direct_url.json`` (PEP 610); None when there is none or it cannot be
    read.
    """
    try:
        record = json.loads(text) if text else None
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("url"), str):
        return None
    vcs, directory = _table(record, "vcs_info"), _table(record, "dir_info")
    url = record["url"]
    return DirectUrl(
        url=_without_credentials(url),
        vcs=_string(vcs, "vcs"),
        commit=_string(vcs, "commit_id"),
        requested_revision=_string(vcs, "requested_revision"),
        editable=directory.get("editable") is True,
        directory=_local_path(url) if "dir_info" in record else None,
        subdirectory=_string(record, "subdirectory"),
    )


def _table(record: dict[str, object], key: str) -> dict[str, object]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _string(record: dict[str, object], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) else None


def _local_path(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme != "file":
        return None
    # Here, as it brings in http, ssl and more, for the few who have such an installation.
    from urllib.request import url2pathname

    return url2pathname(parts.path)


def _without_credentials(url: str) -> str:
    # PEP 610 asks installers to strip them; not all do, and this URL ends up in pasted reports.
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(unreadable URL)"
    # A user name alone is kept ("ssh://git@..."): with https it may itself be a token.
    user, _, host = parts.netloc.rpartition("@")
    if parts.scheme in ("ssh", "git+ssh") and user and ":" not in user:
        host = parts.netloc
    return urlunsplit(parts._replace(netloc=host))
