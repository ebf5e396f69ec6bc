"""From a history to the bytes of a file, and back. Equal histories give equal bytes on every machine.

The sections ``targets`` and ``uses`` are JSON with a line for each module, so that one module can be looked
up without parsing the rest. ``names`` is far larger, and JSON below bzip2: of the compressors that Python
has, the only one whose output has not changed in decades (zlib has several implementations, xz changes with
its versions).
"""

from __future__ import annotations

import bz2
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rope_compat.catalog.reading.facts import Definition, Use
from rope_compat.catalog.reading.release import Name
from rope_compat.catalog.storage.container import Container, pack
from rope_compat.catalog.storage.history import History, Run, Runs
from rope_compat.catalog.storage.layout import KINDS, MODULES, NAME_KINDS, NO_DETAIL

__all__ = ["decode", "encode"]

_LETTERS = {kind: letter for letter, kind in KINDS.items()}
_NAME_LETTERS = {kind: letter for letter, kind in NAME_KINDS.items()}

Detail = tuple[tuple[str, ...], tuple[str, ...], str]


def encode(history: History) -> bytes:
    """The file for a history."""
    return pack(
        history.builds,
        {
            "targets": _encode_targets(history.targets.runs),
            "uses": _encode_uses(history.uses.runs),
            "names": bz2.compress(_encode_names(history.names.runs), 9),
        },
    )


def decode(container: Container) -> History:
    """The history in a file."""
    return History(
        container.builds,
        _decode_targets(container.section("targets")),
        _decode_uses(container.section("uses")),
        _decode_names(bz2.decompress(container.section("names"))),
    )


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _document(table: Mapping[str, object], lines: Iterable[tuple[str, object]]) -> bytes:
    head = _compact(table)[1:-1]
    body = ",\n".join(f"{_compact(module)}:{_compact(value)}" for module, value in lines)
    return b"{" + head.encode("ascii") + MODULES + body.encode("ascii") + b"\n}}\n"


# Targets: {module: {qualname: [letter, [first, last, signature, body, detail?], ...]}}; signature and detail
# are places in the tables.


def _encode_targets(runs: Runs) -> bytes:
    spans = {module: _spans(each) for module, each in sorted(runs.items())}
    every = [span.value for each in spans.values() for _, found in each for span in found]
    signatures = sorted({definition.signature for definition in every})
    details = sorted({_detail(definition) for definition in every} - {NO_DETAIL})
    place = {text: index for index, text in enumerate(signatures)}
    detail_place = {detail: index for index, detail in enumerate(details)}

    def entry(found: Sequence[Run]) -> Iterator[object]:
        letter = ""
        for first, last, definition in found:
            if definition.kind != letter:
                letter = definition.kind
                yield _LETTERS[letter]
            detail = _detail(definition)
            tail = [] if detail == NO_DETAIL else [detail_place[detail]]
            yield [first, last, place[definition.signature], definition.body, *tail]

    lines = ((module, {name: list(entry(found)) for name, found in each}) for module, each in spans.items())
    return _document({"signatures": signatures, "details": details}, lines)


def _detail(definition: Definition) -> Detail:
    return definition.decorators, definition.bases, definition.condition


def _spans(
    runs: Sequence[Run],
) -> list[tuple[str, list[Run]]]:
    """From runs of a module to runs of each of its names, sorted."""
    found: dict[str, list[Run]] = {}
    for first, last, value in runs:
        for name, definition in value:
            before = found.setdefault(name, [])
            if before and before[-1].last == first - 1 and before[-1].value == definition:
                before[-1] = Run(before[-1].first, last, definition)
            else:
                before.append(Run(first, last, definition))
    return sorted(found.items())


def _definition(letter: str, row: Sequence[Any], table: Mapping[str, Any]) -> Definition:
    """The definition that a row of a target's entry stands for."""
    decorators, bases, condition = table["details"][row[4]] if len(row) > 4 else NO_DETAIL
    return Definition(
        KINDS[letter], table["signatures"][row[2]], row[3], tuple(decorators), tuple(bases), condition
    )


def _decode_targets(section: bytes) -> Runs:
    document = json.loads(section)
    runs: Runs = {}
    for module, names in document["modules"].items():
        rows: list[Run] = []
        for name, entry in names.items():
            letter = ""
            for each in entry:
                if isinstance(each, str):
                    letter = each
                else:
                    rows.append(Run(each[0], each[1], (name, _definition(letter, each, document))))
        runs[module] = _together(rows)
    return runs


def _together(rows: Sequence[Run]) -> list[Run]:
    """From runs of single facts to runs of all facts at a time, each sorted."""
    cuts = sorted({row.first for row in rows} | {row.last + 1 for row in rows})
    joined: list[Run] = []
    for first, after in itertools.pairwise(cuts):
        value = tuple(sorted(row.value for row in rows if row.first <= first <= row.last))
        if value:
            joined.append(Run(first, after - 1, value))
    return joined


# Uses: {module: {target: [[first, last, shape, count], ...]}}; the module's own name is left out of targets.


def _encode_uses(runs: Runs) -> bytes:
    shapes = sorted({use.shape for each in runs.values() for run in each for use in run.value})
    place = {shape: index for index, shape in enumerate(shapes)}

    def entry(module: str, each: Sequence[Run]) -> dict[str, list[list[int]]]:
        rows: dict[tuple[str, str], list[list[int]]] = {}
        for first, last, uses in each:
            for use in uses:
                before = rows.setdefault((use.target, use.shape), [])
                if before and before[-1][1] == first - 1 and before[-1][3] == use.places:
                    before[-1][1] = last
                else:
                    before.append([first, last, place[use.shape], use.places])
        found: dict[str, list[list[int]]] = {}
        for (target, _), spans in sorted(rows.items()):
            found.setdefault(target.removeprefix(module), []).extend(spans)
        return found

    return _document(
        {"shapes": shapes}, ((module, entry(module, each)) for module, each in sorted(runs.items()))
    )


def _decode_uses(section: bytes) -> Runs:
    document = json.loads(section)
    shapes = document["shapes"]
    runs: Runs = {}
    for module, targets in document["modules"].items():
        runs[module] = _together(
            [
                Run(
                    row[0],
                    row[1],
                    Use(module + target if target[0] == ":" else target, shapes[row[2]], row[3]),
                )
                for target, rows in targets.items()
                for row in rows
            ]
        )
    return runs


# Names: {module: [[first, last, {key: "name name"}, "gone gone"], ...]}. Of each run after a module's first,
# what differs from the run before. A key is the letter of the kind, and after it the place of the condition.


def _encode_names(runs: Runs) -> bytes:
    conditions = sorted(
        {name.condition for each in runs.values() for run in each for name in run.value} - {""}
    )
    place = {condition: index for index, condition in enumerate(conditions)}

    def entry(each: Sequence[Run]) -> Iterator[list[object]]:
        before: frozenset[Name] = frozenset()
        for first, last, value in each:
            now = frozenset(value)
            added: dict[str, list[str]] = {}
            for name in sorted(now - before):
                key = _NAME_LETTERS[name.kind] + (str(place[name.condition]) if name.condition else "")
                added.setdefault(key, []).append(name.name)
            gone = {name.name for name in before - now} - {name.name for name in now}
            groups = {key: " ".join(names) for key, names in sorted(added.items())}
            yield [first, last, groups, *([" ".join(sorted(gone))] if gone else [])]
            before = now

    return _document(
        {"conditions": conditions}, ((module, list(entry(each))) for module, each in sorted(runs.items()))
    )


def _decode_names(text: bytes) -> Runs:
    document = json.loads(text)
    return {
        module: list(_names(rows, document["conditions"])) for module, rows in document["modules"].items()
    }


def _names(rows: Sequence[Any], conditions: Sequence[str]) -> Iterator[Run]:
    """The runs of one module's names."""
    now: dict[str, Name] = {}
    for first, last, groups, *gone in rows:
        for name in gone[0].split() if gone else ():
            del now[name]
        for key, names in groups.items():
            condition = conditions[int(key[1:])] if len(key) > 1 else ""
            now.update((name, Name(name, NAME_KINDS[key[0]], condition)) for name in names.split())
        yield Run(first, last, tuple(sorted(now.values())))
