"""Adapters for the functions of ``ROPE_INIT_FUNCTIONS``: each takes every call form that these have had.

They turn a config into inverse frequencies (``transformers/modeling_rope_utils.py``, from 4.43.0 on).
A native call goes straight through. A foreign one is read, and made again in the native form with a stand-in
for the config where the installed function can express it (5.x); where it cannot (4.x: no layer types, other
numbers for yarn up to 4.55 and for longrope up to 4.50), `rope_compat.rotary.frequencies` computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypedDict

from ..._facts.call_forms import CallForm
from ..._facts.rope_types import ROPE_TYPES
from ...errors import CallFormError
from ..functions.base import AdapterInfo, Context, dress, refuse
from ..functions.signature import live_signature, signature_text
from .rope_parameters import RopeParameters, StandIn, compute, read

__all__ = [
    "BY_CONFIG",
    "BY_LAYER",
    "BY_NUMBERS",
    "adapt_init_function",
    "ignoring_keys",
    "init_function_by",
    "restore_init_function",
    "rope_parameters_type",
]

BY_CONFIG = CallForm(
    "config", "(config, device=None, seq_len=None)", "from 4.43.0", "all is read from the config"
)
BY_NUMBERS = CallForm(
    "numbers",
    "(config=None, device=None, seq_len=None, *, dim, base, factor, max_position_embeddings)",
    "4.43.0 to 4.53.3",
    "there is no config; types default (dim, base), linear (and factor) and dynamic (and both) only",
)
BY_LAYER = CallForm(
    "layer",
    "(config, device=None, seq_len=None, layer_type=None)",
    "from 5.0.0",
    "the config may say something else for each type of layer",
)
_FORMS = (BY_CONFIG, BY_NUMBERS, BY_LAYER)

#: ``RopeParameters`` of 5.24.0, and what each of them is. None of them is required.
_PARAMETERS: dict[str, Any] = {
    **dict.fromkeys(("rope_theta", "partial_rotary_factor", "factor", "attention_factor"), float | None),
    **dict.fromkeys(("beta_fast", "beta_slow", "mscale", "mscale_all_dim"), float | None),
    **dict.fromkeys(("low_freq_factor", "high_freq_factor"), float | None),
    **dict.fromkeys(("short_factor", "long_factor"), list[float] | None),
    "rope_type": str | None,
    "original_max_position_embeddings": int | None,
    "truncate": bool | None,
    "mrope_section": list[int] | None,
}

#: What each type needs where there is no config. 4.43.0 to 4.53.3 took, and ignored, ``rope_type`` as well.
_NUMBERS = {name: each.by_numbers for name, each in ROPE_TYPES.items() if each.by_numbers}
_ALL_NUMBERS = frozenset({"rope_type"}.union(*_NUMBERS.values()))
_COMMON = ("config", "device", "seq_len", "layer_type")
#: Parameters that native functions have; ``head_dim_key`` is that of proportional, from 5.5.0 on.
_NATIVE = frozenset({*_COMMON, "head_dim_key"})

Foreign = Callable[[tuple[Any, ...], dict[str, Any]], Any]


@dataclass
class _Call:
    """One call, by what its arguments mean."""

    config: Any = None
    device: Any = None
    seq_len: Any = None
    layer_type: str | None = None
    numbers: dict[str, Any] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)


def adapt_init_function(
    native: Callable[..., Any], rope_type: str, context: Context
) -> Callable[..., Any] | None:
    """The adapter for the installed function of `rope_type`; None if its signature is not a known one."""
    signature = live_signature(native)
    if signature is None:
        return None
    parameters = list(signature.parameters.values())
    takes_numbers = bool(parameters) and parameters[-1].kind is parameters[-1].VAR_KEYWORD
    names = tuple(p.name for p in (parameters[:-1] if takes_numbers else parameters))
    if names[:3] != _COMMON[:3] or not _NATIVE.issuperset(names):
        return None
    info = AdapterInfo(context, native, signature_text(signature), _FORMS)
    if "layer_type" in names:
        return dress(_over_layers(native, _with_stand_in(native, rope_type, info)), info)
    known = None if takes_numbers else frozenset(names)
    return dress(_over_configs(native, known, _computed(native, rope_type, info, takes_numbers)), info)


def restore_init_function(rope_type: str, context: Context) -> Callable[..., Any]:
    """The function of `rope_type` for a release that lacks it, in every call form.

    Gives ``(inv_freq, attention_factor)``: float32 ``[dim / 2]`` on the device, and a float.
    """
    info = AdapterInfo(context, None, BY_LAYER.signature, (BY_CONFIG, BY_NUMBERS))
    foreign = _computed(None, rope_type, info, False)

    def restored(*args: Any, **kwargs: Any) -> Any:
        return foreign(args, kwargs)

    restored.__doc__ = (
        f"Inverse frequencies of rope type {rope_type!r}, restored by rope_compat.\n\n"
        f"Takes the forms {BY_LAYER.signature} and {BY_NUMBERS.signature}."
    )
    return dress(restored, info)


def init_function_by(
    native: Callable[..., Any],
    rope_type: str,
    context: Context,
    computed: Callable[[RopeParameters, Any, Any], tuple[Any, float] | None],
) -> Callable[..., Any] | None:
    """A function in the place of the installed one that gives other numbers, in every call form.

    `computed` gives them from what the config says, the length of the text and the device; None leaves it to
    the installed function. None if the signature of `native` is not a known one.
    """
    installed, signature = adapt_init_function(native, rope_type, context), live_signature(native)
    if installed is None or signature is None:
        return None
    info = AdapterInfo(context, native, signature_text(signature), _FORMS)
    # Calls in the native form are read as well, and are not to be counted as foreign ones.
    uncounted = AdapterInfo(context, native, info.native_signature, _FORMS)

    is_5x = "layer_type" in signature.parameters

    def adapter(*args: Any, **kwargs: Any) -> Any:
        call = _parse(args, kwargs, uncounted)
        if is_5x and hasattr(type(call.config), "standardize_rope_params"):
            call.config.standardize_rope_params()
        found = computed(_meaning(call, rope_type, uncounted, args, kwargs), call.seq_len, call.device)
        return installed(*args, **kwargs) if found is None else found

    return dress(adapter, info, signature)


def _over_layers(native: Callable[..., Any], foreign: Foreign) -> Callable[..., Any]:
    """5.0.0 and later: native calls bring a config that can put its parameters in order."""

    def adapter(
        config: Any = None, device: Any = None, seq_len: Any = None, layer_type: Any = None, **more: Any
    ) -> Any:
        # Of the type: asking the config itself takes longer than all else here, since configs look names up.
        if not more and hasattr(type(config), "standardize_rope_params"):
            return native(config, device, seq_len, layer_type)
        return foreign((config, device, seq_len, layer_type), more)

    return adapter


def _over_configs(
    native: Callable[..., Any], names: frozenset[str] | None, foreign: Foreign
) -> Callable[..., Any]:
    """4.x: native calls bring a config of 4.x, and to 4.53.3 (`names` is None) numbers in its place."""

    def adapter(config: Any = None, device: Any = None, seq_len: Any = None, *rest: Any, **more: Any) -> Any:
        if config is not None and not rest and not more and not _is_new(config):
            return native(config, device, seq_len)
        is_known = names is None or (config is not None and names.issuperset(more))
        if is_known and not rest and "layer_type" not in more and not _is_new(config):
            return native(config, device, seq_len, **more)
        return foreign((config, device, seq_len, *rest), more)

    return adapter


def _is_new(config: Any) -> bool:
    """Whether a config keeps its parameters as those of 5.x do, so that functions of 4.x misread it.

    A config of transformers' own has ``rope_theta`` on 4.x whatever file it came from, and what is written to
    its fields counts. Custom classes written for 5.x keep ``rope_parameters``.
    """
    try:
        # Past __getattribute__, by which configs look names up: that takes longer than all else here.
        fields = _plain_attribute(config, "__dict__")
    except AttributeError:
        return False
    if "rope_parameters" not in fields or not isinstance(fields["rope_parameters"], dict):
        return False
    return "rope_theta" not in fields or not type(config).__module__.startswith("transformers.")


_plain_attribute: Callable[[Any, str], Any] = object.__getattribute__


def _with_stand_in(native: Callable[..., Any], rope_type: str, info: AdapterInfo) -> Foreign:
    """5.x: what the call means is said to the native function in its own form."""

    def foreign(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = _parse(args, kwargs, info)
        if not call.numbers and hasattr(call.config, "standardize_rope_params"):
            return native(*args, **kwargs)
        given = _meaning(call, rope_type, info, args, kwargs)
        # Some functions divide hidden_size by num_attention_heads whether they need the quotient or not.
        config = StandIn(
            given.config,
            rope_parameters=given.flat(),
            head_dim=given.head_dim,
            hidden_size=given.head_dim,
            num_attention_heads=1,
        )
        return native(config, call.device, call.seq_len, **call.rest)

    return foreign


def _computed(
    native: Callable[..., Any] | None, rope_type: str, info: AdapterInfo, takes_numbers: bool
) -> Foreign:
    """4.x, and restored functions: what the call means is computed here."""

    def foreign(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = _parse(args, kwargs, info)
        if takes_numbers and native is not None and call.numbers and call.layer_type is None:
            # To 4.53.3 numbers are native; 5.x code has put layer_type=None beside them.
            return native(call.config, call.device, call.seq_len, **call.numbers)
        computed = compute(_meaning(call, rope_type, info, args, kwargs), call.seq_len, call.device)
        if computed is None:
            raise refuse(info, args, kwargs, f"rope_compat does not know the numbers of type {rope_type!r}")
        return computed

    return foreign


def _parse(args: tuple[Any, ...], kwargs: dict[str, Any], info: AdapterInfo) -> _Call:
    if len(args) > len(_COMMON):
        raise refuse(
            info, args, kwargs, f"there are {len(args)} positional arguments, at most 4 have a meaning"
        )
    call = _Call(**dict(zip(_COMMON, args, strict=False)))
    for name, value in kwargs.items():
        if name in _COMMON[: len(args)]:
            raise refuse(info, args, kwargs, f"{name} is given twice")
        if name in _COMMON:
            setattr(call, name, value)
        elif name in _ALL_NUMBERS:
            call.numbers[name] = value
        elif name in _NATIVE:
            call.rest[name] = value
        else:
            raise refuse(info, args, kwargs, f"no release has had the keyword {name}")
    return call


def _meaning(
    call: _Call, rope_type: str, info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> RopeParameters:
    """What a foreign call asks for. Raises `CallFormError` where two things are said, or nothing."""

    def error(why: str) -> CallFormError:
        return refuse(info, args, kwargs, why)

    if call.config is not None:
        if call.numbers:
            # 4.43.0 to 4.53.3 raised ValueError.
            raise error(f"a config and {', '.join(sorted(call.numbers))} exclude each other")
        by_layer = call.layer_type is not None or "layer_type" in kwargs
        info.count(BY_LAYER.name if by_layer else BY_CONFIG.name)
        return read(call.config, call.layer_type, rope_type)
    if call.layer_type is not None:
        raise error("layer_type needs a config")
    if rope_type not in _NUMBERS:
        raise error(f"frequencies of type {rope_type!r} have always needed a config")
    missing = [name for name in _NUMBERS[rope_type] if call.numbers.get(name) is None]
    if missing:
        raise error(f"there is no config, and no {' and no '.join(missing)} either")
    info.count(BY_NUMBERS.name)
    numbers = {name: call.numbers.get(name) for name in ("factor", "max_position_embeddings")}
    return RopeParameters(
        theta=call.numbers["base"],
        rope_type=rope_type,
        inner={"factor": numbers["factor"]},
        head_dim=call.numbers["dim"],
        part=1.0,
        config=StandIn(None, max_position_embeddings=numbers["max_position_embeddings"]),
    )


def rope_parameters_type(context: Context) -> Any:
    """The type ``RopeParameters`` (from 5.0.0 on), which 5.x names in the annotations of config classes."""
    make: Any = TypedDict
    found = make(context.family, _PARAMETERS, total=False)
    found.__module__ = context.module
    found.__doc__ = "Parameters of a rotary embedding, as configs of 5.x keep them; restored by rope_compat."
    found.__rope_compat__ = AdapterInfo(context, None, "(*, rope_theta, rope_type, ...)", ())
    return found


def ignoring_keys(native: Callable[..., Any], context: Context) -> Callable[..., Any]:
    """``rope_config_validation(config, ignore_keys=None)`` of 4.45.2 for releases that take no `ignore_keys`.

    Those complain about keys that they do not know: they are not shown the keys to ignore.
    """

    def rope_config_validation(config: Any, ignore_keys: Collection[str] | None = None) -> Any:
        scaling = getattr(config, "rope_scaling", None)
        if not ignore_keys or not scaling:
            return native(config)
        kept = {key: value for key, value in scaling.items() if key not in ignore_keys}
        return native(StandIn(config, rope_scaling=kept))

    adapter = dress(rope_config_validation, AdapterInfo(context, native, "(config)", ()))
    del adapter.__signature__  # type: ignore[attr-defined]
    return adapter
