"""Run a constructor for real where a loader would have it run on the meta device.

From 5.0.0 on ``from_pretrained`` constructs every model under ``torch.device("meta")`` (modeling_utils.py,
`get_init_context`), so tensors that a constructor computes have no values. Here the constructor computes
them on the CPU; parameters, which the checkpoint brings, stay on meta.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

__all__ = ["real_values"]

#: Elements up to which tensors without a value of their own (empty, random) are made for real: larger ones
#: are weights. One of this size takes 4 MiB in fp32, and is freed when it has become a parameter.
LARGEST_UNSET = 2**20

_SET = (
    "arange", "as_tensor", "asarray", "bartlett_window", "blackman_window", "eye", "full", "hamming_window",
    "hann_window", "kaiser_window", "linspace", "logspace", "ones", "range", "scalar_tensor", "tensor",
    "tril_indices", "triu_indices", "zeros",
)  # fmt: skip
_UNSET = ("empty", "empty_strided", "normal", "rand", "randint", "randn", "randperm")


def _functions(module: Any, names: tuple[str, ...]) -> frozenset[Callable[..., Any]]:
    return frozenset(getattr(module, name) for name in names if hasattr(module, name))


_MAKES_VALUES = _functions(torch, _SET) | _functions(torch.fft, ("fftfreq", "rfftfreq"))
_MAKES_SPACE = _functions(torch, _UNSET)


class _RealValues(TorchFunctionMode):
    """Factories without a device make tensors on the CPU, inside of any ``torch.device`` context."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _MAKES_VALUES:
            if kwargs.get("device") is None and not _asks_for_the_device(func, args):
                kwargs["device"] = _device_of(args)
        elif func in _MAKES_SPACE:
            if kwargs.get("device") is None and _elements(args, kwargs) <= LARGEST_UNSET:
                kwargs["device"] = "cpu"
        elif args:
            args = _on_one_device(func, args)
        return func(*args, **kwargs)


def _asks_for_the_device(func: Any, args: tuple[Any, ...]) -> bool:
    """``torch.tensor([])`` is how transformers asks which device context it is in.

    modeling_utils.py, get_torch_context_manager_or_global_device (since 4.50).
    """
    return func is torch.tensor and len(args) == 1 and isinstance(args[0], list) and not args[0]


def _device_of(args: tuple[Any, ...]) -> Any:
    """The device of a tensor that `as_tensor` is given, else the CPU."""
    return args[0].device if args and isinstance(args[0], torch.Tensor) else "cpu"


def _elements(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """How many elements a call of a factory asks for; too many, where that cannot be told."""
    total = 1
    sizes = (*args, kwargs.get("size", ()))
    for size in sizes:
        for length in size if isinstance(size, (list, tuple)) else (size,):
            if not isinstance(length, int):
                return LARGEST_UNSET + 1
            total *= max(length, 1)
    return total


def _on_one_device(func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments, on meta if one of them is: parameters are there, and what is computed from them."""
    is_real = is_meta = False
    for value in args:
        for tensor in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(tensor, torch.Tensor):
                is_meta, is_real = is_meta or tensor.is_meta, is_real or not tensor.is_meta
    if not (is_meta and is_real) or _writes_to_the_first(func, args):
        return args
    return tuple(_to_meta(value) for value in args)


def _writes_to_the_first(func: Any, args: tuple[Any, ...]) -> bool:
    name = getattr(func, "__name__", "")
    writes = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
    return writes and isinstance(args[0], torch.Tensor)


def _to_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value if value.is_meta else value.to("meta")
    if isinstance(value, (list, tuple)) and any(isinstance(item, torch.Tensor) for item in value):
        moved = [_to_meta(item) for item in value]
        return moved if isinstance(value, list) else tuple(moved)
    return value


def _parameters_to_meta() -> Callable[[Any, str, Any], Any]:
    """A registration hook for this thread's constructors; one parameter stays one under two names."""
    thread = threading.get_ident()
    known: dict[int, tuple[weakref.ref[Any], torch.nn.Parameter]] = {}

    def hook(module: Any, name: str, parameter: Any) -> Any:
        if parameter is None or parameter.is_meta or threading.get_ident() != thread:
            return None
        seen = known.get(id(parameter))
        if seen is not None and seen[0]() is parameter:
            return seen[1]
        moved = torch.nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
        moved.__dict__.update(parameter.__dict__)
        known[id(parameter)] = (weakref.ref(parameter), moved)
        return moved

    return hook


@contextmanager
def real_values() -> Iterator[None]:
    """Constructors in the body compute their tensors on the CPU; parameters end up on meta.

    Does nothing where the device context is not meta. The state of the random generator is that of before
    when the body is done: on meta nothing would have been drawn.
    """
    if torch.empty(0).device.type != "meta":
        yield
        return
    handle = register_module_parameter_registration_hook(_parameters_to_meta())
    state = torch.get_rng_state()
    try:
        with _RealValues():
            yield
    finally:
        torch.set_rng_state(state)
        handle.remove()
