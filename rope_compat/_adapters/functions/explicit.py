"""The functions of `rope_compat.functional` and `.strict`: every form of a family, and ``layout=``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ...rotary import layouts
from ...rotary.operations import deinterleave, vision
from ...rotary.rotation import rotate_pair
from .base import MARK, AdapterInfo, Context, misfit, refuse
from .build import build_adapter
from .restoring import restore
from .signature import live_signature

__all__ = ["FAMILIES", "make"]

Function = Callable[..., Any]

#: What computes each family's function, or the restored operation; how tensors lie where there is no
#: ``unsqueeze_dim``, "" where there is one. None: the family's forms have ``layout`` themselves.
_FAMILIES: dict[str, tuple[Function | str, str | None]] = {
    "apply_rotary_pos_emb": (rotate_pair, None),
    "apply_rotary_pos_emb_vision": (vision, "bshd"),
    "apply_rotary_pos_emb_interleave": (deinterleave, None),
    "apply_rotary_pos_emb_flashatt": ("flashatt", "bshd"),
    "apply_rotary_pos_emb_2d": ("pairwise 2d", "bhsd"),
    "apply_multimodal_rotary_pos_emb": ("multimodal", ""),
}

FAMILIES = tuple(_FAMILIES)


def make(family: str, module: str, *, strict: bool = False) -> Function:
    """The function of a family, as an attribute of `module`."""
    context = Context(target=f"{module}:{family}", strict=strict)
    compute, native_layout = _FAMILIES[family]
    function = restore(compute, context) if isinstance(compute, str) else build_adapter(compute, context)
    if native_layout is not None:
        function = _with_layout(function, native_layout, strict)
    function.__name__ = function.__qualname__ = family
    function.__module__ = module
    return function


def _with_layout(function: Function, native: str, strict: bool) -> Function:
    """A function of a family whose forms have no ``layout`` themselves, with that keyword."""
    info: AdapterInfo = vars(function)[MARK]

    def laid_out(*args: Any, layout: str | None = None, **kwargs: Any) -> Any:
        if layout is None:
            if strict:
                _check_strictly(info, args, kwargs)
            return function(*args, **kwargs)
        if layout not in layouts.LAYOUTS:
            raise refuse(info, args, {**kwargs, "layout": layout}, layouts.unknown_layout(layout))
        _check(info, args, kwargs, layout)
        if not native:
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
    setattr(laid_out, MARK, info)
    signature = live_signature(function)
    if signature is not None:
        parameters = list(signature.parameters.values())
        place = len(parameters) - any(each.kind is each.VAR_KEYWORD for each in parameters)
        parameters.insert(place, inspect.Parameter("layout", inspect.Parameter.KEYWORD_ONLY, default=None))
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
    values = [args[each] if isinstance(each, int) else kwargs[each] for each in _rotated(args, kwargs)]
    if not all(isinstance(value, Tensor) and value.dim() >= 3 for value in values):
        return {}, None
    names = ("tensor",) if len(values) == 1 else ("q", "k")
    angles = kwargs.get("cos", kwargs.get("freqs", args[len(values)] if len(args) > len(values) else None))
    length = angles.shape[-2] if isinstance(angles, Tensor) and angles.dim() >= 2 else None
    # Beside position_ids angles may be a table, of as many rows as it likes.
    if kwargs.get("position_ids") is not None or any(isinstance(value, Tensor) for value in args[4:]):
        length = None
    return dict(zip(names, values, strict=False)), length


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
        raise refuse(info, args, {**kwargs, "layout": layout}, why)
    return kwargs
