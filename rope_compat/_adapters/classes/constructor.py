"""Constructors of rotary classes, in every form that they have had."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from ...errors import RopeConfigError
from ..functions.base import AdapterInfo, refuse
from ..init_functions.rope_parameters import RopeParameters, compute
from .constructor_arguments import LegacyArguments, from_config, legacy_config, read_legacy
from .shape import Shape
from .state import STATE, LegacyTables, Scaled, by_length

__all__ = ["LegacyNames", "adapt_constructor", "scale"]

Init = Callable[..., None]

_OWN_TABLES = "_set_cos_sin_cache"
#: What stands beside a config from 4.43.0 to 4.47.1; what a constructor takes beyond these is its own.
_CONFIG_NAMES = frozenset(
    {"dim", "max_position_embeddings", "base", "scaling_factor", "rope_type", "config", "device"}
)


def adapt_constructor(native: Init, cls: type, shape: Shape, info: AdapterInfo, legacy: LegacyNames) -> Init:
    """The constructor that stands in the place of `native`, the one that `cls` defines itself.

    `shape.constructor` must be one that is known.
    """
    if shape.constructor != "config":
        return (_on_both if shape.constructor == "both" else _on_dim)(native, cls, shape, info, legacy)
    translated = _on_config(native, cls, shape, info, legacy)

    def of_config_or_dim(self: Any, config: Any = None, *rest: Any, **kwargs: Any) -> None:
        if not rest and not kwargs and config is not None and type(config) is not int:
            native(self, config)
        elif rest or type(config) is int:
            translated(self, (config, *rest), kwargs)
        else:
            translated(self, (), kwargs if config is None else {**kwargs, "config": config})

    return of_config_or_dim


class LegacyNames:
    """The parameters of the constructor up to 4.47.1, in their order, and what its scaling_factor means."""

    def __init__(self, names: Callable[[], tuple[str, ...]], *, factor_scales: bool | None) -> None:
        self.names = names
        self.factor_scales = factor_scales

    def read(self, info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LegacyArguments:
        """The arguments of a call; a `CallFormError` where they are in no known form."""
        try:
            return read_legacy(args, kwargs, self.names(), factor_scales=self.factor_scales)
        except TypeError as reason:
            raise refuse(info, args, kwargs, str(reason)) from None


def _says_dim(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    first = args[0] if args else kwargs.get("dim", kwargs.get("head_dim"))
    return isinstance(first, int) and not isinstance(first, bool)


def _config_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The config of a call ``(config, device)``, None where it is no such call."""
    return kwargs.get("config", args[0] if args and not isinstance(args[0], (int, float)) else None)


def _on_config(native: Init, cls: type, shape: Shape, info: AdapterInfo, legacy: LegacyNames) -> Init:
    """Native: ``(config, device=None)`` from 4.48.0, ``(config)`` from 5.19.0."""
    takes_device = "device" in shape.init
    known = frozenset(shape.init)

    def translated(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not _says_dim(args, kwargs) or "config" in kwargs:
            if len(args) <= len(known) and known.issuperset(kwargs):
                native(self, *args, **kwargs)
                return
            given = _foreign_config(args, kwargs)
            if given is None or (given[0] is None and "config" not in known):
                raise refuse(info, args, kwargs, "it is neither a config nor a dim")
            config, device = given
            info.count("config")
            _with_device(native, self, config, device, takes_device)
            return
        given_dim = legacy.read(info, args, kwargs)
        info.count("dim")
        try:
            _with_device(native, self, legacy_config(given_dim), given_dim.device, takes_device)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # Models that read more of their config than a length and a head.
            raise _needs_config(cls, f"{type(error).__name__}: {error}") from error
        _check(self, given_dim, cls)
        _name_arguments(self, given_dim)
        _use_own_tables(self, cls)

    return translated


def _with_device(native: Init, self: Any, config: Any, device: Any, takes_device: bool) -> None:
    if takes_device:
        native(self, config, device)
        return
    # 5.19.0 dropped `device`; what it computes, it computes on the device of the context.
    with torch.device(device) if device is not None else nullcontext():
        native(self, config)


def _foreign_config(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
    """Config and device of a call in the form of another release, or None.

    From 4.43.0 to 4.47.1 the other parameters stand beside `config` and are not read.
    """
    if "config" in kwargs and not args and _CONFIG_NAMES.issuperset(kwargs):
        return kwargs["config"], kwargs.get("device")
    if len(args) == 2 and not kwargs:
        return args[0], args[1]
    if len(args) == 1 and set(kwargs) <= {"device", "rope_type"}:
        return args[0], kwargs.get("device")
    return None


def _on_both(native: Init, cls: type, shape: Shape, info: AdapterInfo, legacy: LegacyNames) -> Init:
    """Native: 4.43.0 to 4.47.1, ``(dim=None, ..., rope_type="default", config=None)``."""

    def of_dim_or_config(self: Any, *args: Any, **kwargs: Any) -> None:
        if args and not isinstance(args[0], (int, float)) and args[0] is not None:
            # The config comes first from 4.48.0 on; here that would be dim.
            given = _foreign_config(args, kwargs)
            if given is None:
                raise refuse(info, args, kwargs, "a config goes with a device and nothing else")
            info.count("config")
            native(self, config=given[0], device=given[1])
            return
        if legacy.factor_scales and _config_of(args, kwargs) is None and "rope_type" not in kwargs:
            given_dim = legacy.read(info, args, kwargs)
            if given_dim.rope_type != "default":
                kwargs = {**kwargs, "rope_type": given_dim.rope_type}
        native(self, *args, **kwargs)
        if _says_dim(args, kwargs):
            _use_own_tables(self, cls)

    return of_dim_or_config


def _on_dim(native: Init, cls: type, shape: Shape, info: AdapterInfo, legacy: LegacyNames) -> Init:
    """Native: ``(dim, max_position_embeddings, base, device)`` and the like, to 4.42.4 (some to 4.44.2)."""
    known = frozenset(shape.init)

    def of_dim_or_config(self: Any, *args: Any, **kwargs: Any) -> None:
        config = _config_of(args, kwargs)
        if config is None:
            if len(args) <= len(shape.init) and known.issuperset(kwargs):
                native(self, *args, **kwargs)
            else:
                said = legacy.read(info, args, kwargs)
                _construct(native, self, shape, said.parameters(), said.max_position_embeddings, said.device)
                info.count("dim")
            if shape.forward == "rows":
                _use_own_tables(self, cls)
            return
        own = {name: value for name, value in kwargs.items() if name in known.difference(_CONFIG_NAMES)}
        given = _foreign_config(args, {name: value for name, value in kwargs.items() if name not in own})
        if given is None:
            raise refuse(info, args, kwargs, "a config goes with a device and nothing else")
        info.count("config")
        length = getattr(config, "max_position_embeddings", None)
        _construct(native, self, shape, from_config(config), length, given[1], **own)
        self.config = config

    return of_dim_or_config


def _construct(
    native: Init, self: Any, shape: Shape, parameters: RopeParameters, length: Any, device: Any, **own: Any
) -> None:
    """By what the constructor has names for, and then by a type or factor that it has none for."""
    arguments = {"dim": parameters.dim, "base": parameters.theta, "device": device}
    if length is not None:
        arguments["max_position_embeddings"] = length
    native(self, **{name: value for name, value in arguments.items() if name in shape.init}, **own)
    if parameters.rope_type != "default":
        scale(self, Scaled(parameters), device)


def scale(self: Any, state: Scaled, device: Any) -> None:
    """Have an instance compute by `state`; tables that its constructor filled are of the default type."""
    inv_freq, scaling = by_length(state.given, None, device)
    self.register_buffer("inv_freq", inv_freq, persistent=False)
    for name in ("cos_cached", "sin_cached", "_cos_cached", "_sin_cached"):
        self._buffers.pop(name, None)
    self.attention_scaling, self.rope_type = scaling, state.given.rope_type
    setattr(self, STATE, state)


def _check(self: Any, given: LegacyArguments, cls: type) -> None:
    """Hold what the class made of our config against what was asked for."""
    inv_freq = getattr(self, "inv_freq", None)
    expected = compute(given.parameters(), None, None)
    if expected is None or not isinstance(inv_freq, torch.Tensor):
        raise _needs_config(cls, f"it has no frequencies of rope_type={given.rope_type!r}")
    wanted = expected[0]
    is_right = inv_freq.shape == wanted.shape and (
        inv_freq.is_meta or torch.allclose(inv_freq.float().cpu(), wanted.float().cpu(), rtol=1e-5, atol=0.0)
    )
    if not is_right:
        said = f"dim={given.dim}, base={given.base}, rope_type={given.rope_type!r}"
        raise _needs_config(cls, f"it computes other frequencies than {said} say")


def _needs_config(cls: type, why: str) -> RopeConfigError:
    return RopeConfigError(
        f"{cls.__name__} of this release cannot be constructed from dim ({why}); pass the model's config"
    )


def _name_arguments(self: Any, given: LegacyArguments) -> None:
    """The attributes that constructors up to 4.42.4 set."""
    self.dim, self.base = given.dim, given.base
    self.max_position_embeddings, self.scaling_factor = given.max_position_embeddings, given.scaling_factor


def _use_own_tables(self: Any, cls: type) -> None:
    """Fill the tables of a subclass that computes them itself, see `LegacyTables`."""
    if hasattr(type(self), _OWN_TABLES) and not hasattr(cls, _OWN_TABLES):
        setattr(self, STATE, LegacyTables())
        dtype = torch.get_default_dtype()
        length, device = self.max_position_embeddings, self.inv_freq.device
        self._set_cos_sin_cache(seq_len=length, device=device, dtype=dtype)
