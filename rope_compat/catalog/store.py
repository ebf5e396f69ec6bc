"""The shipped facts about each release: which rotary functions it has, with which signatures.

The facts come from the source of the releases (see `rope_compat.catalog.harvest`), not from running them.
They explain, predict and warn; what a live function takes is asked of the function itself.
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rope_compat.errors import RopeCompatError

if TYPE_CHECKING:
    from packaging.version import Version

__all__ = [
    "Catalog",
    "CatalogError",
    "Span",
    "catalog",
    "newest_known",
    "oldest_supported",
    "parse",
    "release_for",
    "releases",
    "removed_in",
    "signature_at",
    "spans",
    "targets",
]

FORMAT = 1
DATA_FILE = "functions.json"
OLDEST_SUPPORTED = "4.36.0"


class CatalogError(RopeCompatError, ValueError):
    """The shipped catalog data cannot be read."""


class Span(NamedTuple):
    """Consecutive releases, both ends included, in which a function had one signature."""

    first: str
    last: str
    signature: str


@dataclass(frozen=True)
class Catalog:
    """The facts, as read from one data file: all releases, oldest first, and the spans of each target."""

    releases: tuple[str, ...]
    functions: dict[tuple[str, str], tuple[Span, ...]]


def parse(text: str) -> Catalog:
    """The catalog in the JSON ``text``; raises `CatalogError` naming what is wrong with it."""
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise CatalogError(
                f"catalog data has format {document['format']!r}, expected {FORMAT}; {_REINSTALL}"
            )
        names = tuple(map(str, document["releases"]))
        signatures = tuple(map(str, document["signatures"]))
        functions = {
            (module, name): tuple(Span(names[a], names[b], signatures[c]) for a, b, c in spans)
            for module, by_name in document["functions"].items()
            for name, spans in by_name.items()
        }
    except CatalogError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise CatalogError(
            f"catalog data is damaged ({type(error).__name__}: {error}); {_REINSTALL}"
        ) from error
    if not names:
        raise CatalogError(f"catalog data names no release; {_REINSTALL}")
    return Catalog(names, functions)


_REINSTALL = "install rope_compat again (pip install --force-reinstall --no-deps rope_compat)"


@functools.lru_cache(maxsize=1)
def catalog() -> Catalog:
    """The shipped catalog, read at the first call. Raises `CatalogError` when the file is missing or
    damaged.
    """
    # The loader reads from a zip file as well, and importlib.resources takes long to import.
    file = os.path.join(os.path.dirname(__file__), "data", DATA_FILE)
    try:
        text = __spec__.loader.get_data(file).decode("utf-8")  # type: ignore[union-attr]
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"catalog data {DATA_FILE} cannot be read ({error}); {_REINSTALL}") from error
    return parse(text)


def releases() -> tuple[str, ...]:
    """Every release that the catalog knows, oldest first. Withdrawn releases (4.46.0, 5.10.0) are not among
    them.
    """
    return catalog().releases


def oldest_supported() -> str:
    """The oldest release that `rope_compat.patch` supports."""
    return OLDEST_SUPPORTED


def newest_known() -> str:
    """The newest release that the catalog knows."""
    return releases()[-1]


def targets() -> tuple[tuple[str, str], ...]:
    """Every (module, function name) that some release defines, sorted."""
    return tuple(sorted(catalog().functions))


def spans(module: str, name: str) -> tuple[Span, ...]:
    """The signatures that a function has had, oldest first; empty when no known release defines it."""
    return catalog().functions.get((module, name), ())


def release_for(version: str) -> str:
    """The known release that stands for a version: itself where it is known (``4.37`` is 4.37.0).

    For any other, the first known release from its number on, or the newest: 4.49.0 for 4.49.0.dev0 and
    4.49.0rc1, and 4.46.1 for the withdrawn 4.46.0. Raises `packaging.version.InvalidVersion` (a
    `ValueError`).
    """
    if version in _order():
        return version
    from packaging.version import Version

    base = Version(Version(version).base_version)
    return next((release for release, known in _versions() if known >= base), newest_known())


def signature_at(module: str, name: str, release: str) -> str | None:
    """The signature that a function had in a release; None when it did not exist there.

    ``release`` may be written in any way that PEP 440 takes for the same (``4.37``). None also for what is
    not a known release, as a development build; `release_for` gives the one that stands for it.
    """
    order = _order()
    index = order.get(release)
    if index is None:
        wanted = _parse_version(release)
        index = next((order[known] for known, version in _versions() if version == wanted), None)
    if index is None:
        return None
    for span in spans(module, name):
        if order[span.first] <= index <= order[span.last]:
            return span.signature
    return None


def removed_in(module: str, name: str) -> str | None:
    """The first release without a function that earlier ones defined; None if the newest has it or none ever
    did.
    """
    known = spans(module, name)
    if not known or known[-1].last == newest_known():
        return None
    return releases()[_order()[known[-1].last] + 1]


@functools.lru_cache(maxsize=1)
def _order() -> dict[str, int]:
    return {release: index for index, release in enumerate(releases())}


@functools.lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, Version], ...]:
    from packaging.version import Version

    return tuple((release, Version(release)) for release in releases())


def _parse_version(text: str) -> Version | None:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text)
    except InvalidVersion:
        return None
