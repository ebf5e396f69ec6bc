"""``PreTrainedModel._init_weights``, which computes frequencies of rotary modules again from 5.0.0 on.

It does so for every module whose class is called ``...RotaryEmbedding``, by
``module.compute_default_rope_parameters`` for the default type, and by the table for others. Classes written
for 4.x have no such function, and what their constructor computed is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from ..._utils.ownership import is_custom
from ..functions.base import AdapterInfo, Context, dress, is_restored

__all__ = ["NativeTable", "keeps_its_frequencies", "spare_custom_rotary"]

#: By which a module says how its frequencies are computed; the second from 5.17.0, the third from 5.24.0 on.
_COMPUTES = tuple(f"compute_{kind}_rope_parameters" for kind in ("default", "axial", "ntk_alpha"))


def keeps_its_frequencies(module: Any) -> bool:
    """Whether a module is a rotary one of custom code whose class cannot compute its frequencies again."""
    cls = type(module)
    return (
        "RotaryEmbedding" in cls.__name__
        and is_custom(cls)
        and hasattr(module, "original_inv_freq")
        and not any(hasattr(module, name) for name in _COMPUTES)
    )


def spare_custom_rotary(native: Callable[..., Any], context: Context) -> Callable[..., Any]:
    """``PreTrainedModel._init_weights`` that leaves such modules as their constructor made them."""

    def _init_weights(self: Any, module: Any, *args: Any, **kwargs: Any) -> Any:
        if keeps_its_frequencies(module):
            return None
        return native(self, module, *args, **kwargs)

    return dress(_init_weights, AdapterInfo(context, native, "(self, module)", ()))


class NativeTable(MutableMapping[str, Any]):
    """``ROPE_INIT_FUNCTIONS`` without a restored ``"default"``; what is written here is written to the table.

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
