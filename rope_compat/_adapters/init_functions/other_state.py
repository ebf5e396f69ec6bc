"""What rotary modules remember between two texts, as another release than the installed one remembers it.

From 4.43.0 on a module keeps in ``max_seq_len_cached`` how far dynamic NTK has grown, and in
``original_max_seq_len`` from where on it grows. Releases differ in what they do with these
(``transformers/modeling_rope_utils.py``, ``dynamic_rope_update``), so descriptors of these names on the class
are enough to have a module behave as in another release; its forward stays the installed one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .other_releases import OWN_LONGROPE, longrope_at, original_of
from .rope_parameters import read

__all__ = [
    "LONGEST",
    "MISNAMED",
    "ORIGINAL",
    "Forgetting",
    "Moved",
    "Never",
    "called_by_length",
    "kept_in_fp32",
]

LONGEST, ORIGINAL = "max_seq_len_cached", "original_max_seq_len"
#: Where 5.0.0 to 5.12.1 write the longest length, in modules without layer types; nothing reads it.
MISNAMED = "None_max_seq_len_cached"


class Moved:
    """`MISNAMED`: what is written to it goes where it is read from, as from 5.13.0 on."""

    def __get__(self, module: Any, owner: type) -> Any:
        return self if module is None else getattr(module, LONGEST)

    def __set__(self, module: Any, value: Any) -> None:
        setattr(module, LONGEST, value)


class Forgetting:
    """`LONGEST`: the original length whatever is written, so that nothing grows and nothing is taken back."""

    def __get__(self, module: Any, owner: type) -> Any:
        if module is None:
            return self
        kept = vars(module)
        if ORIGINAL not in kept and LONGEST not in kept:
            raise AttributeError(f"{type(module).__name__!r} object has no attribute {LONGEST!r}")
        return kept[ORIGINAL] if ORIGINAL in kept else kept[LONGEST]

    def __set__(self, module: Any, value: Any) -> None:
        # Kept all the same: it is what shows when the patch is undone.
        vars(module).setdefault(LONGEST, value)


class Never:
    """`ORIGINAL`: no text is short enough for the frequencies to be taken back."""

    def __get__(self, module: Any, owner: type) -> Any:
        return self if module is None else 0

    def __set__(self, module: Any, value: Any) -> None:
        vars(module)[ORIGINAL] = value


def called_by_length(cls: Any, release: str) -> Callable[..., Any]:
    """A ``__call__`` for a rotary class that chooses longrope's factors by the text, as `release` does.

    To 4.50.3 models like Llama choose once; to 4.57.6 they do not read the original length in the dictionary.
    """

    def __call__(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
        positions: Any = args[0] if args else kwargs.get("position_ids")
        config = getattr(self, "config", None)
        is_longrope = getattr(self, "rope_type", None) == "longrope" and isinstance(positions, torch.Tensor)
        if is_longrope and getattr(config, "model_type", "") not in OWN_LONGROPE:
            _choose(self, config, int(positions.max()) + 1, x.device, release)
        return super(cls, self).__call__(x, *args, **kwargs)

    return __call__


def _choose(module: Any, config: Any, length: int, device: Any, release: str) -> None:
    given = read(config, rope_type="longrope")
    original = original_of(given, release)
    inv_freq, module.attention_scaling = longrope_at(
        given, release, original + 1 if length > original else None, device
    )
    # The installed forward, too, shows what is kept here: from 4.51.0 on for all but the longest texts.
    module.original_inv_freq = inv_freq
    module.register_buffer("inv_freq", inv_freq, persistent=False)


def kept_in_fp32(native: Callable[..., Any]) -> Callable[..., Any]:
    """`nn.Module._apply` for a rotary class: a model that is converted keeps its frequencies in fp32.

    As tables of cos and sin that were computed in fp32 did.
    """

    def _apply(self: Any, fn: Any, *args: Any, **kwargs: Any) -> Any:
        names = [
            name for name, value in self._buffers.items() if name.endswith("inv_freq") and value is not None
        ]
        before = {name: self._buffers[name] for name in names}
        converted: nn.Module = native(self, fn, *args, **kwargs)
        for name, value in before.items():
            after = self._buffers[name]
            if after is not None and after.dtype != value.dtype == torch.float32:
                self._buffers[name] = value.to(after.device)
        return converted

    return _apply
