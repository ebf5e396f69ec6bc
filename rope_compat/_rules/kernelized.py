"""The shim for functions that attention modules hold: ``use_kernelized_func`` captures them by value."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from types import FunctionType, ModuleType

from .._patching.edits import Edit, Resolve, Rule, SetItem
from .._patching.references import closed_over, namespace, own_classes
from .options import Options
from .rule import ModuleRule, is_modeling
from .shim import Shim

__all__ = ["SHIMS", "rules"]

_FUNCTION = "apply_rotary_pos_emb"

HELD = Shim(
    name="kernelized-functions",
    kind="guard",
    targets=("transformers.models.*:*Attention.__init__",),
    why=(
        "attention modules keep apply_rotary_pos_emb, which pickle looks up by its name and has to find "
        "again: with another there, torch.save(model) and mp.spawn(f, (model,)) fail"
    ),
    since="5.0.0",
    until="5.14.1",
    upstream="src/transformers/integrations/hub_kernels.py, use_kernelized_func, 5.0.0 to 5.14.1",
    helps="whoever pickles a whole model",
)

SHIMS = (HELD,)


def rules(options: Options) -> list[Rule]:
    """The rule; it comes after the one that puts adapters in place."""
    return [ModuleRule(HELD, is_modeling, partial(_edits, options), lasting=True)]


def _edits(options: Options, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
    attributes, home = namespace(module), module.__name__
    native = resolve(attributes.get(_FUNCTION))
    # With `kernels` it is a module, which pickles as one.
    if not isinstance(native, FunctionType) or not options.selection.selects(home, _FUNCTION):
        return
    for name, cls in own_classes(module):
        for held in closed_over(vars(cls).get("__init__")):
            for place, value in enumerate(held if type(held) is list else ()):
                if resolve(value) is native:
                    make = partial(attributes.__getitem__, _FUNCTION)
                    detail, key = f"keeps {_FUNCTION} as it is found by name", str(options.written_for)
                    yield SetItem(f"{home}:{name}.__init__", held, place, make, key, HELD.name, detail)
