"""Questions to the catalog in use. `rope_compat.catalog` exports all of them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from rope_compat._facts.releases import NEWEST_SUPPORTED, OLDEST_SUPPORTED
from rope_compat.catalog.model import (
    DEFAULT_KINDS,
    Caller,
    Generation,
    NameSpan,
    Run,
    Span,
    Target,
    extend,
)
from rope_compat.catalog.store import catalog

if TYPE_CHECKING:
    from packaging.version import Version

__all__ = [
    "builds",
    "callers",
    "explain",
    "fits",
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

#: A name that has gone is looked for elsewhere; in more modules than these it may be anything.
_FEW = 3


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


def fits(target: Target, pattern: str) -> bool:
    """Whether a target fits a pattern, see `targets`."""
    if pattern == "*":
        return True
    texts = (target.name, target.name.rpartition(".")[2], target.module)
    return any(fnmatchcase(text, pattern) for text in ([str(target)] if ":" in pattern else texts))


def names_in(module: str, *, kinds: Iterable[str] = DEFAULT_KINDS) -> tuple[str, ...]:
    """The qualified names of the targets that some build of one module has; cheap, unlike `targets`."""
    wanted = frozenset(kinds)
    return tuple(name for name, kind in catalog().kinds(module) if kind in wanted)


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
    known = catalog()
    found: list[Run] = []
    for each in generations(module, name):
        if each.kind != "reexport":
            extend(found, known.order[each.first], known.order[each.last], each.signature)
    return tuple(Span(known.builds[run.first], known.builds[run.last], run.value) for run in found)


def signature_at(module: str, name: str, release: str) -> str | None:
    """The signature that a target had in a release; None when it did not exist there.

    ``release`` may be written in any way that PEP 440 takes for the same (``4.37``). None also for what is
    not a known release, as a development build; `release_for` gives the one that stands for it.
    """
    place = _place(release)
    found = _at(spans(module, name), place) if place is not None else None
    return found.signature if isinstance(found, Span) else None


def removed_in(module: str, name: str) -> str | None:
    """The first release without a target that earlier ones defined; None if the newest has it or none ever
    did.
    """
    spanned = spans(module, name)
    if not spanned:
        return None
    order = catalog().order
    return next((each for each in releases() if order[each] > order[spanned[-1].last]), None)


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
    return catalog().callers(Target(module, name), builds()[place])


def release_for(version: str) -> str:
    """The known release that stands for a version: itself where it is known (``4.37`` is 4.37.0).

    For any other, the first known release from its number on, or the newest: 4.49.0 for 4.49.0.dev0 and
    4.49.0rc1, and 4.46.1 for the withdrawn 4.46.0. Raises `packaging.version.InvalidVersion` (a
    `ValueError`).
    """
    if version in releases():
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


def explain(module: str, name: str, version: str | None = None) -> str:
    """What the catalog knows of ``from module import name``, seen from a version (by default the newest
    release).

    >>> explain("transformers.models.llama.modeling_llama", "LlamaFlashAttention2")
    'removed in 4.48.0 (was there from 4.34.0 to 4.47.1)'

    Any name of any module of transformers may be asked for, not only RoPE's. Empty when nothing is known of
    it. Raises `packaging.version.InvalidVersion` when `version` is none.
    """
    here = release_for(version) if version is not None else newest_known()
    found: Sequence[Span | NameSpan] = spans(module, name) or name_spans(module, name)
    if not found:
        return ""
    order = catalog().order
    place, last_known = order[here], order[newest_known()]
    runs: list[Run] = []
    for each in found:
        extend(runs, order[each.first], order[each.last], None)
    text = ", ".join(_in_words(run, last_known) for run in runs)
    now = _at(found, place)
    if now is not None:
        condition = now.condition if isinstance(now, NameSpan) else ""
        return f"there {text}, only if {condition}" if condition else f"there {text}"
    if place < runs[0].first:
        return f"added in {builds()[runs[0].first]}"
    gone = max(run.last for run in runs if run.last < place)
    return f"removed in {builds()[gone + 1]} (was there {text}){_elsewhere(module, name, place)}"


def _in_words(run: Run, last_known: int) -> str:
    first, last = builds()[run.first], builds()[run.last]
    if run.first == run.last:
        return f"in {first}"
    return f"since {first}" if run.last == last_known else f"from {first} to {last}"


def _elsewhere(module: str, name: str, place: int) -> str:
    """Other modules that define the name in a build, if they are few: it has moved, perhaps."""
    found = []
    for other in catalog().modules_with(name) if "." not in name else ():
        here = _at(name_spans(other, name), place) if other != module else None
        if isinstance(here, NameSpan) and here.kind in {"function", "class"}:
            found.append(other)
    # Importing it from the shortest path is what transformers documents.
    found.sort(key=lambda other: (other.count("."), other))
    return f"; {name} is in {found[0]}" if found and len(found) <= _FEW else ""


def _at(found: Sequence[Span | NameSpan], place: int) -> Span | NameSpan | None:
    """The span that takes in a build."""
    order = catalog().order
    return next((each for each in found if order[each.first] <= place <= order[each.last]), None)


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
