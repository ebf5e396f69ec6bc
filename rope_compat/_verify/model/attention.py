"""Attention of a model: are q and k rotated alike, by the angles that the config means?"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..._adapters.attention.owner import layer_type_of
from ..._facts.conventions import Convention, convention_of
from ..._facts.functions import FAMILIES
from ..._outcome import Item
from ..._utils.disguise import native_of
from ..._utils.imports import reason_of
from ..._utils.ownership import is_custom
from ...errors import RopeConfigError
from ...rotary import exact
from .capture_qk import LENGTH, Caught, Run, permuted, run
from .embedding import UNDECLARED, is_own_choice
from .embeddings import Settings, Unit
from .expected import Described, Expected
from .frequency_faults import Cause, advice_for
from .rotation_faults import Rotation, axes, cause_of, chord, structures

__all__ = ["judge_attention"]

#: Names of functions that turn q and k.
_TURNING = frozenset(family.name for family in FAMILIES if "apply_rotary" in family.name)


@dataclass(frozen=True, eq=False)
class _Layer:
    """One attention that was run, and what its config means."""

    path: str
    module: nn.Module
    given: Described
    expected: Expected
    #: None where the code is not transformers' own: then it is the checkpoints' own affair.
    convention: Convention | None


def judge_attention(model: nn.Module, settings: Settings, units: list[Unit]) -> Iterator[Item]:
    """One item for each attention, or one that says why none could be looked at."""
    name = type(model).__name__
    try:
        plain = run(model, None)
    except Exception as error:
        yield Item(name, "attention", "skipped", f"the model could not be run: {reason_of(error)}")
        return
    layers = list(_layers(model, settings, plain))
    if not layers:
        reason = "no product of q and k was seen in a layer that the config speaks of"
        yield Item(name, "attention", "skipped", reason)
        return
    base = _attempt(model, tuple(units), plain)
    moved, reason = _moved(model, layers, plain)
    still = [layer for layer in layers if _is_still(layer, plain)]
    for layer in layers:
        if layer not in still:
            yield from _judge(layer, plain, base, moved, reason)
        elif len(still) < len(layers):
            reason = "neither q nor k is rotated here; some models mean that for some of their layers"
            yield Item(layer.path, "attention", "skipped", reason)
        else:
            words = "neither q nor k is rotated"
            yield Item(
                layer.path, "attention", "wrong", words, fault="not-applied", advice=advice_for("not-applied")
            )


def _is_still(layer: _Layer, plain: Run) -> bool:
    return not _turns(plain.caught[layer.path], _tolerance(layer, plain.dtype))


def _attempt(model: nn.Module, identity: tuple[Unit, ...], plain: Run) -> Run | None:
    try:
        return run(model, None, identity, plain)
    except Exception:
        return None


def _layers(model: nn.Module, settings: Settings, seen: Run) -> Iterator[_Layer]:
    modules = dict(model.named_modules())
    for path in seen.caught:
        config = settings.config_of(path)
        if config is None or getattr(config, "alibi", False):
            continue
        given, _ = settings.described(path, None)
        if given is None:
            given, _ = settings.described(path, _kind(modules[path]))
        if given is None:
            continue
        try:
            expected = given.expected()
        except RopeConfigError:
            continue
        yield _Layer(path, modules[path], given, expected, _convention(type(modules[path])))


def _convention(attention: type) -> Convention | None:
    """What transformers means by the rotation in an attention of its own: by the function that it calls."""
    for cls in attention.__mro__:
        parts = cls.__module__.split(".")
        if is_custom(cls):
            return None
        if parts[:2] == ["transformers", "models"] and len(parts) > 2:
            forward = getattr(attention, "forward", None)
            native = native_of(forward)
            code = getattr(inspect.unwrap(native), "__code__", None) if callable(native) else None
            called = getattr(code, "co_names", ())
            names = [name for name in called if name in _TURNING]
            release = getattr(sys.modules.get("transformers"), "__version__", None)
            return convention_of(parts[2], names[0] if names else "apply_rotary_pos_emb", release)
    return None


def _kind(module: nn.Module) -> str | None:
    known = layer_type_of(module)
    sliding = vars(module).get("is_sliding")
    if known is None and sliding is not None:
        return "sliding_attention" if sliding else "full_attention"
    return known


def _moved(model: nn.Module, layers: list[_Layer], plain: Run) -> tuple[Run | None, str]:
    """A run with positions in another order, on three axes where the model has these."""
    sections = any("mrope_section" in layer.given.spec.parameters for layer in layers)
    positions = torch.stack([permuted(axis) for axis in range(3)]) if sections else permuted()
    try:
        return run(model, positions, earlier=plain), ""
    except Exception as error:
        return None, reason_of(error)


def _judge(layer: _Layer, plain: Run, base: Run | None, moved: Run | None, reason: str) -> Iterator[Item]:
    yield from _mscale(layer)
    default = torch.arange(LENGTH, dtype=torch.float64)
    caught = plain.caught[layer.path]
    origin = _origin(layer, caught, base, plain.dtype)
    chosen, problem = _compare(layer, caught, origin, _phases(layer, default), plain.dtype)
    if problem is not None:
        yield problem
        return
    if moved is not None and layer.path in moved.caught:
        phases = _phases_of_axes(layer)
        _, problem = _compare(layer, moved.caught[layer.path], origin, phases, moved.dtype, chosen)
        if problem is not None:
            yield _sections(layer, moved.caught[layer.path], origin, problem, moved.dtype)
            return
    tolerance = _tolerance(layer, plain.dtype)
    words = "" if moved is not None else f"with the model's own positions only: {reason}"
    error = _error(layer, caught, origin, _phases(layer, default), chosen)
    yield Item(layer.path, "attention", "ok", words, error, tolerance)


def _mscale(layer: _Layer) -> Iterator[Item]:
    """DeepSeek multiplies attention's scaling by the square of yarn's mscale (modeling_deepseek_v3.py)."""
    parameters = layer.given.spec.parameters
    all_dim, factor = parameters.get("mscale_all_dim"), parameters.get("factor")
    width = getattr(layer.module, "qk_head_dim", getattr(layer.module, "q_head_dim", None))
    scaling = getattr(layer.module, "scaling", getattr(layer.module, "softmax_scale", None))
    if not (all_dim and factor and isinstance(width, int) and isinstance(scaling, float)):
        return
    right = width**-0.5 * exact.mscale(factor, all_dim) ** 2
    if abs(scaling - right) > 1e-6 * right:
        words = f"attention's scaling is {scaling:.6g} instead of {right:.6g}"
        yield Item(layer.path, "attention", "wrong", words, fault="mscale", advice=advice_for("mscale"))


def _origin(layer: _Layer, caught: Caught, base: Run | None, dtype: torch.dtype) -> Caught:
    """q and k without rotation, ``[heads, 1, d]``: where no rotary module can be stopped, at position 0."""
    still = base.caught.get(layer.path) if base is not None else None
    if still is None or _turns(still, _tolerance(layer, dtype)):
        return Caught(caught.q[:, :1], caught.k[:, :1])
    return Caught(still.q[:, :1], still.k[:, :1])


def _turns(caught: Caught, tolerance: float) -> bool:
    """Whether q or k differs between positions."""
    return any(float(chord(x[:, :1].expand_as(x), x).max()) > tolerance for x in (caught.q, caught.k))


def _tolerance(layer: _Layer, dtype: torch.dtype) -> float:
    """In units of a typical channel: rounding of q and k, of the rotation, and of the largest phase.

    A channel may be four times as large as a typical one, and is the sum of two products.
    """
    unit = torch.finfo(dtype).eps
    return 32 * unit + 8 * LENGTH * layer.expected.relative


def _phases(layer: _Layer, positions: Tensor) -> Tensor:
    return positions[:, None] * _speeds(layer)


def _speeds(layer: _Layer) -> Tensor:
    """Radians a position, negative where the model turns against the common direction (NanoChat)."""
    return layer.expected.inv_freq * (layer.convention.direction if layer.convention is not None else 1)


def _phases_of_axes(layer: _Layer, kinds: Tensor | None = None) -> Tensor:
    """Phases of the permuted positions; of the axis that each pair belongs to, where there are several."""
    sections = layer.given.spec.parameters.get("mrope_section")
    if not sections:
        return _phases(layer, permuted().double())
    pairs = len(layer.expected.inv_freq)
    if kinds is None:
        interleaved = bool(layer.given.spec.parameters.get("mrope_interleaved"))
        kinds = axes(list(sections), pairs, interleaved=interleaved)
    rows = torch.stack([permuted(axis).double() for axis in range(3)])
    return rows[kinds].T * _speeds(layer)


def _compare(
    layer: _Layer,
    caught: Caught,
    origin: Caught,
    phases: Tensor,
    dtype: torch.dtype,
    chosen: Rotation | None = None,
) -> tuple[Rotation | None, Item | None]:
    """The rotation that explains q and k, or what is wrong."""
    tolerance, factor = _tolerance(layer, dtype), layer.expected.factor
    candidates = [chosen] if chosen else structures(caught.q.shape[-1], phases.shape[-1])
    fitting = [
        one
        for one in candidates
        if all(
            float(chord(one.apply(before, phases, factor), after).max()) <= tolerance
            for before, after in ((origin.q, caught.q), (origin.k, caught.k))
        )
    ]
    known = layer.convention
    right = [one for one in fitting if known is None or one.pairing == known.pairing]
    if right:
        return right[0], None
    if fitting:
        words = f"heads are paired {fitting[0].pairing}, which checkpoints of this model are not made for"
        return None, _wrong(layer, Cause("pairing", words), caught, origin, phases)
    for part, before, after in (("q", origin.q, caught.q), ("k", origin.k, caught.k)):
        if any(
            float(chord(one.apply(before, phases, factor), after).max()) <= tolerance for one in candidates
        ):
            continue
        cause = cause_of(after, before, phases, layer.expected.inv_freq, factor, tolerance)
        if cause is None:
            cause = Cause("relative-distance", "it is not turned by angles that grow with the position")
        if cause.fault == "attention-factor" and is_own_choice(layer.given, type(layer.module)):
            words = f"{cause.words}; {UNDECLARED}"
            return None, Item(layer.path, "attention", "note", words, fault=cause.fault)
        cause = Cause(cause.fault, f"{part}: {cause.words}")
        return None, _wrong(layer, cause, caught, origin, phases)
    cause = Cause("relative-distance", "q and k are rotated in different ways")
    return None, _wrong(layer, cause, caught, origin, phases)


def _sections(layer: _Layer, caught: Caught, origin: Caught, problem: Item, dtype: torch.dtype) -> Item:
    """A finding about multimodal positions, where it is one."""
    sections = layer.given.spec.parameters.get("mrope_section")
    if not sections:
        return problem
    words = "the axes of multimodal positions are merged in another way than mrope_section says"
    phases = _phases_of_axes(layer)
    for kinds, found in _merged_otherwise(list(sections), phases.shape[-1]):
        _, other = _compare(layer, caught, origin, _phases_of_axes(layer, kinds), dtype)
        if other is None:
            words = found
            break
    return _wrong(layer, Cause("sections", words), caught, origin, phases)


def _merged_otherwise(sections: list[int], pairs: int) -> Iterator[tuple[Tensor, str]]:
    yield torch.zeros(pairs, dtype=torch.long), "only the first axis of positions is used"
    doubled = [2 * size for size in sections]
    yield axes(doubled, pairs, interleaved=False), "mrope_section is doubled"
    yield axes(sections[::-1], pairs, interleaved=False), "mrope_section is read backwards"
    for is_interleaved in (True, False):
        word = "interleaved" if is_interleaved else "contiguous"
        yield axes(sections, pairs, interleaved=is_interleaved), f"sections are {word}"


def _wrong(layer: _Layer, cause: Cause, caught: Caught, origin: Caught, phases: Tensor) -> Item:
    error = _errors(layer, caught, origin, phases, None)
    largest = float(error.max())
    position = int((error >= largest * (1 - 1e-9)).nonzero()[0])
    return Item(
        layer.path, "attention", "wrong", cause.words, largest, _tolerance(layer, torch.float32), cause.fault,
        position, advice_for(cause.fault),
    )  # fmt: skip


def _error(layer: _Layer, caught: Caught, origin: Caught, phases: Tensor, chosen: Rotation | None) -> float:
    return float(_errors(layer, caught, origin, phases, chosen).max())


def _errors(layer: _Layer, caught: Caught, origin: Caught, phases: Tensor, chosen: Rotation | None) -> Tensor:
    """Radians by which q is off the nearest right rotation, for each position, taken over the whole part."""
    width, pairs = caught.q.shape[-1], phases.shape[-1]
    candidates = [chosen] if chosen is not None else structures(width, pairs)
    best: Tensor | None = None
    for one in candidates:
        predicted = one.apply(origin.q, phases, layer.expected.factor)
        gap = (predicted - caught.q).norm(dim=-1)
        size = predicted.norm(dim=-1).clamp_min(1e-12)
        error = (2 * torch.asin((gap / size / 2).clamp(max=1.0))).amax(dim=0)
        best = error if best is None or float(error.max()) < float(best.max()) else best
    assert best is not None
    return best
