"""One installed package, read from its files: neither it nor any package above it is imported."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from dataclasses import dataclass

from rope_compat._environment.metadata import InstalledMetadata, find
from rope_compat._environment.model import PackageInfo
from rope_compat._environment.versions import kind_of

__all__ = ["read_package"]

_VERSION = re.compile(r"""^__version__\s*(?::\s*[\w.]+\s*)?=\s*["']([^"']+)["']""", re.MULTILINE)
_BUILD = re.compile(r"""^(cuda|hip|xpu)\s*(?::\s*[^=\n]+)?=\s*["']([^"']+)["']""", re.MULTILINE)
# version.py first: torch has its version there alone, behind a long __init__.py.
_LITERAL_FILES = ("version.py", "_version.py", "__init__.py")


@dataclass(frozen=True)
class _Code:
    """The package that an ``import`` would give, or has given."""

    importable: bool = False
    loaded: bool = False
    location: str | None = None
    version: str | None = None


def read_package(distribution: str, package: str) -> PackageInfo:
    """What is installed of a distribution (``flash-attn``) whose top-level package is ``package``
    (``flash_attn``).

    Found by `importlib.metadata` and `importlib.util.find_spec`; when the package has been imported, what is
    loaded counts, even where ``sys.path`` has changed since.
    """
    code = _find_code(package)
    entries = find(distribution)
    chosen = _choose(entries, code)
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


def _choose(entries: list[InstalledMetadata], code: _Code) -> InstalledMetadata | None:
    # Where several directories claim the name: the one beside the code, of the code's version, first on
    # sys.path.
    def distance(entry: InstalledMetadata) -> tuple[bool, bool]:
        elsewhere = code.location is not None and not entry.describes(code.location)
        return (elsewhere, entry.version != code.version)

    return min(entries, key=distance, default=None)


def _find_code(package: str) -> _Code:
    module = sys.modules.get(package)
    if module is not None:
        # Not getattr: a module that loads lazily (importlib.util.LazyLoader) would be imported by it.
        names: dict[str, object] = object.__getattribute__(module, "__dict__")
        origin = names.get("__file__") or getattr(names.get("__spec__"), "origin", None)
        location = _location(str(origin)) if origin else None
        version = _loaded_version(names) or (_literal_version(location) if location else None)
        loaded = type(module).__module__ != "importlib.util"
        return _Code(importable=True, loaded=loaded, location=location, version=version)
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # ValueError: sys.modules holds a stub without a spec
        spec = None
    if spec is None:
        return _Code()
    if spec.origin is None or not spec.has_location:
        # A namespace package: a directory without __init__.py, as an unfinished uninstall leaves it.
        first = next(iter(spec.submodule_search_locations or ()), None)
        return _Code(location=first)
    location = _location(spec.origin)
    return _Code(importable=True, location=location, version=_literal_version(location))


def _loaded_version(names: dict[str, object]) -> str | None:
    version = names.get("__version__")
    if version is None:
        # transformers' own lazy module keeps what it was given in `_objects` (utils/import_utils.py,
        # `_LazyModule`).
        objects = names.get("_objects")
        version = objects.get("__version__") if isinstance(objects, dict) else None
    return str(version) if isinstance(version, str) else None


def _location(origin: str) -> str:
    directory, file = os.path.split(origin)
    return directory if file.partition(".")[0] == "__init__" else origin


def _literal_version(location: str) -> str | None:
    files = (
        [os.path.join(location, name) for name in _LITERAL_FILES] if os.path.isdir(location) else [location]
    )
    for file in files:
        match = _VERSION.search(_text(file))
        if match is not None:
            return match[1]
    return None


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
