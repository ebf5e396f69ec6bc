"""The shims for names beside RoPE whose absence stops imports. Which names: `_facts.removed_names`.

One ``__getattr__`` a module answers for all of them, so that a module costs one assignment however many names
it has lost, and objects are built for those names only that somebody asks for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

from .._adapters.removed_names.module_getattr import (
    Answers,
    is_import_statement,
    lazy_getattr,
    module_getattr,
    native_of,
)
from .._patching.edits import Assign, Edit, Resolve, Rule, SetItem
from .._patching.references import namespace
from .options import Options
from .rule import ModuleRule
from .shim import Shim

__all__ = ["SHIMS", "rules"]

_PACKAGE = "transformers"
_IMPORTS = "transformers.utils.import_utils"
_LAZY = "_LazyModule"
_GETATTR = "__getattr__"

NAMES = Shim(
    name="removed-names",
    kind="restore",
    targets=(f"{_PACKAGE}.*:{_GETATTR}",),
    why=(
        "names that code imports beside RoPE's are gone: attention classes (4.48.0 to 5.13.0), predicates, "
        "docstring constants, names that were only re-exported; others cannot be restored, and the "
        "ImportError says since when they are gone"
    ),
    since="4.36.0",
    until=None,
    upstream="src/transformers at 4.48.0, 4.54.0, 5.0.0 and nearly every other release",
    helps="RoPE patches, trainers, remote code that import LlamaFlashAttention2, is_torch_fx_available, ...",
)

LAZY = Shim(
    name="removed-names-of-packages",
    kind="restore",
    targets=(f"{_IMPORTS}:{_LAZY}.{_GETATTR}",),
    why="transformers itself and its packages are lazy modules, whose names are looked up by their class",
    since="4.36.0",
    until=None,
    upstream="src/transformers/utils/import_utils.py, _LazyModule",
    helps="from transformers import a name that is gone",
)

MASKS = Shim(
    name="restore-modeling-attn-mask-utils",
    kind="restore",
    targets=(f"{_PACKAGE}.modeling_attn_mask_utils:AttentionMaskConverter",),
    why="the module is gone from 5.24.0 on; masking_utils has taken its place, with other functions",
    since="5.24.0",
    until=None,
    upstream="src/transformers/modeling_attn_mask_utils.py at 5.24.0",
    helps="remote code, which imports _prepare_4d_causal_attention_mask and AttentionMaskConverter from it",
)

DEEPSPEED = Shim(
    name="restore-transformers-deepspeed",
    kind="restore",
    targets=(f"{_PACKAGE}.deepspeed:is_deepspeed_zero3_enabled",),
    why="the module is gone from 4.46.1 on; what it held is in transformers.integrations",
    since="4.46.1",
    until=None,
    upstream="src/transformers/deepspeed.py at 4.46.1",
    helps="trainers that import is_deepspeed_zero3_enabled or HfDeepSpeedConfig from it",
)

ONNX = Shim(
    name="restore-transformers-onnx",
    kind="restore",
    targets=(f"{_PACKAGE}.onnx:OnnxConfig",),
    why="the module is gone from 5.0.0 on, and configuration files derive a class for the export from it",
    since="5.0.0",
    until=None,
    upstream="src/transformers/onnx at 5.0.0",
    helps="configuration files of GPT-J, CodeGen and others that ship with a checkpoint",
    note="the export itself is not restored: making one of the classes raises an error that says so",
)

#: Modules that are gone as a whole, and what has their names.
_MODULES = {
    MASKS: "rope_compat._adapters.removed_names.attention_masks",
    DEEPSPEED: "transformers.integrations.deepspeed",
    ONNX: "rope_compat._adapters.removed_names.onnx",
}

SHIMS = (NAMES, LAZY, MASKS, DEEPSPEED, ONNX)


@dataclass(frozen=True, slots=True)
class _NamesRule(ModuleRule):
    """Also explains the absence of modules."""

    answers: Answers | None = None

    def absent(self, module_name: str) -> None:
        """Raise the reason where an import statement fails; say nothing to those who only ask."""
        if self.answers is not None and is_import_statement():
            self.answers.explain_module(module_name)


def _key(shim: Shim, options: Options) -> tuple[str, ...]:
    return (shim.name, str(options.written_for), repr(options.selection))


def _names(options: Options, answers: Answers) -> ModuleRule:
    def edits(module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        attributes = namespace(module)
        if type(module).__name__ == _LAZY:
            return
        # A nested patch() finds the answers of the outer one: its own stand on what the module has itself.
        native = native_of(attributes.get(_GETATTR))
        make = partial(module_getattr, module, native, answers)
        target = f"{attributes.get('__name__')}:{_GETATTR}"
        detail = "names that are gone"
        yield Assign(target, module, _GETATTR, make, _key(NAMES, options), NAMES.name, detail)

    return _NamesRule(NAMES, _is_wanted, edits, answers=answers)


def _is_wanted(module_name: str) -> bool:
    return module_name.startswith("transformers.")


def _packages(options: Options, answers: Answers) -> ModuleRule:
    def edits(module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        lazy = namespace(module).get(_LAZY)
        native = native_of(vars(lazy).get(_GETATTR)) if isinstance(lazy, type) else None
        if native is None:
            return
        make = partial(lazy_getattr, native, answers)
        detail = "names that are gone from packages"
        yield Assign(LAZY.targets[0], lazy, _GETATTR, make, _key(LAZY, options), LAZY.name, detail)

    return ModuleRule(LAZY, _IMPORTS, edits)


def _module(shim: Shim, source: str) -> ModuleRule:
    """Restores a module that is gone, when its package is there."""
    name = shim.targets[0].partition(":")[0]
    attribute = name.rpartition(".")[2]

    def edits(package: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        if not _is_gone(package, name):
            return
        from .._adapters.removed_names.modules import standing_for

        make = partial(standing_for, name, source)
        detail = f"restored, from {source}"
        yield SetItem(f"sys.modules:{name}", sys.modules, name, make, shim.name, shim.name, detail)
        yield Assign(name, package, attribute, make, shim.name, shim.name, detail)

    return ModuleRule(shim, _PACKAGE, edits)


def _is_gone(package: ModuleType, name: str) -> bool:
    from importlib.machinery import PathFinder

    path = namespace(package).get("__path__")
    return path is not None and PathFinder.find_spec(name, path) is None


def rules(options: Options) -> list[Rule]:
    """The rules for names beside RoPE."""
    written_for = None if options.written_for is None else str(options.written_for)
    answers = Answers(options.release, written_for, options.selection.selects)
    modules = [_module(shim, source) for shim, source in _MODULES.items()]
    return [_names(options, answers), _packages(options, answers), *modules]
