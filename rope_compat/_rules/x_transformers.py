"""The shims for x-transformers, from 1.16.0 on: its rotary class and its rotary function."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .._facts.call_forms import X_TRANSFORMERS_APPLY, X_TRANSFORMERS_FORWARD, CallForm
from .._patching.edits import MISSING, Assign, Edit, Replace, Resolve, Rule, Skip
from .._patching.references import namespace
from .._utils.disguise import native_of
from .options import Options
from .rule import ModuleRule, giving
from .shim import Shim

if TYPE_CHECKING:
    from .._adapters.functions.base import AdapterInfo
    from .._adapters.x_transformers.shape import ForwardShape

__all__ = ["DISTRIBUTION", "MODULE", "SHIMS", "release", "rules"]

DISTRIBUTION = "x-transformers"
MODULE = "x_transformers.x_transformers"
_CLASS, _FUNCTION, _BY_LENGTH = "RotaryEmbedding", "apply_rotary_pos_emb", "forward_from_seq_len"
_SOURCE = "x_transformers/x_transformers.py"

FORWARD = Shim(
    name="x-transformers-rotary-class",
    kind="adapt",
    targets=(f"{MODULE}:{_CLASS}",),
    why=(
        "forward took in turn (x, seq_dim), (max_seq_len, device), (seq_len, device), (seq_len, offset), "
        "(seq_len), (seq_arange_or_len), (t) and (t, offset); with xPos it raises NameError in 1.25.4 to "
        "1.27.5 and EinopsError in 1.42.21 to 1.43.1, scales by index in 1.27.6 to 1.27.11; all of it "
        "raises AttributeError in 1.27.12; offsets raise RuntimeError in 1.22.8 and 1.22.9"
    ),
    since="1.16.0",
    until=None,
    upstream=f"{_SOURCE} at 1.22.8, 1.22.15, 1.25.4, 1.26.0, 1.42.21 and 2.3.20",
    helps="code that calls x-transformers' RotaryEmbedding, and models with rotary_xpos=True",
    note=(
        "channels are paired i, i + d/2 to 1.30.0 and 2i, 2i + 1 from 1.30.1 on: a checkpoint from the one "
        "side gives other numbers on the other"
    ),
    package=DISTRIBUTION,
)

BY_LENGTH = Shim(
    name="x-transformers-forward-from-seq-len",
    kind="restore",
    targets=(f"{MODULE}:{_CLASS}.{_BY_LENGTH}",),
    why="code for 1.26.0 and later asks for a length by this method, where forward takes positions",
    since="1.16.0",
    until="1.25.15",
    upstream=f"{_SOURCE} at 1.26.0",
    helps="code that calls x-transformers' RotaryEmbedding.forward_from_seq_len",
    package=DISTRIBUTION,
)

APPLY = Shim(
    name="x-transformers-apply-rotary-pos-emb",
    kind="adapt",
    targets=(f"{MODULE}:{_FUNCTION}",),
    why=(
        "freqs are [n, d] to 1.42.20 and [b, n, d] from 1.42.21 on; to 1.27.11 xPos fails with a cache, as "
        "the rows of its scale are not picked; from 1.42.21 to 2.11.11 a batched scale lacks the axis of "
        "the heads"
    ),
    since="1.16.0",
    until=None,
    upstream=f"{_SOURCE} at 1.20.0, 1.22.10, 1.22.15, 1.27.12, 1.42.21 and 2.11.12",
    helps="code that calls x-transformers' apply_rotary_pos_emb, and models with rotary_xpos=True",
    package=DISTRIBUTION,
)

SHIMS = (FORWARD, BY_LENGTH, APPLY)


def release() -> str | None:
    """The installed release, None where there is none; read from files."""
    from .._environment.packages import read_package

    found = read_package(DISTRIBUTION, MODULE.partition(".")[0])
    return found.version if found.present else None


def rules(options: Options) -> list[Rule]:
    """The rules for the one module that has both."""
    return [
        ModuleRule(shim, MODULE, partial(edits, options), "x_transformers")
        for shim, edits in ((FORWARD, _of_class), (BY_LENGTH, _of_length), (APPLY, _of_function))
    ]


def _of_class(options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    cls = _own_class(options, module)
    if cls is None:
        return
    from .._adapters.x_transformers.forward import adapt_forward
    from .._adapters.x_transformers.shape import FAULTS, UnknownShapeError

    place = f"{MODULE}:{_CLASS}.forward"
    native = native_of(vars(cls)["forward"])
    try:
        shape = _shape(module, native, resolve)
    except UnknownShapeError as reason:
        yield Skip(place, FORWARD.name, str(reason))
        return
    detail = f"native form {shape.signature}"
    if shape.fault is not None:
        detail += f"; mended: {FAULTS[shape.fault]}"
    make = partial(
        _made, place, native, shape.signature, X_TRANSFORMERS_FORWARD, partial(adapt_forward, native, shape)
    )
    yield Assign(place, cls, "forward", make, FORWARD.name, FORWARD.name, detail)


def _of_length(options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    cls = _own_class(options, module)
    if cls is None:
        return
    from .._adapters.x_transformers.forward import forward_from_seq_len

    if getattr(cls, _BY_LENGTH, forward_from_seq_len) is not forward_from_seq_len:
        return
    place = f"{MODULE}:{_CLASS}.{_BY_LENGTH}"
    detail, name = "restored: forward of all positions below a length", BY_LENGTH.name
    yield Assign(place, cls, _BY_LENGTH, giving(forward_from_seq_len), name, name, detail)


def _of_function(options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    attributes = namespace(module)
    original: Any = resolve(attributes.get(_FUNCTION, MISSING))
    cls = attributes.get(_CLASS)
    if original is MISSING or not isinstance(cls, type) or not options.selection.selects(MODULE, _FUNCTION):
        return
    from .._adapters.x_transformers.apply import adapt_apply
    from .._adapters.x_transformers.shape import UnknownShapeError, read_apply

    place = f"{MODULE}:{_FUNCTION}"
    if getattr(original, "__module__", None) != MODULE:
        yield Skip(place, APPLY.name, "somebody else's function stands there", surprising=False)
        return
    try:
        shape = read_apply(original, _shape(module, native_of(vars(cls)["forward"]), resolve))
    except UnknownShapeError as reason:
        yield Skip(place, APPLY.name, str(reason))
        return
    rotate_half: Any = resolve(attributes["rotate_half"])
    adapt = partial(adapt_apply, original, rotate_half, shape)
    make = partial(_made, place, original, shape.signature, X_TRANSFORMERS_APPLY, adapt)
    key: Hashable = APPLY.name
    detail = f"native form {shape.signature}, freqs of rank {shape.rank}"
    yield Replace(place, module, _FUNCTION, original, make, key, True, APPLY.name, detail)


def _own_class(options: Options, module: ModuleType) -> type | None:
    cls = namespace(module).get(_CLASS)
    if not isinstance(cls, type) or "forward" not in vars(cls):
        return None
    return cls if options.selection.selects(MODULE, _CLASS) else None


def _shape(module: ModuleType, forward: Any, resolve: Resolve) -> ForwardShape:
    from .._adapters.x_transformers.shape import read_forward

    return read_forward(forward, resolve(namespace(module).get("rotate_half", MISSING)))


def _made(
    place: str,
    native: Any,
    signature: str,
    forms: tuple[CallForm, ...],
    adapt: Callable[[AdapterInfo], Callable[..., Any]],
) -> object:
    from .._adapters.functions.base import AdapterInfo, Context, dress

    info = AdapterInfo(Context(place, release(), library=DISTRIBUTION), native, signature, forms)
    return dress(adapt(info), info)
