"""What `status()` returns, and the page that it prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ._patching.layer import Layer
from ._report.page import Item, Page, Section, counted, page_text, some
from ._rules.rooms import changes_by_part
from ._rules.shim import Shim

__all__ = ["Adapted", "Status", "make_status", "page"]


@dataclass(frozen=True, slots=True)
class Adapted:
    """One target that is adapted or restored.

    ``foreign_calls`` counts eager calls in other than the native form, by form. Native calls and calls in
    compiled graphs are not counted.
    """

    target: str
    how: str
    foreign_calls: dict[str, int]


@dataclass(frozen=True, slots=True)
class Status:
    """The state of rope_compat in this process.

    ``notes`` tells of restored names whose use has no effect on the installed release, ``loaded`` of the
    models that were loaded last: each with the buffers that the loader had lost and that were put back.
    ``changes`` counts what is in another's place or was set, by the part of `patch` that it belongs to.
    """

    active: bool
    patches: int
    adapted: tuple[Adapted, ...]
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    loaded: tuple[tuple[str, tuple[str, ...]], ...] = ()
    changes: tuple[tuple[str, int], ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The status as JSON-ready data."""
        document = asdict(self)
        del document["changes"]
        return document

    def __str__(self) -> str:
        return page_text(page(self))


def page(status: Status) -> Page:
    """What is adapted, what was skipped, and what calls came in foreign forms."""
    if not status.active:
        return Page("rope_compat is off: nothing is patched.", ())
    called = [
        Item(f"{item.target}: {', '.join(f'{n} {form}' for form, n in sorted(item.foreign_calls.items()))}")
        for item in status.adapted
        if item.foreign_calls
    ]
    loaded = (Item(f"{model}: {some(buffers, 3)}", "good") for model, buffers in status.loaded)
    return Page(
        f"rope_compat is on: {counted(len(status.adapted), 'target')} adapted by "
        f"{counted(status.patches, 'patch() call')}.",
        (
            Section("Calls in foreign forms:", tuple(called)),
            Section("Buffers put back after loading:", tuple(loaded)),
            Section("Changes, by part:", tuple(Item(f"{part}: {n}") for part, n in status.changes)),
            Section("Left alone:", tuple(Item(f"{target}: {why}", "warn") for target, why in status.skipped)),
            Section("Without effect:", tuple(map(Item, status.notes))),
        ),
    )


def make_status(layers: Sequence[Layer], replacements: Sequence[object], shims: Sequence[Shim]) -> Status:
    """Put together what the layers know and what the adapters have counted."""
    counts: dict[str, dict[str, int]] = {}
    for replacement in replacements:
        info = getattr(replacement, "__rope_compat__", None)
        if info is not None and info.counts:
            counts.setdefault(info.context.target, {}).update(info.counts)
    applied = {target: how for layer in layers for target, how in layer.applied.items()}
    skipped = {target: skip.reason for layer in layers for target, skip in layer.skipped.items()}
    by_name = {shim.name: shim for shim in shims}
    restored = {how.partition(":")[0] for how in applied.values()}
    notes = [shim.note for name, shim in by_name.items() if shim.note and name in restored]
    return Status(
        active=bool(layers),
        patches=len(layers),
        adapted=tuple(
            Adapted(target, how, counts.get(target, {})) for target, how in sorted(_gathered(applied).items())
        ),
        skipped=tuple(sorted(skipped.items())),
        notes=tuple(notes),
        loaded=_loaded(),
        changes=changes_by_part(entry.rule for layer in layers for entry in layer.journal),
    )


def _gathered(applied: dict[str, str]) -> dict[str, str]:
    """The same, with one line for all modules that only answer for names that they have lost."""
    answering = {target: how for target, how in applied.items() if target.endswith(":__getattr__")}
    if not answering:
        return applied
    others = {target: how for target, how in applied.items() if target not in answering}
    one = next(iter(answering.values()))
    return others | {"transformers.*:__getattr__": f"{one}, in {len(answering)} modules"}


def _loaded() -> tuple[tuple[str, tuple[str, ...]], ...]:
    # Not imported here: where nothing was loaded, torch may not be there.
    around_loader = sys.modules.get(f"{__package__}._adapters.loading.around_loader")
    return tuple(map(tuple, around_loader.LOADED)) if around_loader is not None else ()
