"""`config.rope_scaling` as 4.x had it: None, or a dictionary that writes through to `rope_parameters`.

What 4.x kept beside the dictionary is no item of it: `rope_theta` and `partial_rotary_factor`. So it has the
items that code of 4.x counts, unpacks and hands on together with a `rope_theta` of its own. Asked for by name
it gives them, since on 5.x ``config.rope_scaling["rope_theta"]`` works without rope_compat.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from ..._facts.config_fields import FULL, FULL_ONLY
from ..._utils.ownership import is_custom
from ...configs.reading import canonical_type
from ...errors import RopeConfigError

__all__ = [
    "BESIDE",
    "ScalingView",
    "assign",
    "disagreement",
    "is_number",
    "labels_of",
    "layers_of",
    "plain",
    "view_of",
]

#: What 4.x keeps beside the dictionary.
BESIDE = ("rope_theta", "partial_rotary_factor")
_TYPES = ("type", "rope_type")
_MISSING: Any = object()


def layers_of(parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The parameters of each layer type that has some; empty where there is one set for all."""
    return {label: value for label, value in parameters.items() if isinstance(value, dict)}


def labels_of(config: Any, parameters: dict[str, Any]) -> tuple[str, ...] | None:
    """The layer types that `rope_scaling` speaks of: () where parameters are not nested, None if unclear."""
    items = {label: _items(config, layer) for label, layer in layers_of(parameters).items()}
    others = [item for label, item in items.items() if label != FULL]
    if _speaks_of_full(config) and len(others) < len(items) and not any(others):
        return (FULL,)
    if all(item == next(iter(items.values())) for item in items.values()):
        return tuple(items)
    return None


def view_of(config: Any, parameters: dict[str, Any], labels: Sequence[str]) -> ScalingView | None:
    """The scaling of these layer types, which agree; None if there is none."""
    items = _items(config, parameters[labels[0]] if labels else parameters)
    return None if items is None else ScalingView(items, config, labels)


def plain(value: Any, *, with_theta: bool = False) -> Any:
    """A view as a dictionary of its own, with what stands beside it if asked; anything else as it is."""
    if type(value) is not ScalingView:
        return value
    found = dict(value)
    if with_theta:
        found.update({key: value[key] for key in BESIDE if key in value})
    return found


def disagreement(config: Any, parameters: dict[str, Any]) -> str:
    """What to say where layer types are scaled differently."""
    kinds = ", ".join(f"{label}: {_items(config, layer)!r}" for label, layer in layers_of(parameters).items())
    return (
        f"{type(config).__name__}.rope_scaling is not one dictionary, it differs by layer type ({kinds}): "
        "use config.rope_parameters[layer_type] of the layers that are meant"
    )


def assign(config: Any, value: Mapping[str, Any] | None) -> None:
    """``config.rope_scaling = value`` for a config that is constructed: theta and partial factor stay."""
    before = vars(config).get("rope_parameters", _MISSING)
    parameters = before if isinstance(before, dict) else {}
    layers = layers_of(parameters)
    if value is not None and any(isinstance(item, Mapping) for item in value.values()):
        after = {
            key: _replaced(config, layers.get(key, {}), item) if isinstance(item, Mapping) else item
            for key, item in value.items()
        }
    elif layers:
        labels = labels_of(config, parameters)
        if labels is None:
            raise RopeConfigError(disagreement(config, parameters))
        after = {**parameters, **{label: _replaced(config, layers[label], value) for label in labels}}
    else:
        beside = {key: vars(config)[key] for key in BESIDE if is_number(vars(config).get(key))}
        after = _replaced(config, {**beside, **parameters}, value)
        if value is None and "rope_theta" not in after:
            config.rope_parameters = None
            return
    _set_parameters(config, before, after)
    for key in BESIDE:
        if key in vars(config) and not layers and value is not None and value.get(key) is not None:
            vars(config)[key] = value[key]


class ScalingView(dict[str, Any]):
    """The scaling of a config. What is changed here is changed in the config, while it still says the same.

    `type` and `rope_type` are both there, and writing one writes the other. Copies, pickles and JSON are of a
    plain dictionary.
    """

    def __init__(self, items: Mapping[str, Any], config: Any, labels: Sequence[str]) -> None:
        super().__init__(items)
        self._config = config
        self._labels = labels

    def __missing__(self, key: str) -> Any:
        values = [part.get(key) for part in self._parts().values()] if key in BESIDE else []
        if not values or values[0] is None or any(value != values[0] for value in values):
            raise KeyError(key)
        return values[0]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (key in BESIDE and self.get(str(key)) is not None)

    def __setitem__(self, key: str, value: Any) -> None:
        if key in BESIDE:
            self._put({label: {**part, key: value} for label, part in self._parts().items()})
            if key in vars(self._config):
                vars(self._config)[key] = value
            return
        changed = dict.fromkeys(_TYPES, value) if key in _TYPES else {key: value}
        self._change({**self, **changed})

    def __delitem__(self, key: str) -> None:
        after = dict(self)
        del after[key]
        self._change(after)

    def pop(self, key: str, *default: Any) -> Any:
        """Take a key out of the dictionary and of the config."""
        after = dict(self)
        value = after.pop(key, *default)
        self._change(after)
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take the last key out of the dictionary and of the config."""
        after = dict(self)
        item = after.popitem()
        self._change(after)
        return item

    def clear(self) -> None:
        """Leave the config without scaling."""
        self._change({})

    # By way of the methods above, which those of `dict` go past.
    get = Mapping.get  # type: ignore[assignment]
    setdefault = MutableMapping.setdefault

    def update(self, *others: Any, **items: Any) -> None:
        """Set several keys."""
        for key, value in dict(*others, **items).items():
            self[key] = value

    def __ior__(self, other: Any) -> ScalingView:  # type: ignore[override,misc]
        self.update(other)
        return self

    def copy(self) -> dict[str, Any]:
        """A plain dictionary, with no tie to the config."""
        return dict(self)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return copy.deepcopy(dict(self), memo)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def _parts(self) -> dict[str, dict[str, Any]]:
        """The dictionaries of the config that this shows, by layer type; none if it says something else."""
        parameters = vars(self._config).get("rope_parameters")
        if not isinstance(parameters, dict):
            return {}
        layers = layers_of(parameters)
        if self._labels:
            parts = {label: layers[label] for label in self._labels if label in layers}
        else:
            parts = {} if layers else {"": parameters}
        shown = _meaning(self._config, self)
        return parts if all(_meaning(self._config, part) == shown for part in parts.values()) else {}

    def _change(self, after: dict[str, Any]) -> None:
        parts = self._parts()
        self._put({label: _rewritten(self._config, part, after) for label, part in parts.items()})
        if parts and after:
            # transformers has added what a type needs, such as the original length.
            parameters = self._config.rope_parameters
            added = parameters[self._labels[0]] if self._labels else parameters
            after = {**_meaning(self._config, added)[1], **after}
        super().clear()
        super().update(after)

    def _put(self, parts: dict[str, dict[str, Any]]) -> None:
        """Give the config other dictionaries. New ones: its own may be shared, with a copy or a default."""
        if parts:
            before = self._config.rope_parameters
            _set_parameters(self._config, before, {**before, **parts} if self._labels else parts[""])


def _speaks_of_full(config: Any) -> bool:
    return any(vars(cls).get("model_type") in FULL_ONLY for cls in type(config).__mro__)


def _default_type(config: Any) -> str:
    # 5.17: vision configs whose positions have two axes.
    return str(getattr(type(config), "default_rope_type", "default"))


def _items(config: Any, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """The items of 4.x; None where the parameters scale nothing."""
    rope_type = parameters.get("rope_type") or parameters.get("type") or "default"
    others = {key: value for key, value in parameters.items() if key not in (*_TYPES, *BESIDE)}
    if not others and rope_type in ("default", _default_type(config)):
        return None
    return {"type": parameters.get("type") or rope_type, "rope_type": rope_type, **others}


def _replaced(config: Any, before: Mapping[str, Any], value: Mapping[str, Any] | None) -> dict[str, Any]:
    """Parameters with another scaling; what `value` says of theta and partial factor comes first."""
    given = dict(value or {})
    names = [given.pop(key, None) for key in _TYPES]
    kinds = [canonical_type(name, given) for name in names if name is not None]
    if len(set(kinds)) > 1:
        raise RopeConfigError(
            f"rope_scaling has type={names[0]!r} and rope_type={names[1]!r}: remove the wrong one"
        )
    if not kinds and "factor" in given and not is_custom(type(config)):
        raise RopeConfigError(
            f"rope_scaling = {dict(value or {})!r} scales, and has no rope_type that says how"
        )
    beside = {key: given.pop(key, None) for key in BESIDE}
    kept = {key: before.get(key) if said is None else said for key, said in beside.items()}
    after = {"rope_type": kinds[0] if kinds else _default_type(config), **given}
    if names[0] is not None:
        after["type"] = names[0]  # kept, as transformers keeps it
    return after | {key: kept_value for key, kept_value in kept.items() if kept_value is not None}


def _set_parameters(config: Any, before: Any, after: dict[str, Any]) -> None:
    """Assign, and let transformers complete it (the original length of yarn and others); all or nothing."""
    config.rope_parameters = after
    try:
        config.standardize_rope_params()
    except BaseException:
        if before is _MISSING:
            del config.rope_parameters
        else:
            config.rope_parameters = before
        raise


def _meaning(config: Any, items: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The type, and everything else that scales, of parameters or of the items of a view."""
    kind = items.get("rope_type") or items.get("type") or _default_type(config)
    others = {key: value for key, value in items.items() if key not in (*_TYPES, *BESIDE)}
    return canonical_type(kind, others), others


def _rewritten(config: Any, part: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """One dictionary of the config, with the items of a view."""
    kind, items = _meaning(config, after)
    kept = {key: value for key, value in part.items() if key in items or key in (*_TYPES, *BESIDE)}
    kept.update(items, rope_type=kind)
    if "type" in part:
        kept["type"] = after.get("type") or kind
    return kept


def is_number(value: Any) -> bool:
    """Whether a value can be theta or a factor."""
    if isinstance(value, (int, float)):
        return not isinstance(value, bool)
    from numbers import Real

    return isinstance(value, Real)
