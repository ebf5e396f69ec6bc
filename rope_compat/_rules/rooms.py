"""The rules of one `patch()`, from all rooms, and which argument of it leaves which of them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType

from .._patching.edits import Rule
from . import (
    attention,
    config_fields,
    config_files,
    gone_classes,
    init_functions,
    kernelized,
    llms_from_scratch,
    loading,
    other_numbers,
    other_patches,
    remote_code,
    removed_names,
    rotary_classes,
    transformers,
    x_transformers,
)
from .options import SWITCHES, Options
from .selection import Selection
from .shim import Shim

__all__ = ["SHIMS", "changes_by_part", "rules", "shims"]

#: By the argument of `patch` that turns them on or off; those of "" are always there.
_ROOMS: dict[str, tuple[ModuleType, ...]] = {
    "": (
        transformers,
        rotary_classes,
        gone_classes,
        attention,
        remote_code,
        other_patches,
        kernelized,
        llms_from_scratch,
        x_transformers,
    ),
    "names": (removed_names,),
    "config": (config_files, config_fields, init_functions),
    "load": (loading,),
    "numbers": (other_numbers,),
}

SHIMS: tuple[Shim, ...] = tuple(shim for rooms in _ROOMS.values() for room in rooms for shim in room.SHIMS)

_PARTS = {
    "": "functions, classes and attention",
    "names": "names beside RoPE (names=)",
    "config": "configs and init functions (config=)",
    "load": "loading (load=)",
    "numbers": "numbers of another release (numbers=)",
}


def rules(
    options: Options, adapt: Callable[[ModuleType], None], recheck: other_patches.Recheck
) -> list[Rule]:
    """The rules for what the options leave; `adapt` and `recheck` process modules that come later."""
    chosen = {shim.name for shim in shims(options)}
    found: list[Rule] = [
        # First, as the first edit of a place is the one that counts.
        *(rule for rule in other_numbers.rules(options) if rule.name in chosen),
        *transformers.rules(options),
        *rotary_classes.rules(options),
        *gone_classes.rules(options),
        *attention.rules(options),
        *remote_code.rules(options, adapt),
        *other_patches.rules(options, recheck),
        *kernelized.rules(options),
        *llms_from_scratch.rules(options),
        *x_transformers.rules(options),
    ]
    for room in (*_ROOMS["names"], *_ROOMS["config"], *_ROOMS["load"]):
        found += [rule for rule in room.rules(options) if rule.name in chosen]
    return found


def shims(options: Options) -> tuple[Shim, ...]:
    """The shims that the options leave; of those for configs and loading, the ones that were asked for."""
    wanted = {"": True, "numbers": options.numbers == "written_for"}
    wanted |= {name: getattr(options, name) for name in SWITCHES}
    numbers = other_numbers.chosen(options)
    return tuple(
        shim
        for argument, rooms in _ROOMS.items()
        for room in rooms
        for shim in (numbers if argument == "numbers" else room.SHIMS)
        if wanted[argument] and (not argument or _is_selected(shim, options.selection))
    )


def _is_selected(shim: Shim, selection: Selection) -> bool:
    return any(selection.selects(*target.split(":", 1)) for target in shim.targets)


def changes_by_part(names: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """How many of the changes, by the names of their rules, each part of `patch` makes."""
    parts = {
        shim.name: _PARTS[part] for part, rooms in _ROOMS.items() for room in rooms for shim in room.SHIMS
    }
    counts = dict.fromkeys((*_PARTS.values(), _HELD_ELSEWHERE), 0)
    for name in names:
        counts[parts.get(name, _HELD_ELSEWHERE)] += 1
    return tuple((part, count) for part, count in counts.items() if count)


#: What the engine moves for the functions, in other modules and classes.
_HELD_ELSEWHERE = "references to functions that others hold"
