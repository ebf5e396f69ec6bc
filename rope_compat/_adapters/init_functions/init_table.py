"""``ROPE_INIT_FUNCTIONS`` as the loader of transformers sees it: as it was, and live."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from ..functions.base import is_restored

__all__ = ["NativeTable"]


class NativeTable(MutableMapping[str, Any]):
    """The same table without a restored ``"default"``; what is written here is written to the table.

    From 5.17.0 on modeling_utils merges the table over each module's own ``compute_default_rope_parameters``,
    which an entry of that name would override.
    """

    def __init__(self, table: dict[str, Any]) -> None:
        self.table = table

    def __getitem__(self, rope_type: str) -> Any:
        function = self.table[rope_type]
        if rope_type == "default" and is_restored(function):
            raise KeyError(rope_type)
        return function

    def __setitem__(self, rope_type: str, function: Any) -> None:
        self.table[rope_type] = function

    def __delitem__(self, rope_type: str) -> None:
        del self.table[rope_type]

    def __iter__(self) -> Iterator[str]:
        return (rope_type for rope_type in list(self.table) if rope_type in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))
