"""The record that every shim carries: what is adapted or restored, why, since when, until when, for whom."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Shim"]


@dataclass(frozen=True, slots=True)
class Shim:
    """One reason to change something.

    Attributes:
        name: short and stable, for plans, journals and tests.
        kind: ``adapt`` (the name exists, foreign calls are translated), ``restore`` (the name is gone),
            ``guard`` (the library's own code runs as it is, and what it would lose is put back), or ``watch``
            (modules that the import system does not see are handed to the other shims).
        targets: what it covers, as ``module:name`` patterns.
        why: what breaks without it.
        since: first release of `package` on which it has something to do.
        until: last release on which it has, None while there is no end in sight.
        upstream: where upstream changed.
        helps: whose code it helps.
        note: what it cannot do, shown in plans and status.
        package: the distribution whose releases `since` and `until` are.
    """

    name: str
    kind: Literal["adapt", "restore", "watch", "guard"]
    targets: tuple[str, ...]
    why: str
    since: str
    until: str | None
    upstream: str
    helps: str
    note: str = ""
    package: str = "transformers"

    def to_dict(self) -> dict[str, object]:
        """The record as JSON-ready data."""
        return asdict(self)
