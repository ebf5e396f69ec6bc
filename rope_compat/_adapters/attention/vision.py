"""Vision attention and its blocks: angles (``rotary_pos_emb``) or cos and sin (``position_embeddings``).

Angles alone up to 4.48.3 (Qwen2.5-Omni to 5.9), both from 4.49.0 on, of which angles have counted for nothing
from 4.54.0 on, cos and sin alone from 5.10.0 on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..._facts.call_forms import BLOCK_WITH_ANGLES, BLOCK_WITH_PAIR
from ...rotary.layouts import freqs_to_cos_sin
from ..functions.base import AdapterInfo, Context, dress, refuse
from ..functions.signature import live_signature, signature_text
from .contract import EMBEDDINGS, by_position, tests_none

__all__ = ["Tower", "adapt_tower", "read_tower"]

_ANGLES = "rotary_pos_emb"


@dataclass(frozen=True, slots=True)
class Tower:
    """One live ``forward``: which of the two it takes, and by which places.

    ``computes``: it makes cos and sin of angles itself, or hands both on to what does. ``name``: what angles
    are called, where they are all that it takes; in Qwen2.5-Omni of 5.10 to 5.16 like cos and sin elsewhere.
    """

    names: tuple[str, ...]
    signature: inspect.Signature
    angles: bool
    pair: bool
    computes: bool
    name: str = _ANGLES


class _KnownAngles:
    """Angles that are asked for their cos and sin only, which are known."""

    def __init__(self, cos: Tensor, sin: Tensor) -> None:
        self._cos, self._sin = cos, sin

    def cos(self) -> Tensor:
        return self._cos

    def sin(self) -> Tensor:
        return self._sin


def read_tower(cls: type[Any], forward: Callable[..., Any], *, rotates_by_angles: bool) -> Tower | None:
    """The form of a method, or None where it is none of a tower's.

    `rotates_by_angles`: the module's own function takes ``(tensor, freqs)``, so its attention takes no pair.
    """
    signature = live_signature(forward)
    if signature is None:
        return None
    names = by_position(signature)
    angles, pair = _ANGLES in names, EMBEDDINGS in names
    if names[:2] != ("hidden_states", "cu_seqlens") or not (angles or pair):
        return None
    if rotates_by_angles and not (angles and pair):
        name = _ANGLES if angles else EMBEDDINGS
        return Tower(names, signature, angles=True, pair=False, computes=True, name=name)
    is_attention = "Attention" in cls.__name__
    return Tower(names, signature, angles, pair, not is_attention or tests_none(forward, EMBEDDINGS))


def adapt_tower(native: Callable[..., Any], tower: Tower, context: Context) -> Callable[..., Any]:
    """The method that takes either."""
    forms = (BLOCK_WITH_ANGLES if tower.pair else BLOCK_WITH_PAIR,)
    info = AdapterInfo(context, native, signature_text(tower.signature), forms)
    other = EMBEDDINGS if tower.name == _ANGLES else _ANGLES

    # transformers calls by keywords.
    def of_pair(
        self: Any,
        hidden_states: Any,
        cu_seqlens: Any,
        *args: Any,
        position_embeddings: Any = None,
        **kwargs: Any,
    ) -> Any:
        if not args and _ANGLES not in kwargs and not _are_angles(position_embeddings):
            return native(self, hidden_states, cu_seqlens, position_embeddings=position_embeddings, **kwargs)
        given = _named(info, tower, args, {EMBEDDINGS: position_embeddings, **kwargs})
        return native(self, hidden_states, cu_seqlens, **_with_pair(info, given))

    def of_both(self: Any, hidden_states: Any, cu_seqlens: Any, *args: Any, **kwargs: Any) -> Any:
        is_known = kwargs.get(EMBEDDINGS) is not None or (len(args) > 1 and args[1] is not None)
        if (is_known or tower.computes) and not (args and isinstance(args[0], (tuple, list))):
            return native(self, hidden_states, cu_seqlens, *args, **kwargs)
        given = _named(info, tower, args, kwargs)
        return native(self, hidden_states, cu_seqlens, **_with_pair(info, given))

    def of_angles(self: Any, hidden_states: Any, cu_seqlens: Any, *args: Any, **kwargs: Any) -> Any:
        values = (*args, kwargs.get(tower.name))
        if other not in kwargs and not any(isinstance(each, (tuple, list)) for each in values):
            return native(self, hidden_states, cu_seqlens, *args, **kwargs)
        given = _with_angles(info, _named(info, tower, args, kwargs))
        if _ANGLES in given:
            given[tower.name] = given.pop(_ANGLES)
        return native(self, hidden_states, cu_seqlens, **given)

    in_either_form = of_angles if not tower.pair else of_both if tower.angles else of_pair
    return dress(in_either_form, info, tower.signature)


def _are_angles(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 2 and value.is_floating_point()


def _named(info: AdapterInfo, tower: Tower, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name: angles and the pair are told by what they are, whatever place they stand at."""
    given = {name: value for name, value in kwargs.items() if value is not None}
    for place, value in enumerate(args, 2):
        name = tower.names[place] if place < len(tower.names) else ""
        if isinstance(value, (tuple, list)) and len(value) == 2:
            name = EMBEDDINGS
        elif _are_angles(value) and name in ("", _ANGLES, EMBEDDINGS):
            name = _ANGLES
        elif value is not None and name in ("", _ANGLES, EMBEDDINGS):
            raise refuse(info, args, kwargs, "it is neither angles nor cos and sin")
        if value is not None:
            given[name] = value
    if _are_angles(given.get(EMBEDDINGS)):
        given[_ANGLES] = given.pop(EMBEDDINGS)
    if isinstance(given.get(_ANGLES), (tuple, list)):
        given[EMBEDDINGS] = given.pop(_ANGLES)
    return given


def _with_pair(info: AdapterInfo, given: dict[str, Any]) -> dict[str, Any]:
    angles = given.pop(_ANGLES, None)
    if angles is not None and EMBEDDINGS not in given:
        info.count(BLOCK_WITH_ANGLES.name)
        cos, sin = freqs_to_cos_sin(angles)
        given[EMBEDDINGS] = cos.float(), sin.float()
    return given


def _with_angles(info: AdapterInfo, given: dict[str, Any]) -> dict[str, Any]:
    pair = given.pop(EMBEDDINGS, None)
    if pair is None or given.get(_ANGLES) is not None:
        return given
    info.count(BLOCK_WITH_PAIR.name)
    halves = [each.chunk(2, dim=-1) for each in pair]
    if not all(torch.equal(first, second) for first, second in halves):
        raise refuse(
            info, (), {EMBEDDINGS: pair}, "the halves of cos and sin differ, so no angles are theirs"
        )
    (cos, _), (sin, _) = halves
    given[_ANGLES] = _KnownAngles(cos, sin)
    return given
