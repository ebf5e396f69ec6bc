"""One sentence about a name: since when it is there, or when it went, and where it is now."""

from __future__ import annotations

from collections.abc import Sequence

from rope_compat.catalog.model import NameSpan, Span
from rope_compat.catalog.query import name_spans, newest_known, release_for, spans
from rope_compat.catalog.store import catalog

__all__ = ["explain"]

_OTHERS = 3


def explain(module: str, name: str, version: str | None = None) -> str:
    """What the catalog knows of ``from module import name``, seen from a version (by default the newest
    release).

    >>> explain("transformers.models.llama.modeling_llama", "LlamaFlashAttention2")
    'removed in 4.48.0 (was there from 4.34.0 to 4.47.1)'

    Any name of any module of transformers may be asked for, not only RoPE's. Empty when nothing is known of
    it. Raises `packaging.version.InvalidVersion` when `version` is none.
    """
    here = release_for(version) if version is not None else newest_known()
    known: Sequence[Span | NameSpan] = spans(module, name) or name_spans(module, name)
    if not known:
        return ""
    order = catalog().order
    place = order[here]
    ranges = _joined(known)
    text = ", ".join(_range(first, last) for first, last in ranges)
    if any(order[first] <= place <= order[last] for first, last in ranges):
        return _while_there(known, here, text)
    if place < order[ranges[0][0]]:
        return f"added in {ranges[0][0]}"
    gone = max((last for _, last in ranges if order[last] < place), key=order.__getitem__)
    return f"removed in {_after(gone)} (was there {text}){_elsewhere(module, name, here)}"


def _while_there(known: Sequence[Span | NameSpan], here: str, text: str) -> str:
    order = catalog().order
    now = next(each for each in known if order[each.first] <= order[here] <= order[each.last])
    if isinstance(now, NameSpan) and now.condition:
        return f"there {text}, only if {now.condition}"
    return f"there {text}"


def _joined(known: Sequence[Span | NameSpan]) -> list[tuple[str, str]]:
    order = catalog().order
    ranges: list[tuple[str, str]] = []
    for each in known:
        if ranges and order[ranges[-1][1]] + 1 == order[each.first]:
            ranges[-1] = (ranges[-1][0], each.last)
        else:
            ranges.append((each.first, each.last))
    return ranges


def _range(first: str, last: str) -> str:
    if first == last:
        return f"in {first}"
    return f"since {first}" if last == newest_known() else f"from {first} to {last}"


def _after(build: str) -> str:
    builds = catalog().builds
    return builds[catalog().order[build] + 1]


def _elsewhere(module: str, name: str, here: str) -> str:
    """Other modules that define the name in a release, if they are few: it has moved, perhaps."""
    if "." in name:
        return ""
    order = catalog().order
    found = [
        other
        for other in catalog().modules_with(name)
        if other != module
        and any(
            order[span.first] <= order[here] <= order[span.last] and span.kind in {"function", "class"}
            for span in name_spans(other, name)
        )
    ]
    # Importing it from the shortest path is what transformers documents.
    found.sort(key=lambda other: (other.count("."), other))
    return f"; {name} is in {found[0]}" if found and len(found) <= _OTHERS else ""
