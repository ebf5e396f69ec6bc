"""``dynamic_rope_update`` for rotary modules of custom code, whichever release they were written for.

The decorator of ``transformers/modeling_rope_utils.py`` (from 4.51.0 on) lets a module's forward recompute
its frequencies first: dynamic NTK as the text grows, longrope as it passes the original length. What it
expects of a module differs:

- 4.51 to 4.57 call ``self.rope_init_fn`` and know nothing of layer types;
- 5.x calls ``ROPE_INIT_FUNCTIONS[self.rope_type]``. To 5.12.1 it forgets how far dynamic NTK has grown, so
  that a short text after a long one gets the long one's frequencies; from 5.23.0 on it writes longrope's into
  the buffer, which modules of 4.x keep as ``original_inv_freq`` as well.

So a module of the installed release's own kind is decorated by the installed decorator, any other by the one
here. A module that keeps ``rope_init_fn`` was written for 4.x.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..functions.base import AdapterInfo, Context, dress, info_of
from .rope_parameters import StandIn

__all__ = ["adapt_dynamic_rope_update", "dynamic_rope_update_of"]

Forward = Callable[..., Any]
Table = Mapping[str, Callable[..., Any]]


def dynamic_rope_update_of(table: Table, context: Context) -> Callable[[Forward], Forward]:
    """The decorator for releases that have none; `table` is their ``ROPE_INIT_FUNCTIONS``."""

    def dynamic_rope_update(rope_forward: Forward) -> Forward:
        """Let ``forward(self, x, position_ids, layer_type=None)`` bring the frequencies up to date first."""
        return _updating(rope_forward, table, begins_long=_begins_long(table))

    return dress(dynamic_rope_update, AdapterInfo(context, None, "(rope_forward)", ()))


def adapt_dynamic_rope_update(
    native: Callable[[Forward], Forward], table: Table, context: Context, *, knows_layers: bool
) -> Callable[[Forward], Forward]:
    """The decorator that stands for the installed one; `knows_layers`: the installed one is that of 5.x."""

    def dynamic_rope_update(rope_forward: Forward) -> Forward:
        decorated = native(rope_forward)
        if str(getattr(rope_forward, "__module__", "")).startswith("transformers."):
            return decorated
        own = _updating(rope_forward, table)
        if not knows_layers and "layer_type" in inspect.signature(rope_forward).parameters:
            return own
        return _either(decorated, own, native_keeps_function=not knows_layers)

    return dress(dynamic_rope_update, AdapterInfo(context, native, "(rope_forward)", ()))


def _either(native: Forward, own: Forward, *, native_keeps_function: bool) -> Forward:
    """By what the module keeps: the installed decorator's forward, or the one here."""

    @functools.wraps(native)
    def forward(self: Any, x: Any, position_ids: Any, layer_type: str | None = None) -> Any:
        chosen = native if ("rope_init_fn" in self.__dict__) is native_keeps_function else own
        if layer_type is None:
            return chosen(self, x, position_ids)
        return chosen(self, x, position_ids, layer_type)

    return forward


def _updating(rope_forward: Forward, table: Table, *, begins_long: bool = False) -> Forward:
    # Modules outlive the patch, and the table then holds the installed functions again.
    adapters = {info.native: function for function in table.values() if (info := info_of(function))}

    # As the decorators of transformers do, which set __wrapped__.
    @functools.wraps(rope_forward)
    def forward(self: Any, x: Any, position_ids: Any, layer_type: str | None = None) -> Any:
        rope_type = self.rope_type if layer_type is None else self.rope_type[layer_type]
        if "dynamic" in rope_type or rope_type == "longrope":
            function = table.get(rope_type)
            function = adapters.get(function, function)
            if rope_type == "longrope":
                _short_or_long(self, position_ids, x.device, layer_type, function, begins_long)
            else:
                _grow_or_reset(self, position_ids, x.device, layer_type, function)
        if layer_type is None:
            return rope_forward(self, x, position_ids)
        return rope_forward(self, x, position_ids, layer_type=layer_type)

    return forward


def _grow_or_reset(
    module: Any, position_ids: Any, device: Any, layer_type: str | None, function: Any
) -> None:
    """Dynamic NTK: new frequencies for the longest text so far, the first ones again for a short text."""
    prefix = "" if layer_type is None else f"{layer_type}_"
    length = torch.max(position_ids) + 1
    longest = getattr(module, f"{prefix}max_seq_len_cached", module.max_seq_len_cached)
    if length > longest:
        inv_freq, scaling = _computed(module, device, length, layer_type, function)
        setattr(module, f"{prefix}attention_scaling", scaling)
        _show(module, f"{prefix}inv_freq", inv_freq)
        setattr(module, f"{prefix}max_seq_len_cached", length)
    elif length < module.original_max_seq_len < longest:
        _show(module, f"{prefix}inv_freq", _kept(module, f"{prefix}original_inv_freq", device))
        setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)


def _short_or_long(
    module: Any,
    position_ids: Any,
    device: Any,
    layer_type: str | None,
    function: Any,
    begins_long: bool,
) -> None:
    """Longrope: the long factors past the original length, the short ones up to it."""
    prefix = "" if layer_type is None else f"{layer_type}_"
    original = _original_length(module.config, layer_type)
    if torch.max(position_ids) + 1 > original:
        name = f"{prefix}long_inv_freq"
        if not hasattr(module, name):
            setattr(module, name, _computed(module, device, original + 1, layer_type, function)[0])
    elif begins_long:
        name = f"{prefix}short_inv_freq"
        if not hasattr(module, name):
            # With layer_type, also where it is None, the adapter computes what 5.x does.
            setattr(module, name, function(module.config, device, layer_type=layer_type)[0])
    else:
        name = f"{prefix}original_inv_freq"
    _show(module, f"{prefix}inv_freq", _kept(module, name, device))


def _computed(
    module: Any, device: Any, length: Any, layer_type: str | None, function: Any
) -> tuple[Any, float]:
    """By the module's own function, where it keeps one (4.x); else by the table's, as 5.x does."""
    own: Any = module.__dict__.get("rope_init_fn") if layer_type is None else None
    found: tuple[Any, float] = (
        function(module.config, device, seq_len=length, layer_type=layer_type)
        if own is None
        else own(module.config, device, seq_len=length)
    )
    return found


def _kept(module: Any, name: str, device: Any) -> Any:
    """Frequencies that the module keeps, on the device that it may have been moved to since."""
    inv_freq = getattr(module, name)
    if inv_freq.device != device:
        inv_freq = inv_freq.to(device)
        setattr(module, name, inv_freq)
    return inv_freq


def _show(module: Any, name: str, inv_freq: Any) -> None:
    """Make `inv_freq` the buffer; never in place, since it may be known under other names as well."""
    if getattr(module, name) is not inv_freq:
        module.register_buffer(name, inv_freq, persistent=False)


def _original_length(config: Any, layer_type: str | None) -> Any:
    """The length of the original training: beside the dictionary (phi3), in that of 5.x, or the config's."""
    stated = getattr(config, "original_max_position_embeddings", None)
    if stated is None:
        parameters = getattr(config, "rope_parameters", None) or {}
        parameters = parameters if layer_type is None else parameters.get(layer_type) or {}
        stated = parameters.get("original_max_position_embeddings")
    return config.max_position_embeddings if stated is None else stated


def _begins_long(table: Table) -> bool:
    """Whether the installed longrope gives the long factors when it is not told a length: to 4.47.1."""
    info = info_of(table.get("longrope"))
    if info is None or info.native is None:
        return False
    scaling = {"rope_type": "longrope", "short_factor": [1.0, 1.0], "long_factor": [2.0, 2.0]}
    config = StandIn(
        None,
        rope_theta=10000.0,
        rope_scaling=scaling,
        head_dim=4,
        hidden_size=4,
        num_attention_heads=1,
        max_position_embeddings=8,
        original_max_position_embeddings=4,
    )
    return float(info.native(config, "cpu")[0][0]) == 0.5
