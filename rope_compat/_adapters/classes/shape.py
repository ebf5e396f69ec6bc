"""What a live rotary class is: the forms of its constructor and of its forward."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

from ..._utils.disguise import native_of

__all__ = ["Shape", "native_of", "parameters", "read_shape", "signature_text"]

#: `tables`: ``(x, seq_len)`` gives the rows of all positions below `seq_len`. `rows`: ``(x, position_ids)``
#: gives one row for each position. `layers`: the same with a ``layer_type``. The others are of vision towers:
#: angles for ``(seqlen)`` or ``(position_ids)``, cos and sin for ``(x, position_ids)``.
Forward = Literal["tables", "rows", "layers", "vision_table", "vision_angles", "vision_rows"]


@dataclass(frozen=True, slots=True)
class Shape:
    """One live rotary class.

    Attributes:
        init: names of the constructor's parameters; empty where it passes everything on.
        forward: which form its forward has; None where it is none that is adapted.
        own: the methods that the class defines itself, not its bases.
        layer_type_is_optional: its forward has a default for ``layer_type``.
        takes_length: its forward has a ``seq_len`` beside ``position_ids``: 4.38.0 to 4.47.1, some models.
    """

    init: tuple[str, ...]
    forward: Forward | None
    own: frozenset[str]
    layer_type_is_optional: bool
    takes_length: bool

    @property
    def constructor(self) -> Literal["config", "dim", "both"] | None:
        """Which form its constructor has; None where it is none that is adapted.

        Text: ``dim`` up to 4.42.4, some to 4.44.2; ``both`` in 4.43.0 to 4.47.1; ``config`` from 4.48.0.
        """
        if self.init[:1] == ("config",):
            return None if "dim" in self.init else "config"
        if self.init[:1] not in (("dim",), ("head_dim",)) or self.init[1:2] == ("config",):
            return None
        return "both" if "config" in self.init else "dim"

    @property
    def is_vision(self) -> bool:
        """Whether it is a vision tower's."""
        return self.forward is not None and self.forward.startswith("vision")


def read_shape(cls: type) -> Shape:
    """Read the live class."""
    own_forward = native_of(getattr(cls, "forward", None))
    init, forward = parameters(native_of(getattr(cls, "__init__", None))), parameters(own_forward)
    defined = vars(cls)
    return Shape(
        init=init,
        forward=_forward(cls.__name__, forward),
        own=frozenset(name for name in ("__init__", "forward") if name in defined),
        layer_type_is_optional=bool(_defaults(own_forward)),
        takes_length="position_ids" in forward and "seq_len" in forward,
    )


def _forward(class_name: str, names: tuple[str, ...]) -> Forward | None:
    if names[:2] == ("x", "seq_len"):
        return "tables"
    is_vision = "Vision" in class_name and "Text" not in class_name
    if names == ("seqlen",) and is_vision:
        return "vision_table"
    if names == ("position_ids",) and is_vision:
        return "vision_angles"
    if names[:2] != ("x", "position_ids"):
        return None
    if "layer_type" in names:
        return "layers"
    return "vision_rows" if is_vision else "rows"


def parameters(function: Any) -> tuple[str, ...]:
    """Parameters of a plain function behind its decorators, without ``self`` and ``*``, ``**``."""
    code = getattr(_undecorated(function), "__code__", None)
    return code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount] if code is not None else ()


def signature_text(method: Any) -> str:
    """The signature of a method without ``self`` and annotations, as far as its code tells it."""
    names, defaults = parameters(method), _defaults(method)
    required = len(names) - len(defaults)
    shown = [*names[:required], *(f"{n}={d!r}" for n, d in zip(names[required:], defaults, strict=False))]
    return f"({', '.join(shown)})"


def _defaults(function: Any) -> tuple[Any, ...]:
    return getattr(_undecorated(function), "__defaults__", None) or ()


def _undecorated(function: Any) -> Any:
    return inspect.unwrap(function) if callable(function) else None
