"""Reading version strings (PEP 440, through `packaging.version`)."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version

from rope_compat._environment.model import Kind

__all__ = ["kind_of", "parse_version", "same_version"]


def parse_version(text: str) -> Version | None:
    """The version, or None when ``text`` is not a PEP 440 version."""
    try:
        return Version(text)
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
    if version.is_devrelease:
        return "development"
    return "pre-release" if version.is_prerelease else "release"


def same_version(one: str, other: str) -> bool:
    """Whether two strings name one version; a local label (``+cu126``, ``+gabc123``) on either does not
    count.
    """
    first, second = parse_version(one), parse_version(other)
    if first is None or second is None:
        return one == other
    return Version(first.public) == Version(second.public)
