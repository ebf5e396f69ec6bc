"""The shims for names beside RoPE whose absence stops imports. Which names: `_facts.removed_names`.

What is missing is given when it is asked for. One ``__getattr__``, on the class of lazy modules, answers for
transformers and all its lazy packages; modules that are gone are told to the import hook. A plain module that
is loaded can only answer by a ``__getattr__`` of its own: ``from ... import`` looks at its attributes and at
`sys.modules`, and then raises without asking anything that could be replaced in one place. So only those get
one from which names were taken: models' modules, and `_LOSING`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from .._patching.edits import Assign, Edit, Resolve, Rule, SetItem
from .._patching.references import namespace
from .options import Options
from .rule import ModuleRule
from .shim import Shim

if TYPE_CHECKING:
    from .._adapters.removed_names.lookup import RemovedNames

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

# Modules beside those of models that have lost public classes, functions or tables of their own between two
# supported releases (packages: what they re-exported, too), or a name of `_facts.removed_names`. From the
# catalog, whose names take 0.1 s to read; a test compares. Not in it: what only transformers imports from.
_PLAIN = """
    activations audio_utils cache_utils convert_slow_tokenizer core_model_loading data data.data_collator
    data.datasets file_utils generation generation.configuration_utils generation.logits_process
    generation.stopping_criteria generation.tf_utils generation.utils hyperparameter_search
    image_processing_utils_fast image_transforms image_utils integrations integrations.accelerate
    integrations.awq integrations.bitsandbytes integrations.compressed_tensors integrations.executorch
    integrations.finegrained_fp8 integrations.ggml integrations.gguf
    integrations.gguf.gguf_tokenizer_mapping integrations.hub_kernels integrations.integration_utils
    integrations.mistral integrations.mxfp4 integrations.npu_flash_attention integrations.peft
    integrations.tensor_parallel integrations.torchao masking_utils model_debugging_utils modelcard
    modeling_flash_attention_utils modeling_flax_utils modeling_gguf_pytorch_utils modeling_rope_utils
    modeling_tf_utils modeling_utils models optimization pipelines pipelines.base
    pipelines.image_text_to_text processing_utils pytorch_utils testing_utils tokenization_utils
    tokenization_utils_base trainer trainer_pt_utils trainer_utils training_args utils utils.args_doc
    utils.backbone_utils utils.doc utils.fx utils.generic utils.hub utils.import_utils utils.loading_report
    utils.output_capturing utils.quantization_config
"""
_LOSING = frozenset(f"{_PACKAGE}.{name}" for name in _PLAIN.split())


@dataclass(frozen=True, slots=True)
class _NamesRule(ModuleRule):
    """Also explains the absence of modules."""

    names: RemovedNames | None = None

    def absent(self, module_name: str) -> None:
        """Raise the reason where an import statement fails; say nothing to those who only ask."""
        from .._adapters.removed_names.module_getattr import is_import_statement

        if self.names is not None and is_import_statement():
            self.names.explain_module(module_name)


def loses_names(module_name: str) -> bool:
    """Whether names were taken from a module of this name."""
    return module_name.startswith(f"{_PACKAGE}.models.") or module_name in _LOSING


def _key(shim: Shim, options: Options) -> tuple[str, ...]:
    return (shim.name, str(options.written_for), repr(options.selection))


def _plain_modules(options: Options, names: RemovedNames) -> ModuleRule:
    def edits(module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        place = str(namespace(module).get("__name__"))
        if not loses_names(place) or type(module).__name__ == _LAZY:
            return
        from .._adapters.removed_names.module_getattr import module_getattr

        make = partial(module_getattr, module, names)
        target, detail = f"{place}:{_GETATTR}", "names that are gone"
        yield Assign(target, module, _GETATTR, make, _key(NAMES, options), NAMES.name, detail)

    # Of every module, as the rule is also asked about those that are gone.
    return _NamesRule(NAMES, lambda name: name.startswith(f"{_PACKAGE}."), edits, names=names)


def _lazy_modules(options: Options, names: RemovedNames) -> ModuleRule:
    def edits(module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        lazy = namespace(module).get(_LAZY)
        if not isinstance(lazy, type) or _GETATTR not in vars(lazy):
            return
        from .._adapters.removed_names.module_getattr import lazy_getattr

        make = partial(lazy_getattr, lazy, names)
        detail = "names that are gone from packages"
        yield Assign(LAZY.targets[0], lazy, _GETATTR, make, _key(LAZY, options), LAZY.name, detail)

    return ModuleRule(LAZY, _IMPORTS, edits)


def _whole_module(shim: Shim, source: str) -> ModuleRule:
    """Restores a module that is gone, when its package is there."""
    name = shim.targets[0].partition(":")[0]
    attribute = name.rpartition(".")[2]

    def edits(package: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        from importlib.machinery import PathFinder

        path = namespace(package).get("__path__")
        if path is None or PathFinder.find_spec(name, path) is not None:
            return
        from .._adapters.removed_names.module_getattr import standing_for

        make = partial(standing_for, name, source)
        detail = f"restored, from {source}"
        yield SetItem(f"sys.modules:{name}", sys.modules, name, make, shim.name, shim.name, detail)
        yield Assign(name, package, attribute, make, shim.name, shim.name, detail)

    return ModuleRule(shim, _PACKAGE, edits)


def rules(options: Options) -> list[Rule]:
    """The rules for names beside RoPE."""
    from .._adapters.removed_names.lookup import RemovedNames

    written_for = None if options.written_for is None else str(options.written_for)
    names = RemovedNames(options.release, written_for, options.selection.selects)
    modules = [_whole_module(shim, source) for shim, source in _MODULES.items()]
    return [_plain_modules(options, names), _lazy_modules(options, names), *modules]
