"""What goes on around the loader's own filling of buffers: remember before, put back after."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from ..._utils.ownership import is_custom
from ...errors import RopeBufferError
from .buffers import Remembered, buffers_not_saved, put_back, remember, submodule
from .plausible import fault, is_rotary

__all__ = ["LOADED", "Loaded", "after_filling", "before_filling", "fill_from_twin", "is_loaded"]

logger = logging.getLogger("rope_compat")


class Loaded(NamedTuple):
    """One model that was loaded, and the buffers that were put back."""

    model: str
    buffers: tuple[str, ...]


#: The models that were loaded last, for `rope_compat.status`; names only, which keeps no model alive.
LOADED: deque[Loaded] = deque(maxlen=16)

_pending: WeakKeyDictionary[Any, list[Remembered]] = WeakKeyDictionary()


def before_filling(model: Any, missing: Iterable[str]) -> None:
    """Called when the weights are loaded and the loader is about to replace every unsaved buffer."""
    if is_custom(type(model)):
        remembered = remember(model, frozenset(missing))
        if any(buffer.is_meta for _, _, _, buffer in buffers_not_saved(model)):
            remembered += _from_twin(model)
    elif _has_custom_buffers(model):
        # A native model with a module of somebody else in it: its constructor ran on meta.
        remembered = [entry for entry in _from_twin(model) if is_custom(type(entry.module))]
    else:
        return
    _pending[model] = remembered
    for entry in remembered:
        # The loader's own initialisation has nothing to do in a module without parameters, and fails in
        # rotary modules that are not like transformers' own (KeyError: 'default').
        if is_custom(type(entry.module)) and not entry.module._parameters:
            entry.module._is_hf_initialized = True  # type: ignore[assignment]


def after_filling(model: Any) -> None:
    """Called when the loader has filled and initialised everything: the constructor's values come back.

    Raises:
        RopeBufferError: a rotary buffer is impossible, and there is no value for it.
    """
    remembered = _pending.pop(model, None)
    if remembered is None:
        return
    # Of transformers' own modules the loader has initialised most again.
    native = [entry for entry in remembered if not is_custom(type(entry.module))]
    custom = [entry for entry in remembered if is_custom(type(entry.module))]
    wrong = put_back(custom, compare=False) + put_back(native)
    if wrong:
        _note(model, wrong)
    known = {(id(entry.module), entry.attribute) for entry in remembered}
    for name, module, attribute, value in buffers_not_saved(model):
        if (id(module), attribute) in known or not is_rotary(module, attribute):
            continue
        why = fault(attribute, value) if is_custom(type(module)) else ""
        if why:
            raise RopeBufferError(
                f"{type(model).__name__} was loaded, but its rotary buffer {name} is of no use: {why}, and "
                "its constructor gives it no value. Compute it in the constructor of "
                f"{type(module).__name__}, or set it after loading."
            )


def fill_from_twin(model: Any) -> None:
    """Give unsaved buffers that are on meta the values of a model that is constructed once more.

    For loaders outside transformers (accelerate's `load_checkpoint_in_model`), which leave such buffers.
    """
    if not any(buffer.is_meta for _, _, _, buffer in buffers_not_saved(model)):
        return
    from .twin import build_twin, constructible
    from .unregistered import restore_unregistered

    wrong = []
    for path, inner in constructible(model):
        twin = build_twin(inner)
        entries = [entry for entry in _values_of(twin, inner) if _is_on_meta(entry)]
        wrong += [replace(entry, name=f"{path}.{entry.name}".strip(".")) for entry in put_back(entries)]
        for name, source in twin.named_modules():
            restore_unregistered(inner.get_submodule(name), source)
    if wrong:
        _note(model, wrong)


def is_loaded(module: Any) -> bool:
    """Whether a module has parameters or saved buffers of its own, and all came from the checkpoint.

    The loader marks what it has loaded with `_is_hf_initialized` (core_model_loading.py, 5.0.0).
    """
    saved = [
        buffer
        for name, buffer in module._buffers.items()
        if buffer is not None and name not in module._non_persistent_buffers_set
    ]
    own = [parameter for parameter in module._parameters.values() if parameter is not None]
    flags = [getattr(tensor, "_is_hf_initialized", False) for tensor in (*own, *saved)]
    return bool(flags) and all(flags)


def _is_on_meta(entry: Remembered) -> bool:
    current = entry.module._buffers.get(entry.attribute)
    return current is not None and current.is_meta


def _has_custom_buffers(model: Any) -> bool:
    return any(module._non_persistent_buffers_set and is_custom(type(module)) for module in model.modules())


def _from_twin(model: Any) -> list[Remembered]:
    from .twin import build_twin

    return _values_of(build_twin(model), model)


def _values_of(twin: Any, model: Any) -> list[Remembered]:
    """The buffers of a model that was constructed once more, as values for `model`'s own."""
    found = []
    for name, _, attribute, value in buffers_not_saved(twin):
        module = submodule(model, name.rpartition(".")[0])
        if module is not None and not value.is_meta and attribute in module._buffers:
            found.append(Remembered(name, module, attribute, value))
    return found


def _note(model: Any, entries: Iterable[Remembered]) -> None:
    loaded = Loaded(type(model).__name__, tuple(entry.name for entry in entries))
    LOADED.append(loaded)
    logger.info("%s: put back what the loader had lost: %s", loaded.model, ", ".join(loaded.buffers))
