"""Run a model on one repeated token and catch what its attention multiplies: q and k, rotated.

Every position has the same token, and each attention is given the first position's hidden state for all
positions, so before the rotation q is the same everywhere: what differs between positions is the rotation.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ...configs.reading import plain_fields
from .embeddings import Unit, gives_sin_first, real

__all__ = ["LENGTH", "Caught", "Run", "permuted", "run"]

#: Positions of a run: a prime, which no head is as large as.
LENGTH = 13
_ATTENTION = re.compile(r"attention|attn", re.IGNORECASE)
_STEPS = ((5, 3), (7, 1), (4, 2))


def permuted(axis: int = 0) -> Tensor:
    """The positions below `LENGTH` in another order, for one axis of multimodal positions."""
    step, start = _STEPS[axis]
    return (torch.arange(LENGTH) * step + start) % LENGTH


@dataclass(frozen=True)
class Caught:
    """q and k of one attention, float64 ``[heads, positions, head_dim]``."""

    q: Tensor
    k: Tensor


@dataclass
class Run:
    """What was caught, by the path of the attention, in the order in which it ran; what each was given."""

    caught: dict[str, Caught] = field(default_factory=dict)
    hidden: dict[str, Tensor] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32


class _Catching(TorchFunctionMode):
    """Looks at the first product of two tensors over all positions in each attention."""

    def __init__(self, inside: list[str], found: Run) -> None:
        super().__init__()
        self._inside = inside
        self._found = found

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._inside and self._inside[-1] not in self._found.caught:
            caught = _operands(func, args, kwargs)
            if caught is not None:
                self._found.dtype = caught[0].dtype
                self._found.caught[self._inside[-1]] = Caught(_heads(caught[0]), _heads(caught[1]))
        return func(*args, **kwargs)


def _heads(value: Tensor) -> Tensor:
    return real(value).reshape(-1, *value.shape[-2:]).clone()


_PRODUCTS = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm}
_SUMS = {torch.baddbmm, Tensor.baddbmm, torch.einsum}


def _operands(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tensor, Tensor] | None:
    """q and k, both ``[..., positions, head_dim]``, if this is a product of them."""
    if func is functional.scaled_dot_product_attention:
        q = args[0] if args else kwargs.get("query")
        k = args[1] if len(args) > 1 else kwargs.get("key")
    elif func in _PRODUCTS and len(args) == 2:
        q, k = args
        k = k.transpose(-1, -2) if isinstance(k, Tensor) and k.dim() > 2 else None
    elif func in _SUMS and len(args) >= 3:
        q, k = args[1:3]
        is_sum = func is not torch.einsum
        k = k.transpose(-1, -2) if is_sum and isinstance(k, Tensor) and k.dim() > 2 else k
    else:
        return None
    if not (isinstance(q, Tensor) and isinstance(k, Tensor) and q.dim() > 2 and k.dim() > 2):
        return None
    fits = q.shape[-2] == k.shape[-2] == LENGTH and q.shape[-1] == k.shape[-1] != LENGTH
    return (q, k) if fits and q.is_floating_point() else None


def run(
    model: nn.Module, positions: Tensor | None, identity: tuple[Unit, ...] = (), earlier: Run | None = None
) -> Run:
    """Run a model once.

    Args:
        model: a text model, or one that reads text alone.
        positions: ``position_ids`` without the batch axis, or None to leave that to the model.
        identity: rotary modules that are to give cosines of 1 and sines of 0.
        earlier: a run whose hidden states attention is given again, so that q and k can be compared.

    Raises:
        Exception: whatever the model raises.
    """
    found = Run(hidden=dict(earlier.hidden) if earlier is not None else {})
    inside: list[str] = []
    with ExitStack() as stack, torch.no_grad():
        stack.enter_context(_evaluating(model))
        for path, module in model.named_modules():
            if _ATTENTION.search(type(module).__name__):
                stack.enter_context(_watched(module, path, inside, found.hidden))
        for unit in identity:
            stack.enter_context(_hooked(unit.module.register_forward_hook(_no_rotation)))
        stack.enter_context(_Catching(inside, found))
        model(**_inputs(model, positions))
    return found


@contextmanager
def _hooked(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    state = torch.get_rng_state()
    for module in training:
        module.training = False
    try:
        yield
    finally:
        torch.set_rng_state(state)
        for module in training:
            module.training = True


@contextmanager
def _watched(module: nn.Module, path: str, inside: list[str], hidden: dict[str, Tensor]) -> Iterator[None]:
    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inside.append(path)
        return _same_everywhere(args, kwargs, lambda value: hidden.setdefault(path, _first(value)))

    def leave(_: nn.Module, args: Any, output: Any) -> None:
        inside.remove(path)

    before = module.register_forward_pre_hook(enter, with_kwargs=True)
    after = module.register_forward_hook(leave, always_call=True)
    try:
        yield
    finally:
        before.remove()
        after.remove()


def _same_everywhere(args: tuple[Any, ...], kwargs: dict[str, Any], same: Callable[[Tensor], Tensor]) -> Any:
    """The arguments, with the same hidden state at all positions."""
    if _is_hidden(kwargs.get("hidden_states")):
        return args, {**kwargs, "hidden_states": same(kwargs["hidden_states"])}
    if args and _is_hidden(args[0]):
        return (same(args[0]), *args[1:]), kwargs
    return args, kwargs


def _is_hidden(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and value.dim() == 3
        and value.shape[1] == LENGTH
        and (value.is_floating_point())
    )


def _first(hidden: Tensor) -> Tensor:
    return hidden[:, :1].expand_as(hidden).contiguous()


def _no_rotation(module: nn.Module, args: Any, output: Any) -> Any:
    if isinstance(output, Tensor) and output.is_complex():
        return torch.ones_like(output)
    if isinstance(output, tuple) and len(output) == 2 and all(isinstance(x, Tensor) for x in output):
        still = torch.ones_like(output[0]), torch.zeros_like(output[1])
        return still[::-1] if gives_sin_first(type(module)) else still
    return output


def _inputs(model: nn.Module, positions: Tensor | None) -> dict[str, Any]:
    device = next((p.device for p in model.parameters() if not p.is_meta), torch.device("cpu"))
    names = inspect.signature(_behind(model)).parameters
    ids = torch.full((1, LENGTH), _token(model), device=device)
    given: dict[str, Any] = {"input_ids": ids}
    if "attention_mask" in names:
        given["attention_mask"] = torch.ones_like(ids)
    if "use_cache" in names:
        given["use_cache"] = False
    if positions is not None:
        if "position_ids" not in names:
            raise TypeError("its forward takes no position_ids")
        rows = positions.to(device)
        given["position_ids"] = rows[None] if rows.dim() == 1 else rows[:, None]
    return given


def _behind(model: nn.Module) -> Callable[..., Any]:
    forward: Callable[..., Any] = type(model).forward
    return forward


def _token(model: nn.Module) -> int:
    """A token that stands for nothing but itself."""
    special: set[int] = set()
    config = getattr(model, "config", None)
    for source in (config, getattr(config, "text_config", None)):
        for name, value in plain_fields(source).items() if source is not None else ():
            if name.endswith(("token_id", "token_ids", "token_index")):
                special.update(value if isinstance(value, (list, tuple)) else [value])
    return next(number for number in range(3, 1000) if number not in special)
