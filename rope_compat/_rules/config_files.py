"""The shims for configurations on 4.x: what 5.x saves is read, and code written for 5.x finds what it reads.

They have something to do up to 4.57.6: from 5.0.0 on transformers has ``rope_parameters`` itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import FunctionType, ModuleType

from .._patching.edits import Assign, Edit, Resolve, Rule
from .._patching.references import namespace
from .options import Options
from .rule import ModuleRule, giving
from .shim import Shim

__all__ = ["SHIMS", "rules"]

_BASE = "transformers.configuration_utils"
_CLASS = "PretrainedConfig"
_NEW = "PreTrainedConfig"
_UPSTREAM = "src/transformers/configuration_utils.py and modeling_rope_utils.py at 5.0.0"

CONSTRUCTORS = Shim(
    name="config-constructors",
    kind="guard",
    targets=("transformers.models.*.configuration_*:*.__init__",),
    why=(
        "a config.json saved by 5.0 or later has rope_parameters and no rope_theta: 4.x loads it without a "
        "word, with theta 10000 and without scaling; a rope type that the release cannot compute is ignored, "
        "or reported as a wrong number of fields"
    ),
    since="4.36.0",
    until="4.57.6",
    upstream="src/transformers/models/*/configuration_*.py at 4.43.0, 4.48.0 and 5.0.0",
    helps="whoever loads a checkpoint that a newer release saved",
    note="a configuration that the release cannot express or compute is refused by name",
)

FILES = Shim(
    name="config-files",
    kind="guard",
    targets=(f"{_BASE}:{_CLASS}.from_dict", f"{_BASE}:{_CLASS}.__init__"),
    why=(
        "configuration classes of custom code written for 4.x get the fields that they take from a "
        "config.json of 5.x, and those written for 5.x get rope_parameters from one of 4.x"
    ),
    since="4.36.0",
    until="4.57.6",
    upstream=_UPSTREAM,
    helps="trust_remote_code models, and configuration classes in files of your own",
)

ATTRIBUTES = Shim(
    name="config-attributes",
    kind="guard",
    targets=(f"{_BASE}:{_CLASS}.rope_parameters", f"{_BASE}:{_CLASS}.rope_theta"),
    why=(
        "code written for 5.x reads config.rope_parameters, which 4.x does not have, and modules of 4.x read "
        "rope_theta, rope_scaling and partial_rotary_factor, which a class written for 5.x does not have"
    ),
    since="4.36.0",
    until="4.57.6",
    upstream=_UPSTREAM,
    helps="code written for 5.x, and its configuration classes used with transformers' own modules",
)

METHODS = Shim(
    name="config-methods",
    kind="restore",
    targets=(
        f"{_BASE}:{_CLASS}.standardize_rope_params",
        f"{_BASE}:{_CLASS}.validate_rope",
        f"{_BASE}:{_CLASS}.convert_rope_params_to_dict",
    ),
    why="configuration classes written for 5.x call and override methods that 4.x does not have",
    since="4.36.0",
    until="4.57.6",
    upstream=_UPSTREAM,
    helps="configuration classes written for 5.x",
)

NAME = Shim(
    name="pretrained-config-name",
    kind="restore",
    targets=(f"{_BASE}:PreTrainedConfig",),
    why="5.0.0 renamed PretrainedConfig, so code written for it cannot import the new name from 4.x",
    since="4.36.0",
    until="4.57.6",
    upstream="src/transformers/configuration_utils.py at 5.0.0",
    helps="code that imports PreTrainedConfig",
)

SHIMS = (CONSTRUCTORS, FILES, ATTRIBUTES, METHODS, NAME)

#: Attributes to set on the base class: name, maker and a line for people.
_Attributes = Callable[[type], Iterator[tuple[str, Callable[[], object], str]]]


def _base_of_4() -> type | None:
    """`PretrainedConfig` of a release without `rope_parameters` of its own, None on 5.x."""
    module = sys.modules.get(_BASE)
    base = vars(module).get(_CLASS) if module is not None else None
    if not isinstance(base, type):
        return None
    from .._adapters.configs.construction import is_ours

    own = getattr(base, "convert_rope_params_to_dict", None)
    return base if own is None or is_ours(own) else None


def _on_the_base(shim: Shim, attributes: _Attributes, options: Options) -> ModuleRule:
    """What is put on the base class: one assignment for each attribute; none on 5.x."""

    def edits(module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        base = _base_of_4()
        for attribute, make, detail in attributes(base) if base is not None else ():
            if options.selection.selects(_BASE, f"{_CLASS}.{attribute}"):
                target = f"{_BASE}:{_CLASS}.{attribute}"
                yield Assign(target, base, attribute, make, shim.name, shim.name, detail)

    return ModuleRule(shim, _BASE, edits)


def _files(base: type) -> Iterator[tuple[str, Callable[[], object], str]]:
    from .._adapters.configs import construction, files

    def make_from_dict() -> object:
        return classmethod(files.reading(vars(base)["from_dict"].__func__, is_5=False))

    yield "from_dict", make_from_dict, "a config.json of 5.x is read by classes written for 4.x"
    make_constructor = partial(construction.base_of_4, vars(base)["__init__"])
    yield "__init__", make_constructor, "rope_parameters of classes written for 5.x are completed"


def _attributes(base: type) -> Iterator[tuple[str, Callable[[], object], str]]:
    from .._adapters.configs.fields import FIELDS_OF_4

    for field in FIELDS_OF_4:
        is_new = field.name == "rope_parameters"
        detail = "derived from the fields of 4.x" if is_new else "kept in step with rope_parameters"
        yield field.name, giving(field), detail


def _methods(base: type) -> Iterator[tuple[str, Callable[[], object], str]]:
    from .._adapters.configs import methods

    for name, function in methods.METHODS.items():
        yield name, giving(function), "as 5.x calls it"
    for name, make in methods.ATTRIBUTES.items():
        yield name, make, "as 5.x has it"


def _constructors(options: Options) -> ModuleRule:
    """The constructors of transformers' own configuration classes that have to do with a rotary embedding."""

    def edits(module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        base = _base_of_4()
        if base is None:
            return
        from .._adapters.configs.class_fields import takes_rope
        from .._adapters.configs.construction import native_of
        from .._adapters.configs.translation import accepting

        for cls in [each for each in namespace(module).values() if isinstance(each, type)]:
            original = native_of(vars(cls).get("__init__"))
            is_meant = cls.__module__ == module.__name__ and issubclass(cls, base)
            if not is_meant or not isinstance(original, FunctionType) or not takes_rope(original):
                continue
            name = f"{cls.__qualname__}.__init__"
            if options.selection.selects(module.__name__, name):
                target, rule = f"{module.__name__}:{name}", CONSTRUCTORS.name
                make = partial(accepting, cls, original)
                yield Assign(target, cls, "__init__", make, rule, rule, "takes rope_parameters too")

    return ModuleRule(
        CONSTRUCTORS,
        lambda name: name.startswith("transformers.models.") and ".configuration_" in name,
        edits,
        lasting=True,
    )


def _name(options: Options) -> ModuleRule:
    """The name of 5.x beside the class; the package's own is among `neighbours`."""

    def edits(module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        base = _base_of_4()
        if base is not None and options.selection.selects(_BASE, _NEW):
            yield Assign(NAME.targets[0], module, _NEW, giving(base), NAME.name, NAME.name, _CLASS)

    return ModuleRule(NAME, _BASE, edits)


def rules(options: Options) -> list[Rule]:
    """The rules for configurations on 4.x; on 5.x they propose nothing."""
    return [
        _on_the_base(FILES, _files, options),
        _on_the_base(ATTRIBUTES, _attributes, options),
        _on_the_base(METHODS, _methods, options),
        _constructors(options),
        _name(options),
    ]
