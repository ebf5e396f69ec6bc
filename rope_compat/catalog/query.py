"""Questions to the catalog in use. `rope_compat.catalog` exports all of them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from rope_compat.catalog.model import DEFAULT_KINDS, Caller, Generation, NameSpan, Span, Target
from rope_compat.catalog.store import catalog

if TYPE_CHECKING:
    from packaging.version import Version

__all__ = [
    "builds",
    "callers",
    "functions",
    "generations",
    "name_spans",
    "names_in",
    "nearest_releases",
    "newest_known",
    "newest_supported",
    "oldest_supported",
    "release_for",
    "releases",
    "removed_in",
    "signature_at",
    "spans",
    "targets",
]

OLDEST_SUPPORTED = "4.36.0"
#: The newest release that the tests have run with. `rope-compat catalog update` may know newer ones.
NEWEST_SUPPORTED = "5.24.0"


def releases() -> tuple[str, ...]:
    """Every release that the catalog knows, oldest first. Withdrawn releases (4.46.0, 5.10.0) are not among
    them, nor are development builds.
    """
    return catalog().releases


def builds() -> tuple[str, ...]:
    """Every release and every development build that has been added by ``rope-compat catalog update``."""
    return catalog().builds


def oldest_supported() -> str:
    """The oldest release that `rope_compat.patch` supports."""
    return OLDEST_SUPPORTED


def newest_supported() -> str:
    """The newest release that this version of rope_compat has been tested with."""
    return NEWEST_SUPPORTED


def newest_known() -> str:
    """The newest release that the catalog knows."""
    return releases()[-1]


def targets(pattern: str = "*", *, kinds: Iterable[str] = DEFAULT_KINDS) -> tuple[Target, ...]:
    """Every target that some build has and that fits a pattern, sorted.

    A pattern may be ``module:qualname``, a qualified name, or the last part of one (``forward``,
    ``apply_rotary_pos_emb``), each with ``*`` and ``?``; or a module.
    """
    wanted = frozenset(kinds)
    return tuple(
        sorted(target for target, kind in catalog().targets() if kind in wanted and fits(target, pattern))
    )


def names_in(module: str, *, kinds: Iterable[str] = DEFAULT_KINDS) -> tuple[str, ...]:
    """The qualified names of the targets that some build of one module has; cheap, unlike `targets`."""
    wanted = frozenset(kinds)
    return tuple(name for name, kind in catalog().kinds(module) if kind in wanted)


def fits(target: Target, pattern: str) -> bool:
    """Whether a target fits a pattern, see `targets`."""
    if pattern == "*":
        return True
    if ":" in pattern:
        return fnmatchcase(str(target), pattern)
    return (
        fnmatchcase(target.name, pattern)
        or fnmatchcase(target.name.rpartition(".")[2], pattern)
        or fnmatchcase(target.module, pattern)
    )


def functions(names: Iterable[str]) -> tuple[Target, ...]:
    """Every function of one of these names that some build defines at the top level of a module, sorted."""
    wanted = frozenset(names)
    return tuple(
        sorted(target for target, kind in catalog().targets() if target.name in wanted and kind == "function")
    )


def generations(module: str, name: str) -> tuple[Generation, ...]:
    """What a target has been, oldest first; empty when no build has it."""
    return catalog().generations(module, name)


def spans(module: str, name: str) -> tuple[Span, ...]:
    """The signatures that a target has had, oldest first; empty when no build defines it.

    Re-exports are not definitions and have none.
    """
    order = catalog().order
    found: list[Span] = []
    for each in generations(module, name):
        if each.kind == "reexport":
            continue
        last = found[-1] if found else None
        if (
            last is not None
            and last.signature == each.signature
            and order[each.first] == order[last.last] + 1
        ):
            found[-1] = Span(last.first, each.last, each.signature)
        else:
            found.append(Span(each.first, each.last, each.signature))
    return tuple(found)


def signature_at(module: str, name: str, release: str) -> str | None:
    """The signature that a target had in a release; None when it did not exist there.

    ``release`` may be written in any way that PEP 440 takes for the same (``4.37``). None also for what is
    not a known release, as a development build; `release_for` gives the one that stands for it.
    """
    place = _place(release)
    if place is None:
        return None
    order = catalog().order
    return next(
        (span.signature for span in spans(module, name) if order[span.first] <= place <= order[span.last]),
        None,
    )


def removed_in(module: str, name: str) -> str | None:
    """The first release without a target that earlier ones defined; None if the newest has it or none ever
    did.
    """
    known = spans(module, name)
    return _release_after(known[-1].last) if known else None


def name_spans(module: str, name: str) -> tuple[NameSpan, ...]:
    """In which releases ``from module import name`` works; any name of any module, not only RoPE's.

    Empty when it never did. An empty name asks for the module itself.
    """
    return catalog().name_spans(module, name)


def callers(module: str, name: str, release: str) -> tuple[Caller, ...]:
    """How transformers' own code uses a target in a release, by module. Raises `ValueError` for another
    release.
    """
    place = _place(release)
    if place is None:
        raise ValueError(f"{release!r} is not a release that the catalog knows")
    return catalog().callers(Target(module, name), catalog().builds[place])


def release_for(version: str) -> str:
    """The known release that stands for a version: itself where it is known (``4.37`` is 4.37.0).

    For any other, the first known release from its number on, or the newest: 4.49.0 for 4.49.0.dev0 and
    4.49.0rc1, and 4.46.1 for the withdrawn 4.46.0. Raises `packaging.version.InvalidVersion` (a
    `ValueError`).
    """
    if version in catalog().releases:
        return version
    from packaging.version import Version

    base = Version(Version(version).base_version)
    return next((release for release, known in _versions() if known >= base), newest_known())


def nearest_releases(
    module: str, name: str, signature: str, near: str, *, count: int = 2
) -> tuple[Span, ...]:
    """The spans in which a target had a signature, the nearest to the release ``near`` first.

    For development builds: what a live function takes tells which releases it is like. ``signature`` as
    `rope_compat.catalog.normalize` writes it; ``near`` is a known release, see `release_for`.
    """
    order = catalog().order
    here = order[near]

    def distance(span: Span) -> int:
        return max(order[span.first] - here, here - order[span.last], 0)

    return tuple(
        sorted((each for each in spans(module, name) if each.signature == signature), key=distance)[:count]
    )


def _release_after(build: str) -> str | None:
    """The first release after a build."""
    known = catalog()
    return next((each for each in known.releases if known.order[each] > known.order[build]), None)


def _place(release: str) -> int | None:
    order = catalog().order
    if release in order:
        return order[release]
    from packaging.version import InvalidVersion, Version

    try:
        wanted = Version(release)
    except InvalidVersion:
        return None
    return next((order[known] for known, version in _versions() if version == wanted), None)


@functools.lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, Version], ...]:
    from packaging.version import Version

    return tuple((release, Version(release)) for release in releases())
