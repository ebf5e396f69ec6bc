"""The page of `rope_compat.status`."""

from __future__ import annotations

from rope_compat._report.page import Item, Page, Section
from rope_compat._report.words import counted
from rope_compat._status import Status

__all__ = ["page"]


def page(status: Status) -> Page:
    """What is adapted, what was skipped, and what calls came in foreign forms."""
    if not status.active:
        return Page("rope_compat is off: nothing is patched.", ())
    called = [
        Item(f"{item.target}: {', '.join(f'{n} {form}' for form, n in sorted(item.foreign_calls.items()))}")
        for item in status.adapted
        if item.foreign_calls
    ]
    return Page(
        f"rope_compat is on: {counted(len(status.adapted), 'target')} adapted by "
        f"{counted(status.patches, 'patch() call')}.",
        (
            Section("Changes, by part:", tuple(Item(f"{part}: {n}") for part, n in status.changes)),
            Section("Calls in foreign forms:", tuple(called)),
            Section("Buffers put back after loading:", tuple(map(_loaded, status.loaded))),
            Section("Left alone:", tuple(Item(f"{target}: {why}", "warn") for target, why in status.skipped)),
            Section("Without effect:", tuple(map(Item, status.notes))),
        ),
    )


def _loaded(entry: tuple[str, tuple[str, ...]]) -> Item:
    model, buffers = entry
    shown = ", ".join(buffers[:3]) + (f" and {len(buffers) - 3} more" if len(buffers) > 3 else "")
    return Item(f"{model}: {shown}", "good")
