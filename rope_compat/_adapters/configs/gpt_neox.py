"""The rotated part of a GPT-NeoX head, which two ranges of releases read from two fields.

``GPTNeoXConfig.convert_rope_params_to_dict`` of ``configuration_gpt_neox.py``: from 5.0.0 to 5.4.0
``rotary_pct``, 0.25 where it is not given, overwrites ``partial_rotary_factor`` in ``rope_parameters``; from
5.5.0 on it only stands in for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .wrapping import dressed

__all__ = ["overwritten", "spared"]

_FACTOR, _FRACTION = "partial_rotary_factor", "rotary_pct"


def spared(native: Callable[..., Any]) -> Callable[..., Any]:
    """The method of 5.0.0 to 5.4.0, with what the dictionary says left as it is."""

    def convert_rope_params_to_dict(self: Any, *args: Any, **kwargs: Any) -> Any:
        stated = _dictionary(self, kwargs).get(_FACTOR)
        if stated is not None:
            kwargs[_FRACTION] = stated
        return native(self, *args, **kwargs)

    return dressed(convert_rope_params_to_dict, native)


def overwritten(native: Callable[..., Any]) -> Callable[..., Any]:
    """The method of 5.5.0 and later, with the dictionary overwritten as before."""

    def convert_rope_params_to_dict(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = {key: value for key, value in _dictionary(self, kwargs).items() if key != _FACTOR}
        if kwargs.get("rope_scaling"):
            kwargs["rope_scaling"] = found
        else:
            self.rope_parameters = found
        return native(self, *args, **kwargs)

    return dressed(convert_rope_params_to_dict, native)


def _dictionary(config: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    return kwargs.get("rope_scaling") or vars(config).get("rope_parameters") or {}
