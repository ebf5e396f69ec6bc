"""Judge the rotary classes of the installation, constructed from the config of their model."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..._adapters.classes.shape import Shape, native_of, read_shape
from ..._outcome import Item
from ..._utils.imports import reason_of
from ...configs.spec import RopeSpec
from ...errors import RopeCompatError, RopeConfigError
from ..model.embedding import judge, wrapped
from ..model.embeddings import Unit, layers_of
from ..model.expected import Described, describe
from ..model.probe import Asker
from .half_precision import half_precision
from .rope_types import EVEN, rope_types
from .vision_classes import judge_tower

__all__ = ["Classes"]

_DIM, _LENGTH, _BASE = 32, 4096, 10000.0
_SCALED = {"LinearScaling": "linear", "DynamicNTKScaling": "dynamic"}
_NO_EMBEDDING = "it is no rotary embedding: {what}"
#: Classes whose numbers are not those of their name alone, and why.
_SPECIAL: dict[str, str] = {
    "GemmaLinearScalingRotaryEmbedding": "forward reads an attribute that nothing sets (4.42 to 4.47.1)",
    "Phi3YarnScaledRotaryEmbedding": "YaRN of its own, gone from 4.48.0",
    "PixtralRotaryEmbedding": "frequencies of two axes, in an order of its own",
    "PixtralVisionRotaryEmbedding": "frequencies of two axes, in an order of its own",
    "Ernie4_5_VLMoeTextRotaryEmbedding": "its frequencies are sorted by axes, in an order of its own",
    "Ernie4_5_VL_MoeTextRotaryEmbedding": "its frequencies are sorted by axes, in an order of its own",
    "EfficientLoFTRRotaryEmbedding": "positions of pixels, in an order of its own",
    "Dots3NoteTextRotaryEmbedding": "the sizes of its heads by type of layers are in fields of its own",
}
#: What is wrong in transformers itself: class, fault, and what is known. It is worth knowing, and no news.
_PARTIAL = (
    "transformers itself: with the config's defaults its partial_rotary_factor does not reach the class"
)
_KNOWN: dict[tuple[str, str], str] = {
    ("BambaRotaryEmbedding", "partial"): _PARTIAL,
    (
        "LlamaDynamicNTKScalingRotaryEmbedding",
        "scaling",
    ): "transformers itself: tables of cos_cached, which "
    "forward does not use, are divided by the factor (4.38.2)",
    ("RecurrentGemmaRotaryEmbedding", "partial"): _PARTIAL,
    (
        "JetMoeRotaryEmbedding",
        "dim",
    ): "transformers itself: from 4.48.0 the size of a head is taken as hidden_size / "
    "num_attention_heads, which is not the model's kv_channels",
    (
        "MiniMaxM3VLRotaryEmbedding",
        "partial",
    ): "transformers itself: the config's rotary_dim is not read, only a "
    "partial_rotary_factor in rope_parameters is, which the defaults lack",
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
        is_scaled = any(word in cls.__name__ for word in _SCALED)
        if is_scaled or shape.constructor == "dim" or {"dim", "base"} <= set(shape.init[1:]):
            yield from _by_dim(cls, shape)
            return
        module, config = _constructed(cls, shape)
        if module is None:
            yield Item("", "class", "skipped", "it can be constructed from no config of its model's defaults")
        elif shape.forward in ("rows", "layers", "tables"):
            yield from _of_config(module, config)
            for name, other in rope_types(config, self._release):
                yield from _of_rope_type(cls, shape, name, other)
        else:
            yield judge_tower(module, config, shape)


def _of_rope_type(cls: Any, shape: Shape, name: str, config: Any) -> Iterator[Item]:
    """Nothing where the class knows no rope types, or not this one."""
    try:
        module = _make(cls, shape, config)
    except Exception:
        return
    if getattr(module, "rope_type", None) == name:
        for item in _of_config(module, config):
            yield replace(item, reason=f"rope_type {name}: {item.reason}" if item.status == "wrong" else name)


def _of_config(module: nn.Module, config: Any) -> Iterator[Item]:
    """An embedding of text positions against its config, for each type of layers."""
    spec = RopeSpec.of(config)
    nested = layers_of(module)
    # One module for each type of layers up to 4.57: without a name it is that of full attention.
    unnamed: list[str | None] = ["full_attention" if spec.layers else None]
    for layer_type in nested or unnamed:
        try:
            described = _described(config, spec, layer_type)
        except RopeConfigError as error:
            yield Item("", "class", "skipped", f"its config cannot be judged: {error}")
            continue
        unit = Unit("", module, layer_type, described, by_type=bool(nested))
        yield from _of_unit(unit)


def _of_unit(unit: Unit) -> Iterator[Item]:
    """In float32 against the exact numbers, in half precision against the rounded ones of float32."""
    items = list(judge(unit, torch.float32)[0])
    if any("too many indices" in item.reason for item in items) and unit.described is not None:
        # Qwen2-VL: three positions for each token, whatever the config says about sections.
        parameters = {**unit.described.spec.parameters, "mrope_section": [1]}
        if unit.described.changes_with_length:
            return  # what the length of a text is with three positions is not defined
        spec = replace(unit.described.spec, parameters=parameters)
        unit = replace(unit, described=replace(unit.described, spec=spec))
        items = list(judge(unit, torch.float32)[0])
    if items[0].fault == "scaling-dropped" and unit.described and unit.described.spec.rope_type == "linear":
        items = list(_by_outputs(unit)) or items
    if unit.described is not None and all(item.status == "ok" for item in items):
        farthest = torch.tensor([min(unit.described.length, 2**17) - 1])
        limit = float(unit.described.expected().tolerance(farthest).max())
        items = [replace(item, tolerance=limit) for item in items]
        items += half_precision(unit)
    yield from items


def _by_outputs(unit: Unit) -> Iterator[Item]:
    """Classes of 4.x keep the plain frequencies and divide the positions: what they give counts."""
    given, positions = unit.described, torch.arange(1024)
    if given is None:
        return
    right = given.expected()
    answer = Asker(unit).ask(positions, len(right.inv_freq))
    if answer is not None:
        error = wrapped(answer.phases - positions[:, None] * right.inv_freq).abs()
        if bool((error <= right.tolerance(positions)).all()):
            yield Item("", "class", "ok", max_error=float(error.max()))


def _described(config: Any, spec: RopeSpec, layer_type: str | None) -> Described:
    """As `describe`; Gemma 4's heads of full attention have a size of their own."""
    described = describe(config, spec, layer_type)
    size = _head_dim(config, layer_type)
    if size is None or size == described.head_dim:
        return described
    part = 1.0 if described.spec.rope_type == "proportional" else described.dim / described.head_dim
    return replace(described, head_dim=size, dim=int(size * part))


def _head_dim(config: Any, layer_type: str | None) -> int | None:
    """The size of a head that a config gives for one type of layers apart; None if it gives none."""
    kinds, parts = getattr(config, "layer_types", None), getattr(config, "per_layer_config", None)
    if layer_type is not None and kinds and parts and layer_type in kinds:
        found = getattr(parts[list(kinds).index(layer_type)], "head_dim", None)
    else:
        found = getattr(config, "global_head_dim", None) if layer_type == "full_attention" else None
    return found if isinstance(found, int) else None


def _by_dim(cls: Any, shape: Shape) -> Iterator[Item]:
    """A class of 4.x that takes the size of a head, and no config."""
    if shape.forward not in ("rows", "tables"):
        yield judge_tower(cls(_DIM), None, shape)
        return
    rope_type = next((kind for word, kind in _SCALED.items() if word in cls.__name__), "default")
    names: dict[str, Any] = {"max_position_embeddings": _LENGTH, "base": _BASE}
    if rope_type != "default":
        names["scaling_factor"] = 4.0
    taken = inspect.signature(cls.__init__).parameters
    passes_on = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    names = {name: value for name, value in names.items() if passes_on or name in taken}
    is_beside = shape.init[:1] == ("config",)  # ModernBERT to 4.57
    module = cls(next(_configs(cls)), dim=_DIM, **names) if is_beside else cls(_DIM, **names)
    spec = RopeSpec(
        theta=_BASE, rope_type=rope_type, parameters={"factor": 4.0} if rope_type != "default" else {}
    )
    described = Described(spec, _DIM, _DIM, _LENGTH, _LENGTH, {})
    yield from _of_unit(Unit("", module, None, described))


def _constructed(cls: Any, shape: Shape) -> tuple[Any, Any]:
    """The class with the first config of its model that it takes, and that config; None and None without."""
    for config in _configs(cls):
        even = _even(config)
        try:
            return _make(cls, shape, even), even
        except Exception:
            continue
    return None, None


def _make(cls: Any, shape: Shape, config: Any) -> Any:
    # From 4.43.0 to 4.47.1 Llama's config came after dim, base and others.
    return cls(config=config) if shape.constructor == "both" else cls(config)


def _even(config: Any) -> Any:
    """The config; with heads of another size where its defaults rotate an odd number of channels."""
    try:
        described = describe(config, RopeSpec.of(config))
    except RopeCompatError:
        return config
    if described.dim % 2 == 0:
        return config
    try:
        return type(config)(head_dim=EVEN)
    except Exception:
        return config


def _configs(cls: Any) -> Iterator[Any]:
    """Configs with default values: what the constructor is annotated with, its parts, others of the model."""
    tried: set[type] = set()
    for kind in _config_classes(cls):
        try:
            config = kind()
        except Exception:
            continue
        parts = [
            getattr(config, name, None) for name in ("text_config", "vision_config", "encoder", "decoder")
        ]
        for each in (config, *parts):
            if hasattr(each, "to_dict") and type(each) not in tried:
                tried.add(type(each))
                yield each


def _config_classes(cls: Any) -> Iterator[type]:
    constructor = native_of(cls.__init__)
    try:
        found = typing.get_type_hints(constructor).get("config")
    except Exception:
        found = getattr(constructor, "__annotations__", {}).get("config")
    for each in (found, *typing.get_args(found)):
        if isinstance(each, type) and hasattr(each, "to_dict"):
            yield each
    named = vars(inspect.getmodule(cls))
    others = {value for name, value in named.items() if name.endswith("Config") and isinstance(value, type)}
    own = [each for each in others if _folder(each) == _folder(cls)]
    is_vision = "Vision" in cls.__name__
    yield from sorted(own, key=lambda each: (("Vision" in each.__name__) != is_vision, each.__name__))


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
    known = _KNOWN.get((label.rpartition(":")[2], wrong[0].fault)) if wrong else None
    if known is not None:
        return replace(wrong[0], name=label, kind="class", status="note", reason=known)
    if wrong:
        reason = f"{wrong[0].name}: {wrong[0].reason}".lstrip(": ")
        return replace(wrong[0], name=label, kind="class", reason=reason)
    if not right:
        return replace(found[0], name=label, kind="class")
    types = [item.reason for item in right if item.reason]
    worst = max(right, key=lambda item: item.max_error or 0.0)
    return replace(worst, name=label, kind="class", reason="; ".join(dict.fromkeys(types)))
