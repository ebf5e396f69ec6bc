"""The records of the catalog: what a release has, and what queries answer with. Plain tuples, all of them."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = [
    "DEFAULT_KINDS",
    "OTHER_KINDS",
    "Caller",
    "Definition",
    "Generation",
    "Name",
    "NameSpan",
    "ReleaseFacts",
    "Run",
    "Span",
    "Target",
    "Use",
    "extend",
]

#: What `targets` answers with unless it is told otherwise, in the order in which it is shown.
DEFAULT_KINDS = ("function", "class", "method", "mapping")

#: What else there is; see `Definition`.
OTHER_KINDS = ("field", "carrier", "reexport")


class Target(NamedTuple):
    """One attribute that callers reach."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


class Definition(NamedTuple):
    """One target as one release defines it.

    Attributes:
        kind: ``function``, ``class``, ``method``, ``mapping``, ``field`` (of a configuration class),
            ``reexport``, or ``carrier``: a function or method that is not RoPE's own, but takes or computes
            something of RoPE, such as attention's ``forward``.
        signature: parameters with their defaults as source, without annotations. Of a class, those of its
            constructor without ``self``, own or inherited; of a mapping its keys; of a field its default; of
            a re-export the ``module:name`` that it leads to.
        body: fingerprint of the code, see `rope_compat.catalog.reading.fingerprint`; empty where only the
            signature counts.
        decorators: as source.
        bases: of a class, as source.
        condition: when it is there, as source; empty where it always is.
    """

    kind: str
    signature: str
    body: str = ""
    decorators: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    condition: str = ""


class Use(NamedTuple):
    """How a module's own code uses a target, and at how many places.

    ``target`` is ``module:qualname``, or ``?:name`` for an attribute of this name whose class is not known;
    for ``shape`` see `rope_compat.catalog.reading.calls`.
    """

    target: str
    shape: str
    places: int


class Name(NamedTuple):
    """One importable name.

    ``kind`` is ``function``, ``class``, ``mapping``, ``value``, ``module`` or ``import``; ``condition`` says
    when the name is there, and is empty where it always is.
    """

    name: str
    kind: str
    condition: str


class ReleaseFacts(NamedTuple):
    """What one release has, by module: importable names, targets, and how its own code uses them."""

    version: str
    names: dict[str, tuple[Name, ...]]
    targets: dict[str, tuple[tuple[str, Definition], ...]]
    uses: dict[str, tuple[Use, ...]]


class Span(NamedTuple):
    """Consecutive releases, both ends included, in which a target had one signature."""

    first: str
    last: str
    signature: str


class Generation(NamedTuple):
    """Consecutive releases, both ends included, in which a target was the same; see `Definition`."""

    first: str
    last: str
    kind: str
    signature: str
    body: str
    decorators: tuple[str, ...]
    bases: tuple[str, ...]
    condition: str


class NameSpan(NamedTuple):
    """Consecutive releases, both ends included, in which a module had a name; see `Name`."""

    first: str
    last: str
    kind: str
    condition: str


class Caller(NamedTuple):
    """How the code of one module uses a target; see `Use`."""

    module: str
    shape: str
    places: int


class Run(NamedTuple):
    """Builds ``first`` to ``last`` (places in the list of builds, both included) that have an equal value."""

    first: int
    last: int
    value: Any  # Python 3.10 has no generic named tuples


def extend(runs: list[Run], first: int, last: int, value: object) -> None:
    """Add a run; it becomes one with the last where that ends just before and has the same."""
    if runs and runs[-1].last == first - 1 and runs[-1].value == value:
        first = runs.pop().first
    runs.append(Run(first, last, value))
