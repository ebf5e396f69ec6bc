"""What queries answer with: plain tuples, for what a target was in which releases."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DEFAULT_KINDS", "OTHER_KINDS", "Caller", "Generation", "NameSpan", "Span", "Target"]

#: What `targets` answers with unless it is told otherwise, in the order in which it is shown.
DEFAULT_KINDS = ("function", "class", "method", "mapping")

#: What else there is; see `Generation`.
OTHER_KINDS = ("field", "carrier", "reexport")


class Target(NamedTuple):
    """One attribute that callers reach."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


class Span(NamedTuple):
    """Consecutive releases, both ends included, in which a target had one signature."""

    first: str
    last: str
    signature: str


class Generation(NamedTuple):
    """Consecutive releases, both ends included, in which a target was the same.

    Attributes:
        kind: ``function``, ``class``, ``method``, ``mapping``, ``field``, ``reexport``, or ``carrier``: a
            function or method that is not RoPE's own, in the releases in which it takes or computes something
            of RoPE, such as attention's ``forward``.
        signature: parameters with their defaults as source, without annotations. Of a class, those of its
            constructor without ``self``, own or inherited; of a mapping its keys; of a field of a
            configuration its default; of a re-export the ``module:name`` that it leads to.
        body: fingerprint of the code without formatting, comments, docstrings and annotations; empty where
        only
            the signature counts.
        decorators: as source.
        bases: of a class, as source.
        condition: when it is defined, as source; empty where it always is.
    """

    first: str
    last: str
    kind: str
    signature: str
    body: str
    decorators: tuple[str, ...]
    bases: tuple[str, ...]
    condition: str


class NameSpan(NamedTuple):
    """Consecutive releases, both ends included, in which a module had a name.

    ``kind`` is ``function``, ``class``, ``mapping``, ``value``, ``module`` or ``import``; ``condition`` says
    when the name is there, and is empty where it always is.
    """

    first: str
    last: str
    kind: str
    condition: str


class Caller(NamedTuple):
    """How the code of one module uses a target.

    ``shape`` is ``call POSITIONAL KEYWORDS RESULT`` or ``read ATTRIBUTE``, see
    `rope_compat.catalog.reading.calls`; ``places`` is the number of places.
    """

    module: str
    shape: str
    places: int
