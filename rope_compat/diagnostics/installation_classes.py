"""Judge the rotary classes of the installation: constructed from the config of their model, at many positions."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..configs.spec import RopeSpec
from ..errors import RopeConfigError
from ..outcome import Item
from ..quiet import reason_of
from ..rotary_classes.shape import Shape, native_of, read_shape
from .expected import Described, describe
from .installation_rope_types import rope_types
from .installation_towers import judge_tower
from .modules import judge
from .units import Unit, layers_of

__all__ = ["Classes"]

_DIM, _LENGTH, _BASE = 32, 4096, 10000.0
_SCALED = {"LinearScaling": "linear", "DynamicNTKScaling": "dynamic"}
_NO_EMBEDDING = "it is no rotary embedding: {what}"
#: Classes whose numbers are not those of their name alone, and why.
_SPECIAL: dict[str, str] = {
    "GemmaLinearScalingRotaryEmbedding": "its forward reads an attribute that nothing sets (4.42.0 to 4.47.1)",
    "Phi3YarnScaledRotaryEmbedding": "YaRN of its own, gone from 4.48.0: one number for the factor of attention",
}


class Classes:
    """Judges classes; an item for each."""

    def __init__(self, release: str | None) -> None:
        self._release = release
        self._rope_types: dict[Any, Any] = {}

    def items(self, label: str, cls: Any) -> Iterator[Item]:
        """What came of one class."""
        reason = _left_out(cls)
        if reason:
            yield Item(label, "class", "skipped", reason)
            return
        try:
            found = list(self._judged(cls, read_shape(cls)))
        except Exception as error:
            found = [Item("", "class", "skipped", f"it cannot be constructed here: {reason_of(error)}")]
        yield _together(label, found)

    def _judged(self, cls: Any, shape: Shape) -> Iterator[Item]:
        if shape.constructor == "dim":
            yield from _by_dim(cls, shape)
            return
        config_class = _config_class(cls)
        if config_class is None:
            yield Item("", "class", "skipped", "the class of its config cannot be told")
            return
        config = config_class()
        if shape.forward in ("rows", "layers", "tables"):
            module = cls(config)
            yield from _of_config(module, config)
            for name, other in rope_types(config_class, self._release):
                try:
                    scaled = cls(other)
                except Exception:
                    continue  # a class without rope types
                yield from (
                    replace(item, reason=f"rope_type {name}: {item.reason}" if item.reason else name)
                    for item in _of_config(scaled, other)
                )
        else:
            yield judge_tower(cls, config, shape)


def _of_config(module: nn.Module, config: Any) -> Iterator[Item]:
    """An embedding of text positions against its config, for each type of layers."""
    spec = RopeSpec.of(config)
    nested = layers_of(module)
    for layer_type in nested or [None]:
        try:
            described = describe(config, spec, layer_type)
        except RopeConfigError as error:
            yield Item("", "class", "skipped", f"its config cannot be judged: {error}")
            continue
        unit = Unit("", module, layer_type, described, by_type=bool(nested))
        yield from judge(unit, torch.float32)[0]


def _by_dim(cls: Any, shape: Shape) -> Iterator[Item]:
    """A class of 4.x that takes the size of a head, and no config."""
    if shape.forward not in ("rows", "tables"):
        yield judge_tower(cls, None, shape)
        return
    rope_type = next((kind for word, kind in _SCALED.items() if word in cls.__name__), "default")
    names: dict[str, Any] = {"max_position_embeddings": _LENGTH, "base": _BASE}
    if rope_type != "default":
        names["scaling_factor"] = 4.0
    taken = inspect.signature(cls.__init__).parameters
    passes_on = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    module = cls(_DIM, **{name: value for name, value in names.items() if passes_on or name in taken})
    spec = RopeSpec(theta=_BASE, rope_type=rope_type, parameters={"factor": 4.0} if rope_type != "default" else {})
    described = Described(spec, _DIM, _DIM, _LENGTH, _LENGTH, {})
    yield from judge(Unit("", module, None, described), torch.float32)[0]


def _config_class(cls: Any) -> Any:
    """The class of the config that the constructor is annotated with."""
    constructor = native_of(cls.__init__)
    try:
        found = typing.get_type_hints(constructor).get("config")
    except Exception:
        found = getattr(constructor, "__annotations__", {}).get("config")
    for each in (found, *typing.get_args(found)):
        if isinstance(each, type) and hasattr(each, "to_dict"):
            return each
    module = inspect.getmodule(cls)
    configs = {
        value
        for name, value in vars(module).items()
        if isinstance(value, type) and name.endswith("Config") and hasattr(value, "model_type") and value.model_type
    }
    own = [each for each in configs if _folder(each) == _folder(cls)]
    return own[0] if len(own) == 1 else None


def _folder(cls: type) -> str:
    return cls.__module__.rpartition(".")[0]


def _left_out(cls: Any) -> str:
    if not isinstance(cls, type):
        return f"it is {type(cls).__name__}, not a class"
    if not issubclass(cls, nn.Module):
        return _NO_EMBEDDING.format(what="it has no tensors")
    name = cls.__name__
    if "Attention" in name:
        return _NO_EMBEDDING.format(what="an attention, whose rotary functions are verified")
    if "RelativePositionalBias" in name:
        return _NO_EMBEDDING.format(what="a bias of attention, with weights of its own")
    return _SPECIAL.get(name, "")


def _together(label: str, found: list[Item]) -> Item:
    """One item for a class: what is wrong, or the error that comes nearest to its tolerance."""
    wrong = [item for item in found if item.status == "wrong"]
    right = [item for item in found if item.status in ("ok", "note")]
    if wrong:
        reason = f"{wrong[0].name}: {wrong[0].reason}".lstrip(": ")
        return replace(wrong[0], name=label, kind="class", reason=reason)
    if not right:
        return replace(found[0], name=label, kind="class")
    types = [item.reason for item in right if item.reason]
    worst = max(right, key=lambda item: item.max_error or 0.0)
    return replace(worst, name=label, kind="class", reason="; ".join(dict.fromkeys(types)))


