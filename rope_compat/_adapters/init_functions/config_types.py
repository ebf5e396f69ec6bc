"""What config classes import from ``transformers/modeling_rope_utils.py``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypedDict

from ..functions.base import AdapterInfo, Context, dress
from .rope_parameters import StandIn

__all__ = ["ignoring_keys", "rope_parameters_type"]

#: 5.24.0, and what each of them is. None of them is required.
_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("rope_theta", "partial_rotary_factor", "factor", "attention_factor"), float | None),
    **dict.fromkeys(("beta_fast", "beta_slow", "mscale", "mscale_all_dim"), float | None),
    **dict.fromkeys(("low_freq_factor", "high_freq_factor"), float | None),
    **dict.fromkeys(("short_factor", "long_factor"), list[float] | None),
    "rope_type": str | None,
    "original_max_position_embeddings": int | None,
    "truncate": bool | None,
    "mrope_section": list[int] | None,
}


def rope_parameters_type(context: Context) -> Any:
    """The type ``RopeParameters`` (from 5.0.0 on), which 5.x names in the annotations of config classes."""
    make: Any = TypedDict
    found = make(context.family, _FIELDS, total=False)
    found.__module__ = context.module
    found.__doc__ = "Parameters of a rotary embedding, as configs of 5.x keep them; restored by rope_compat."
    found.__rope_compat__ = AdapterInfo(context, None, "(*, rope_theta, rope_type, ...)", ())
    return found


def ignoring_keys(native: Callable[..., Any], context: Context) -> Callable[..., Any]:
    """``rope_config_validation(config, ignore_keys=None)`` of 4.45.2 for releases that take no `ignore_keys`.

    Those complain about keys that they do not know: they are not shown the keys to ignore.
    """

    def rope_config_validation(config: Any, ignore_keys: Collection[str] | None = None) -> Any:
        scaling = getattr(config, "rope_scaling", None)
        if not ignore_keys or not scaling:
            return native(config)
        kept = {key: value for key, value in scaling.items() if key not in ignore_keys}
        return native(StandIn(config, rope_scaling=kept))

    adapter = dress(rope_config_validation, AdapterInfo(context, native, "(config)", ()))
    del adapter.__signature__  # type: ignore[attr-defined]
    return adapter
