"""Rotary modules that somebody puts into attention, where the model has given it cos and sin for long.

``layer.self_attn.rotary_emb = mine`` decided up to 4.42.4 (GPT-NeoX: 4.44.2). Later models compute cos and
sin once, by a rotary module of their own: the assignment is taken, and nothing asks the module.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, ModuleType
from typing import Any

from .._patching.edits import Assign, Resolve
from .._patching.references import own_classes
from .._utils.disguise import native_of
from ..errors import DeadPatchWarning, IncompatibleVersionError
from .dead_patches import is_foreign
from .options import Options

__all__ = ["assignments"]

_TORCH = "torch.nn.modules.module"
_SETS, _MARK = "__setattr__", "__rope_compat_tells__"


def assignments(options: Options, rule: str, module: ModuleType, resolve: Resolve) -> Iterator[Assign]:
    """Edits that have attention which is given cos and sin tell of rotary modules that are put into it.

    On these classes, and not by a registration hook of torch's, which would be asked about every module that
    is put into any other in the process.
    """
    for name, cls in own_classes(module):
        if name != cls.__name__ or not _is_attention(cls) or any(map(_is_attention, cls.__mro__[1:])):
            # What a base class tells is told of its subclasses.
            continue
        if _SETS not in vars(cls) or hasattr(vars(cls)[_SETS], _MARK):
            target = f"{module.__name__}:{name}.{_SETS}"
            make, key = partial(_telling, options, cls), (rule, options.on_problem)
            detail = "rotary modules that are put into attention in vain are told"
            yield Assign(target, cls, _SETS, make, key, rule, detail)


def _telling(options: Options, cls: type[Any]) -> Callable[[Any, str, Any], None]:
    def __setattr__(self: Any, name: str, value: Any) -> None:  # noqa: N807
        if name == "rotary_emb" and value is not None and is_in_vain(self, value):
            home, line = _caller()
            # To 4.47.1 attention's own constructor makes one, of whatever class stands there.
            if not home.startswith("transformers."):
                _tell(options, self, value, line)
        super(cls, self).__setattr__(name, value)

    setattr(__setattr__, _MARK, True)
    __setattr__.__module__, __setattr__.__qualname__ = cls.__module__, f"{cls.__qualname__}.{_SETS}"
    return __setattr__


def _is_attention(cls: type[Any]) -> bool:
    is_named = cls.__name__.endswith(("Attention", "Attention2"))
    return is_named and cls.__module__.startswith("transformers.models.") and _is_given(cls)


def _is_given(cls: Any) -> bool:
    """Whether attention's own ``forward`` takes ``position_embeddings``, by its code: there are hundreds."""
    native = native_of(getattr(cls, "forward", None))
    code = getattr(inspect.unwrap(native) if callable(native) else None, "__code__", None)
    if not isinstance(code, CodeType):
        return False
    return "position_embeddings" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def is_in_vain(owner: Any, value: Any) -> bool:
    """Whether `value`, somebody else's rotary module, is in attention that is given cos and sin."""
    cls = type(owner)
    if not cls.__module__.startswith("transformers.models.") or not is_foreign(type(value)):
        return False
    native = native_of(getattr(cls, "forward", None))
    if "forward" in vars(owner) or getattr(native, "__module__", "") != cls.__module__:
        # A forward of somebody else's may well ask for it.
        return False
    return _is_given(cls)


def _tell(options: Options, owner: Any, value: Any, line: str) -> None:
    target = f"{type(owner).__module__}:{type(owner).__name__}.rotary_emb"
    message = (
        f"{target}: {type(value).__qualname__} ({line}) was assigned to it, without effect: the model "
        "computes cos and sin with a rotary_emb of its own, and hands them to attention as "
        "position_embeddings. Assign to the model's rotary_emb"
    )
    if options.on_problem == "error":
        raise IncompatibleVersionError(message)
    if options.on_problem == "warn":
        from .._environment import announce

        announce(message, DeadPatchWarning)


def _caller() -> tuple[str, str]:
    """The module that made the assignment, past torch and this one, and its line."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in (_TORCH, __name__):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "")), f"{frame.f_code.co_filename}:{frame.f_lineno}"
