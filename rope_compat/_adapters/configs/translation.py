"""What 5.x saves in the fields that a class of 4.x takes; what its model cannot compute is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..._facts.config_fields import ATTENTION_DICTS, FULL, SLIDING, LegacyNames
from ..._facts.rope_types import ORIGINAL, TABLE, UTILS
from ..._utils.disguise import dressed
from ..._utils.ownership import is_custom
from ...configs.nested import has_rope, sub_configs
from ...configs.reading import plain_fields
from ...configs.spec import RopeSpec
from ...errors import RopeConfigError
from .class_fields import legacy_names, longrope_check_fails, parameters_of
from .construction import MARK, under_construction

__all__ = ["accepting", "expressible_fields", "first_release_with", "translated"]


def accepting(cls: type, constructor: Any) -> Callable[..., None]:
    """The constructor of `cls`, taking ``rope_parameters`` too and refusing what its model cannot compute.

    Whatever else it is called with goes to `constructor` as it is.
    """

    watched = {"rope_parameters", "rope_scaling", "partial_rotary_factor"}
    if "text_config" not in parameters_of(constructor):
        watched.add("text_config")

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        if not watched.isdisjoint(kwargs):
            given = translated(cls, constructor, kwargs, refuse=not is_custom(type(self)))
            if given is not kwargs:
                with under_construction(self):
                    constructor(self, *args, **given)
                return
        constructor(self, *args, **kwargs)

    return dressed(__init__, constructor, mark=(MARK, constructor))


def translated(cls: type, constructor: Any, kwargs: dict[str, Any], *, refuse: bool) -> dict[str, Any]:
    """`kwargs` in the spelling that a constructor takes; ``rope_parameters`` stays among them.

    Raises:
        RopeConfigError: fields contradict each other, or, with `refuse`, the class cannot express or compute
            what they say; the message names it.
    """
    if refuse:
        _refuse_other_shape(cls, constructor, kwargs)
    if kwargs.get("rope_parameters"):
        spec = RopeSpec.of(kwargs)
        names = legacy_names(cls, constructor, spec.rope_type)
        if refuse:
            _refuse_what_is_lost(cls, constructor, spec, names)
            _refuse_a_failing_check(cls, spec, names)
        return {**kwargs, **expressible_fields(spec, names, constructor, kwargs)}
    if not kwargs.get("rope_scaling") and kwargs.get("partial_rotary_factor") in (None, 1.0):
        return kwargs
    return _respelled(cls, constructor, kwargs) if refuse else kwargs


def _respelled(cls: type, constructor: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """A native call, with `rope_scaling` as this release spells it where its own check would refuse it."""
    scaling = kwargs.get("rope_scaling")
    if scaling is not None and not isinstance(scaling, Mapping):
        return kwargs
    # Only these fields: others may contradict them, and the constructor decides as it always did.
    fields = ["rope_scaling", "partial_rotary_factor"]
    if ORIGINAL in parameters_of(constructor):
        fields.append(ORIGINAL)
    said = {name: kwargs.get(name) for name in fields}
    spec = RopeSpec.of(said)
    # The class's own style: which layers the fields are for is not in question.
    names = replace(
        legacy_names(cls, constructor, spec.rope_type),
        local_theta=None,
        scaled_layers=frozenset({FULL, SLIDING}),
    )
    _refuse_what_is_lost(cls, constructor, spec, names)
    _refuse_a_failing_check(cls, spec, names)
    if not scaling or names.scaling_keys is None:
        return kwargs
    written = spec.legacy(names)["rope_scaling"]
    known = {"type", *(names.scaling_keys or ())}
    # Phi-3's own check of 4.41 and 4.42 knows longrope as `su` only.
    has_newer_name = scaling.get("type") in dict(names.type_names)
    if written is None or (set(scaling) == set(written) and set(scaling) <= known and not has_newer_name):
        return kwargs
    return {**kwargs, "rope_scaling": written}


def expressible_fields(
    spec: RopeSpec, names: LegacyNames, constructor: Any, kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The 4.x fields to give to a constructor: those that it declares, and those that say something."""
    declared = parameters_of(constructor)
    # Code of the user's own may compute what transformers cannot: it gets what its fields can express.
    found = (_expressible(spec, names) if spec.lost(names) else spec).legacy(names)
    if "rope_scaling" not in declared and found.get("rope_scaling") is None:
        found.pop("rope_scaling", None)
    factor = names.partial_rotary_factor
    if factor is not None and factor not in declared and found.get(factor) in (None, 1.0):
        found.pop(factor, None)
    if names.theta is None:
        found.update(_theta_inside(spec, declared, kwargs))
    return found


def _theta_inside(spec: RopeSpec, declared: frozenset[str], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Theta for a class that keeps it in its attention's configuration (dbrx, to 4.57)."""
    for name in ATTENTION_DICTS:
        if name in declared and spec.theta is not None:
            inner: Any = kwargs.get(name) or {}
            fields = inner.to_dict() if hasattr(inner, "to_dict") else dict(inner)
            return {name: {**fields, "rope_theta": spec.theta}}
    return {}


def _expressible(spec: RopeSpec, names: LegacyNames) -> RopeSpec:
    """What is left of a specification when everything that the fields have no name for is taken out."""
    if spec.layers and spec.lost(names):
        return RopeSpec()
    kept: dict[str, Any] = {}
    if names.theta is None:
        kept["theta"] = None
    if names.partial_rotary_factor is None:
        kept["partial_rotary_factor"] = None
    if not names.computes(spec.rope_type):
        kept.update(rope_type="default", parameters={})
    elif names.scaling_keys is not None:
        kept["parameters"] = {k: v for k, v in spec.parameters.items() if k in names.scaling_keys}
    return replace(spec, **kept)


def _refuse_what_is_lost(cls: type, constructor: Any, spec: RopeSpec, names: LegacyNames) -> None:
    declared = parameters_of(constructor)
    in_attention = names.theta is None and any(name in declared for name in ATTENTION_DICTS)
    missing = [each for each in spec.lost(names) if not (in_attention and each.startswith("rope_theta="))]
    if not missing:
        return
    layers = [layer for layer in (spec, *spec.layers.values()) if layer is not None]
    types = [layer.rope_type for layer in layers if layer.rope_type != "default"]
    unknown = [each for each in types if names.types is not None and each not in names.types]
    if unknown:
        raise RopeConfigError(_cannot_compute(cls, unknown[0], names))
    raise RopeConfigError(
        f"{cls.__name__} of transformers {_release()} has no field for {', '.join(missing)} of the "
        "configuration that is being loaded, so its model would compute something else. Load it with the "
        "release that it was saved by"
    )


def _cannot_compute(cls: type, rope_type: str, names: LegacyNames) -> str:
    known = ", ".join(sorted(names.types or ())) or "none but default"
    return (
        f"{cls.__name__} of transformers {_release()} cannot compute rope_type={rope_type!r} (it takes "
        f"{known}); {_who_can(rope_type, cls.__module__)}"
    )


def _who_can(rope_type: str, configuration: str) -> str:
    from packaging.version import InvalidVersion, Version

    first = first_release_with(rope_type, configuration)
    if first is None:
        return "no known release can"
    try:
        is_newer = Version(first) > Version(_release())
    except InvalidVersion:
        is_newer = True
    # Otherwise the model could, and what the configuration class checks by itself does not let it.
    return f"{first} is the first release that can" if is_newer else "its own check allows no other"


def _refuse_a_failing_check(cls: type, spec: RopeSpec, names: LegacyNames) -> None:
    """Refuse what a class computes and the release's check raises a bare `TypeError` for.

    4.43.0 to 4.44.2: `_validate_longrope_parameters` compares a missing attention_factor with 0.
    """
    is_open = spec.rope_type == "longrope" and spec.parameters.get("attention_factor") is None
    if is_open and names.scaling_keys is None and not names.original_max and longrope_check_fails():
        raise RopeConfigError(
            f"{cls.__name__} of transformers {_release()} takes rope_type='longrope' only with "
            "attention_factor; 4.45.0 is the first release that takes it without"
        )


def _refuse_other_shape(cls: type, constructor: Any, kwargs: Mapping[str, Any]) -> None:
    """Refuse text parameters in a sub-configuration that a class of this release does not read."""
    declared = parameters_of(constructor)
    for name, value in sub_configs(kwargs):
        if name == "text_config" and name not in declared and has_rope(plain_fields(value)):
            raise RopeConfigError(
                f"{cls.__name__} of transformers {_release()} has its text parameters at the top level; the "
                f"configuration that is being loaded has them in {name}, which would be ignored as a whole"
            )


def first_release_with(rope_type: str, configuration: str) -> str | None:
    """The first release in which the model of a configuration module computes a type, None if none is known.

    `modeling_rope_utils` has to know the type, and the model's rotary class has to be made from its
    configuration, which most models' are since 4.48.
    """
    from ... import catalog

    known = catalog.generations(UTILS, TABLE)
    able = [each.first for each in known if f"'{rope_type}'" in each.signature][:1]
    model = configuration.replace(".configuration_", ".modeling_")
    classes = catalog.targets(f"{model}:*RotaryEmbedding.__init__")
    made = [s.first for each in classes for s in catalog.spans(*each) if "config" in s.signature]
    order = catalog.releases().index
    return max([*able, *sorted(made, key=order)[:1]], key=order) if able else None


def _release() -> str:
    import sys

    return str(getattr(sys.modules.get("transformers"), "__version__", "(unknown)"))
