"""One installed package, read from its files: neither it nor any package above it is imported.

Of its metadata the few lines that matter are read by pattern: transformers' METADATA, parsed as the e-mail
message that it is, takes longer than all the rest of `detect`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from packaging.version import InvalidVersion, Version

from rope_compat._environment.model import DirectUrl, Kind, PackageInfo

__all__ = ["direct_url", "kind_of", "parse_version", "read_package", "same_version"]

_FLAGS = re.MULTILINE | re.IGNORECASE
_METADATA_VERSION = re.compile(r"^Version:[ \t]*(\S+)", _FLAGS)
_REQUIRES_PYTHON = re.compile(r"^Requires-(Python):[ \t]*(\S.*?)\s*$", _FLAGS)
# Both ways of writing that transformers' wheels have used: "torch>=2.2; extra == ..." and "torch
# (!=1.12.0,>=1.10) ; ...".
_REQUIRES_DIST = re.compile(
    r"^Requires-Dist:[ \t]*(torch|accelerate|kernels)[ \t]*\(?((?:[<>=!~][^;)\n]*)?)\)?[ \t]*(?:;.*)?$",
    _FLAGS,
)
_VERSION = re.compile(r"""^__version__\s*(?::\s*[\w.]+\s*)?=\s*["']([^"']+)["']""", re.MULTILINE)
_BUILD = re.compile(r"""^(cuda|hip|xpu)\s*(?::\s*[^=\n]+)?=\s*["']([^"']+)["']""", re.MULTILINE)
# version.py first: torch has its version there alone, behind a long __init__.py.
_LITERAL_FILES = ("version.py", "_version.py", "__init__.py")


def read_package(distribution: str, package: str) -> PackageInfo:
    """What is installed of a distribution (``flash-attn``) whose top-level package is ``package``
    (``flash_attn``).

    Found by `importlib.metadata` and `importlib.util.find_spec`; when the package has been imported, what is
    loaded counts, even where ``sys.path`` has changed since.
    """
    code = _find_code(package)
    entries = _find_metadata(distribution)

    def distance(entry: _Metadata) -> tuple[bool, bool]:
        return code.location is not None and not entry.describes(code.location), entry.version != code.version

    # Where several directories claim the name: the one beside the code, of its version, first on sys.path.
    chosen = min(entries, key=distance, default=None)
    version = code.version or (chosen.version if chosen else None)
    return PackageInfo(
        name=distribution,
        present=code.importable,
        version=version,
        kind=kind_of(version) if version is not None else None,
        code_version=code.version,
        metadata_version=chosen.version if chosen else None,
        other_metadata_versions=tuple(entry.version for entry in entries if entry is not chosen),
        metadata_is_elsewhere=bool(chosen and code.location and not chosen.describes(code.location)),
        loaded=code.loaded,
        location=code.location,
        metadata_location=chosen.root if chosen else None,
        direct_url=chosen.direct_url if chosen else None,
        build=_build(code.location) if package == "torch" and code.location else None,
        wants=chosen.wants if chosen and package == "transformers" else {},
    )


# Versions


def parse_version(text: str | None) -> Version | None:
    """The version, or None when ``text`` is not a PEP 440 version."""
    try:
        return Version(text) if text is not None else None
    except InvalidVersion:
        return None


def kind_of(text: str) -> Kind:
    """Whether a version string names a release, a pre-release (5.0.0rc1) or a development build
    (4.49.0.dev0).

    A development build is older than the release whose number it bears, and two builds with the same string
    may hold different code.
    """
    version = parse_version(text)
    if version is None:
        return "unreadable"
    return "development" if version.is_devrelease else "pre-release" if version.is_prerelease else "release"


def same_version(one: str, other: str) -> bool:
    """Whether two strings name one version; a local label (``+cu126``, ``+gabc123``) on either does not
    count.
    """
    first, second = parse_version(one), parse_version(other)
    if first is None or second is None:
        return one == other
    return Version(first.public) == Version(second.public)


# The code


@dataclass(frozen=True)
class _Code:
    """The package that an ``import`` would give, or has given."""

    importable: bool = False
    loaded: bool = False
    location: str | None = None
    version: str | None = None


def _find_code(package: str) -> _Code:
    module = sys.modules.get(package)
    if module is not None:
        # Not getattr: a module that loads lazily (importlib.util.LazyLoader) would be imported by it.
        names: dict[str, Any] = object.__getattribute__(module, "__dict__")
        origin = names.get("__file__") or getattr(names.get("__spec__"), "origin", None)
        location = _location(str(origin)) if origin else None
        # transformers' own lazy module keeps what it was given in `_objects` (utils/import_utils.py).
        objects = names.get("_objects")
        version = names.get("__version__", objects.get("__version__") if isinstance(objects, dict) else None)
        if not isinstance(version, str):
            version = _literal_version(location) if location else None
        return _Code(True, type(module).__module__ != "importlib.util", location, version)
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # ValueError: sys.modules holds a stub without a spec
        spec = None
    if spec is None:
        return _Code()
    if spec.origin is None or not spec.has_location:
        # A namespace package: a directory without __init__.py, as an unfinished uninstall leaves it.
        return _Code(location=next(iter(spec.submodule_search_locations or ()), None))
    location = _location(spec.origin)
    return _Code(importable=True, location=location, version=_literal_version(location))


def _location(origin: str) -> str:
    directory, file = os.path.split(origin)
    return directory if file.partition(".")[0] == "__init__" else origin


def _literal_version(location: str) -> str | None:
    is_package = os.path.isdir(location)
    files = [os.path.join(location, name) for name in _LITERAL_FILES] if is_package else [location]
    return next((match[1] for file in files if (match := _VERSION.search(_text(file)))), None)


def _build(location: str) -> str | None:
    text = _text(os.path.join(location, "version.py"))
    match = _BUILD.search(text)
    if match is not None:
        return f"{match[1]} {match[2]}"
    return "cpu" if _VERSION.search(text) else None


def _text(file: str) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


# Its metadata


@dataclass(frozen=True)
class _Metadata:
    """One metadata directory that names a version; ``root`` is where it lies, symbolic links resolved."""

    version: str
    root: str
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


def _find_metadata(name: str) -> list[_Metadata]:
    """All metadata of a distribution that states a version, in the order of ``sys.path``."""
    found: list[_Metadata] = []
    for distribution in metadata.distributions(name=name):
        text = _read(distribution, "METADATA") or _read(distribution, "PKG-INFO") or ""
        head = text.replace("\r\n", "\n").partition("\n\n")[0]
        version = _METADATA_VERSION.search(head)
        if version is None:
            continue  # what an interrupted pip leaves behind
        root = os.path.realpath(str(distribution.locate_file("")))
        entry = _Metadata(version[1], root, _wants(head), direct_url(_read(distribution, "direct_url.json")))
        if entry not in found:  # the same directory may be on sys.path twice
            found.append(entry)
    return found


def _read(distribution: metadata.Distribution, name: str) -> str | None:
    try:
        return distribution.read_text(name)
    except (OSError, UnicodeDecodeError):
        return None


def _wants(head: str) -> dict[str, str]:
    wants: dict[str, set[str]] = {}
    for name, specifier in (*_REQUIRES_DIST.findall(head), *_REQUIRES_PYTHON.findall(head)[:1]):
        parts = {part.strip() for part in specifier.split(",")} - {""}
        wants.setdefault(name.lower(), set()).update(parts)
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

    def said(table: object, key: str) -> Any:
        return table.get(key) if isinstance(table, dict) else None

    def string(table: object, key: str) -> str | None:
        return value if isinstance(value := said(table, key), str) else None

    vcs, url = record.get("vcs_info"), record["url"]
    return DirectUrl(
        url=_without_credentials(url),
        vcs=string(vcs, "vcs"),
        commit=string(vcs, "commit_id"),
        requested_revision=string(vcs, "requested_revision"),
        editable=said(record.get("dir_info"), "editable") is True,
        directory=_local_path(url) if "dir_info" in record else None,
        subdirectory=string(record, "subdirectory"),
    )


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
