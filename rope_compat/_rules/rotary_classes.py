"""The rule for rotary classes: every class of transformers' models that embeds positions, in place."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .. import catalog
from .._facts import call_forms
from .._facts.classes import RENAMED, is_rotary_name, not_adapted
from .._patching.edits import Assign, Edit, Resolve, Rule
from .._patching.references import namespace
from .._utils.disguise import native_of
from .options import Options
from .rule import ModuleRule, is_modeling
from .shim import Shim

if TYPE_CHECKING:
    from .._adapters.classes.shape import Shape
    from .._adapters.functions.base import AdapterInfo

__all__ = ["SHIMS", "rules"]

CLASSES = Shim(
    name="rotary-classes",
    kind="adapt",
    targets=("transformers.models.*:*RotaryEmbedding",),
    why=(
        "constructors took (dim, max_position_embeddings, base, device) up to 4.47.1 and take a config from "
        "4.43.0 on; forward took (x, seq_len) and gave tables, and takes (x, position_ids) from 4.38.0 on; "
        "cos_cached and others are gone"
    ),
    since="4.36.0",
    until=None,
    upstream="src/transformers/models/llama/modeling_llama.py at 4.38.0, 4.43.0, 4.48.0 and 5.19.0",
    helps="code that constructs, calls or subclasses a rotary class: trainers, forks, long-context patches",
)

SHIMS = (CLASSES,)


def rules(options: Options) -> list[Rule]:
    """The rule, for every modeling module."""
    return [ModuleRule(CLASSES, is_modeling, partial(_edits, options), lasting=True)]


def _edits(options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    for name, value in list(namespace(module).items()):
        if isinstance(value, partial):
            # FastChat puts `partial(CondenseRotaryEmbedding, ratio=8)` in the place of a class.
            value = value.func
        if not is_rotary_name(name) or not isinstance(value, type):
            continue
        if not options.selection.selects(module.__name__, name) or not_adapted(module.__name__, name):
            continue
        home = value.__module__
        if home == module.__name__ or not home.startswith("transformers."):
            yield from _of_class(_Target(module.__name__, name, value, options, home == module.__name__))


@dataclass(frozen=True, slots=True)
class _Target:
    """One class where it is found; `is_library` false for a user's in its place."""

    module: str
    name: str
    cls: type
    options: Options
    is_library: bool

    def info(self, method: str, native: Any, forms: tuple[Any, ...]) -> AdapterInfo:
        """The record of the adapter of one method; what the catalog knows is looked up when it is shown."""
        from .._adapters.classes.shape import signature_text
        from .._adapters.functions.base import AdapterInfo, Context

        context = Context(
            target=f"{self.module}:{self.name}.{method}",
            release=self.options.release,
            written_for=self.options.written_for,
            is_library=self.is_library,
            history=_History(self.module, f"{self.name}.{method}"),
        )
        return AdapterInfo(context, native, signature_text(native), forms)


class _History(Sequence[tuple[str, str, str]]):
    """The signatures that a target has had. The catalog lists a constructor's under its class."""

    def __init__(self, module: str, name: str) -> None:
        self._target = module, name.removesuffix(".__init__")

    @cached_property
    def _spans(self) -> tuple[tuple[str, str, str], ...]:
        spans = catalog.spans(*self._target)
        return tuple((first, last, text.replace("(self, ", "(", 1)) for first, last, text in spans)

    def __getitem__(self, index: Any) -> Any:
        return self._spans[index]

    def __len__(self) -> int:
        return len(self._spans)


def _of_class(target: _Target) -> Iterator[Edit]:
    from .._adapters.classes.shape import read_shape

    shape = read_shape(target.cls)
    if shape.forward is None or not shape.own:
        return
    yield from (_vision if shape.is_vision else _text)(target, shape)


def _text(target: _Target, shape: Shape) -> Iterator[Edit]:
    from .._adapters.classes import constructor as construct
    from .._adapters.classes import forward

    forms = (call_forms.BY_DIM, call_forms.BY_CONFIG)
    if "__init__" in shape.own and shape.constructor is not None:
        native = native_of(vars(target.cls)["__init__"])
        info = target.info("__init__", native, forms)
        legacy = construct.LegacyNames(partial(_legacy_names, target), factor_scales=_factor_scales(target))
        make = partial(construct.adapt_constructor, native, target.cls, shape, info, legacy)
        yield _method(target, "__init__", info, make)
    if "forward" in shape.own:
        native = native_of(vars(target.cls)["forward"])
        info = target.info("forward", native, (call_forms.ROWS, call_forms.TABLES, call_forms.ROWS_OF_LAYER))
        make = partial(forward.adapt_forward, native, shape, info, rank4=_rank4(target.options))
        yield _method(target, "forward", info, make)
    yield from _attributes(target, shape)


def _vision(target: _Target, shape: Shape) -> Iterator[Edit]:
    from .._adapters.classes import vision

    if shape.forward == "vision_rows" and not _had_dim(target):
        return

    for name, adapt in (("__init__", vision.adapt_constructor), ("forward", vision.adapt_forward)):
        if name in shape.own:
            native = native_of(vars(target.cls)[name])
            info = target.info(name, native, call_forms.OF_VISION_CLASS[name])
            yield _method(target, name, info, partial(adapt, native, shape, info))


def _method(target: _Target, name: str, info: AdapterInfo, make: Callable[[], Callable[..., Any]]) -> Assign:
    from .._adapters.functions.base import dress

    place = f"{target.module}:{target.name}.{name}"
    key: Hashable = (CLASSES.name, str(target.options.written_for))
    detail = f"native form {info.native_signature}"
    if not target.is_library:
        detail += f", {target.cls.__qualname__} of {target.cls.__module__} in its place"
    return Assign(place, target.cls, name, lambda: dress(make(), info), key, CLASSES.name, detail)


def _attributes(target: _Target, shape: Shape) -> Iterator[Edit]:
    from .._adapters.classes import attributes
    from .._adapters.classes.state import STATE

    cls, place, key = target.cls, f"{target.module}:{target.name}", CLASSES.name
    added = attributes.added(cls, is_early=shape.constructor == "dim")
    detail = f"readable: {', '.join(added)}"

    def assign(name: str, make: Callable[[], object]) -> Assign:
        return Assign(place, cls, name, make, key, CLASSES.name, detail)

    yield assign(STATE, lambda: None)
    for name, compute in added.items():
        yield assign(name, partial(attributes.Legacy, name, compute))


def _legacy_names(target: _Target) -> tuple[str, ...]:
    """Parameters of the constructor that took a dim, as the class had them; Llama's of 4.43.0 otherwise."""
    usual = ("dim", "max_position_embeddings", "base", "device", "scaling_factor", "rope_type")
    written = target.options.written_for
    spans: Iterable[Any] = catalog.spans(target.module, target.name)
    if written is not None:
        release = catalog.release_for(str(written))
        at = catalog.signature_at(target.module, target.name, release)
        spans = [*spans, *(span for span in spans if span.signature == at)]
    found = [span.signature for span in spans if span.signature.startswith(("(dim", "(head_dim"))]
    if not found:
        return usual
    names = tuple(part.partition("=")[0].strip() for part in found[-1].strip("()").split(","))
    names = tuple("dim" if name == "head_dim" else name for name in names if name != "config")
    # What a release added, it added at the end.
    return usual if usual[: len(names)] == names else names


def _had_dim(target: _Target) -> bool:
    """Whether a vision class of this name was once constructed from a dim: 5.17.0 renamed some."""
    names = [old for _, old, new in RENAMED if new == target.name]
    known = [span for name in (target.name, *names) for span in catalog.spans(target.module, name)]
    return any(span.signature.startswith("(dim") for span in known)


def _factor_scales(target: _Target) -> bool | None:
    """What a scaling factor alone means: 4.38.2 scaled linearly by it, 4.43.0 (rope_type=) does not."""
    written = target.options.written_for
    return None if written is None else (written.major, written.minor) < (4, 43)


def _rank4(options: Options) -> bool:
    """Tables were ``[1, 1, S, D]`` before 4.35.0."""
    written = options.written_for
    return written is not None and (written.major, written.minor) < (4, 35)
