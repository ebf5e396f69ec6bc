"""The functions of `rope_compat.functional` and `.strict`: every form of a family, and ``layout=``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ...errors import CallFormError
from ...rotary import layouts
from ...rotary.operations import deinterleave, vision
from ...rotary.rotation import rotate_pair
from .base import AdapterInfo, Context, info_of, misfit, refuse
from .build import build_adapter
from .restoring import restore
from .signature import live_signature

__all__ = ["FAMILIES", "make"]

Function = Callable[..., Any]

#: What computes each function of a family that has native ones, and of the others the restored operation.
_COMPUTE: dict[str, Function] = {
    "apply_rotary_pos_emb": rotate_pair,
    "apply_rotary_pos_emb_vision": vision,
    "apply_rotary_pos_emb_interleave": deinterleave,
}
_RESTORE = {
    "apply_rotary_pos_emb_flashatt": "flashatt",
    "apply_rotary_pos_emb_2d": "pairwise 2d",
    "apply_multimodal_rotary_pos_emb": "multimodal",
}
#: How tensors lie in functions without ``unsqueeze_dim``.
_FIXED = {
    "apply_rotary_pos_emb_vision": "bshd",
    "apply_rotary_pos_emb_flashatt": "bshd",
    "apply_rotary_pos_emb_2d": "bhsd",
}
_SECTIONS = "apply_multimodal_rotary_pos_emb"

FAMILIES = (*_COMPUTE, *_RESTORE)


def make(family: str, module: str, *, strict: bool = False) -> Function:
    """The function of a family, as an attribute of `module`."""
    context = Context(target=f"{module}:{family}", strict=strict)
    if family in _COMPUTE:
        adapter = build_adapter(_COMPUTE[family], context)
    else:
        adapter = restore(_RESTORE[family], context)
    if family in _FIXED or family == _SECTIONS:
        adapter = _with_layout(adapter, family, strict)
    adapter.__name__ = adapter.__qualname__ = family
    adapter.__module__ = module
    return adapter


def _with_layout(function: Function, family: str, strict: bool) -> Function:
    """A function of a family whose forms have no ``layout`` themselves, with that keyword."""
    info = info_of(function)
    assert info is not None
    signature = live_signature(function)
    native = _FIXED.get(family)

    def laid_out(*args: Any, layout: str | None = None, **kwargs: Any) -> Any:
        if layout is None:
            if strict:
                _check_strictly(info, args, kwargs)
            return function(*args, **kwargs)
        if layout not in layouts.LAYOUTS:
            raise refuse(info, args, {**kwargs, "layout": layout}, layouts.unknown_layout(layout))
        _check(info, args, kwargs, layout)
        if native is None:
            return function(*args, **_with_axis(info, args, kwargs, layout))
        if layout == native:
            return function(*args, **kwargs)
        turned = set(_rotated(args, kwargs))
        output = function(
            *(_turn(value) if place in turned else value for place, value in enumerate(args)),
            **{name: _turn(value) if name in turned else value for name, value in kwargs.items()},
        )
        return _turn(output) if isinstance(output, Tensor) else tuple(map(_turn, output))

    laid_out.__doc__ = function.__doc__
    laid_out.__rope_compat__ = info  # type: ignore[attr-defined]
    if signature is not None:
        keyword = inspect.Parameter("layout", inspect.Parameter.KEYWORD_ONLY, default=None)
        parameters = list(signature.parameters.values())
        place = len(parameters) - any(each.kind is each.VAR_KEYWORD for each in parameters)
        parameters.insert(place, keyword)
        laid_out.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return laid_out


def _turn(x: Tensor) -> Tensor:
    return x.transpose(-3, -2)


def _rotated(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int | str]:
    """Places and names of the tensors that are rotated: two, or one beside ``freqs``."""
    named: list[int | str] = [name for name in ("q", "k", "tensor") if name in kwargs]
    count = 1 if "freqs" in kwargs or "tensor" in kwargs or len(args) + len(kwargs) == 2 else 2
    return [*range(min(len(args), count - len(named))), *named]


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Tensor], int | None]:
    """What is rotated, by name, and how many positions the angles hold; None where that cannot be told."""
    places = _rotated(args, kwargs)
    values = [args[place] if isinstance(place, int) else kwargs[place] for place in places]
    names = ("tensor",) if len(values) == 1 else ("q", "k")
    angles = kwargs.get("cos", kwargs.get("freqs", args[len(values)] if len(args) > len(values) else None))
    # Beside position_ids angles may be a table, of as many rows as it likes.
    has_positions = kwargs.get("position_ids") is not None or any(
        isinstance(value, Tensor) for value in args[4:]
    )
    length = angles.shape[-2] if isinstance(angles, Tensor) and angles.dim() >= 2 else None
    if not all(isinstance(value, Tensor) and value.dim() >= 3 for value in values):
        return {}, None
    return dict(zip(names, values, strict=False)), None if has_positions else length


def _check(info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any], layout: str) -> None:
    tensors, length = _tensors(args, kwargs)
    for name, tensor in tensors.items():
        # The keys of SAM 2's memory are longer than the angles: its options say how.
        if length is None or (name == "k" and info.context.family == "apply_rotary_pos_emb_2d"):
            continue
        problem = layouts.explain_declared(tensor.shape, length, layout, name)
        if problem is not None:
            raise misfit(info, problem)


def _check_strictly(info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    tensors, length = _tensors(args, kwargs)
    says = "unsqueeze_dim" in kwargs or isinstance(args[-1] if args else None, int)
    if says or length in (None, 1) or not tensors:
        return
    if all(tensor.shape[-3] == tensor.shape[-2] == length for tensor in tensors.values()):
        name, tensor = next(iter(tensors.items()))
        raise misfit(info, layouts.explain_ambiguous(tensor.shape, name))


def _with_axis(
    info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any], layout: str
) -> dict[str, Any]:
    """The keywords with the ``unsqueeze_dim`` that a layout means."""
    axis = layouts.axis_of(layout, 4)
    said = kwargs.get("unsqueeze_dim", args[-1] if args and isinstance(args[-1], int) else None)
    if said is None:
        return {**kwargs, "unsqueeze_dim": axis}
    if said % 4 != axis:
        why = f"layout={layout!r} means unsqueeze_dim={axis}, but unsqueeze_dim={said} was given"
        error: CallFormError = refuse(info, args, {**kwargs, "layout": layout}, why)
        raise error
    return kwargs
