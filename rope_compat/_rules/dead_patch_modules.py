"""Rotary modules that somebody puts into attention, where the model has given it cos and sin for long.

``layer.self_attn.rotary_emb = mine`` decided up to 4.42.4 (GPT-NeoX: 4.44.2). Later models compute cos and
sin once, by a rotary module of their own: the assignment is taken, and nothing asks the module.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

from .._patching.edits import SetItem
from .._utils.disguise import native_of
from ..errors import DeadPatchWarning, IncompatibleVersionError
from .dead_patches import is_foreign
from .options import Options

__all__ = ["registrations"]

_TORCH = "torch.nn.modules.module"
_HOOKS = "_global_module_registration_hooks"


def registrations(options: Options, rule: str) -> Iterator[SetItem]:
    """The edit that has torch tell of modules that are put into others."""
    hooks = getattr(sys.modules.get(_TORCH), _HOOKS, None)
    if isinstance(hooks, dict):
        key = (rule, options.on_problem)
        detail = "rotary modules that are put into attention in vain are told"
        yield SetItem(f"{_TORCH}:{_HOOKS}", hooks, "rope_compat", lambda: _hook(options), key, rule, detail)


def _hook(options: Options) -> Callable[[Any, str, Any], None]:
    def tell(owner: Any, name: str, value: Any) -> None:
        if name == "rotary_emb" and value is not None and is_in_vain(owner, value):
            home, line = _caller()
            # To 4.47.1 attention's own constructor makes one, of whatever class stands there.
            if not home.startswith("transformers."):
                _tell(options, owner, value, line)

    return tell


def is_in_vain(owner: Any, value: Any) -> bool:
    """Whether `value`, somebody else's rotary module, is in attention that is given cos and sin."""
    cls = type(owner)
    if not cls.__module__.startswith("transformers.models.") or not is_foreign(type(value)):
        return False
    forward = getattr(cls, "forward", None)
    native = native_of(forward)
    if "forward" in vars(owner) or getattr(native, "__module__", "") != cls.__module__:
        # A forward of somebody else's may well ask for it.
        return False
    return callable(native) and "position_embeddings" in inspect.signature(native).parameters


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
