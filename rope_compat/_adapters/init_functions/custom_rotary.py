"""What transformers asks of rotary modules, for modules of custom code that were written before it asked.

From 5.0.0 on ``PreTrainedModel._init_weights`` computes the frequencies of every module whose class is called
``...RotaryEmbedding`` again, by ``module.compute_default_rope_parameters`` for the default type. Classes
written for 4.x have no such function, and what their constructor computed is right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..._utils.ownership import is_custom
from ..functions.base import AdapterInfo, Context, dress

__all__ = ["keeps_its_frequencies", "spare_custom_rotary"]

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
