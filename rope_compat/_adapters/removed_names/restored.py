"""Functions, types and texts beside RoPE that transformers dropped, as they were.

torch and transformers are imported by what needs them: the predicates are asked where torch is not installed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypedDict

from ...errors import IncompatibleVersionError

__all__ = ["find"]

#: Functions of flash-attn that modules re-exported to 4.53, by where it has them.
_FLASH = {
    **dict.fromkeys(("flash_attn_func", "flash_attn_varlen_func"), "flash_attn"),
    **dict.fromkeys(("index_first_axis", "pad_input", "unpad_input"), "flash_attn.bert_padding"),
}


def find(module: str, name: str, written_for: str | None = None) -> Any:
    """What stands for ``module:name``, a name of the table."""
    if name in globals():
        return globals()[name]
    if name in _FLASH:
        return _of_flash_attn(name)
    if name.startswith("Hybrid"):
        return _static_cache(module, name)
    if name.endswith("OutputWithPast"):
        return _output(module, name)
    return _documentation(module, name)


# What predicates asked of torch and of packages, not of transformers: the answers hold on any release.


def _torch_is_at_least(version: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        installed = Version(importlib.metadata.version("torch"))
    except (importlib.metadata.PackageNotFoundError, InvalidVersion):
        return False
    return Version(installed.base_version) >= Version(version)


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _asking(name: str, answer: Callable[[], bool]) -> Callable[[], bool]:
    def predicate() -> bool:
        return answer()

    predicate.__name__ = predicate.__qualname__ = name
    return predicate


def _since(name: str, version: str) -> Callable[[], bool]:
    return _asking(name, lambda: _torch_is_at_least(version))


is_torch_fx_available = _since("is_torch_fx_available", "1.10")
is_torch_bf16_cpu_available = _since("is_torch_bf16_cpu_available", "1.10")
is_torchdynamo_available = _since("is_torchdynamo_available", "2.0")
is_torch_compile_available = _since("is_torch_compile_available", "2.0")
is_torch_sdpa_available = _since("is_torch_sdpa_available", "2.1.1")
is_safetensors_available = _asking("is_safetensors_available", lambda: _has("safetensors"))
# They asked whether transformers can use TensorFlow and Flax, which no release from 5.0 on can.
is_tf_available = _asking("is_tf_available", bool)
is_flax_available = _asking("is_flax_available", bool)

is_torch_less_than_1_11 = not _torch_is_at_least("1.11")
is_torch_greater_or_equal_than_1_11 = _torch_is_at_least("1.11")
is_torch_greater_or_equal_than_1_12 = _torch_is_at_least("1.12")
is_torch_greater_or_equal_than_1_13 = _torch_is_at_least("1.13")
is_torch_greater_or_equal_than_2_0 = _torch_is_at_least("2.0")


def is_torch_tpu_available(check_device: bool = True) -> bool:
    """Whether torch_xla is installed and, unless told otherwise, sees a device."""
    if not _has("torch") or not _has("torch_xla"):
        return False
    if check_device:
        try:
            from torch_xla.core import xla_model  # type: ignore[import-not-found,unused-ignore]

            xla_model.xla_device()
        except RuntimeError:
            return False
    return True


def is_flash_attn_greater_or_equal_2_10() -> bool:
    """Whether flash-attn 2.1 or later is usable."""
    from transformers.utils import is_flash_attn_greater_or_equal

    return bool(is_flash_attn_greater_or_equal("2.1.0"))


def no_init_weights(_enable: bool = True) -> Any:
    """A context in which models are constructed without initialising their weights; moved in 5.0.0."""
    # `_enable` was a parameter up to 4.52.
    if not _enable:
        return contextlib.nullcontext()
    from transformers.initialization import no_init_weights as moved

    return moved()


# Pruning of attention heads, which 5.0.0 dropped.


def find_pruneable_heads_and_indices(
    heads: Iterable[int], n_heads: int, head_size: int, already_pruned_heads: set[int]
) -> tuple[set[int], Any]:
    """The heads that are not pruned yet, and the indices of the weights that stay when they are."""
    import torch

    to_prune = set(heads) - already_pruned_heads
    kept = torch.ones(n_heads, head_size, dtype=torch.bool)
    for head in to_prune:
        # The weights have lost the heads that were pruned before, so later ones have moved up.
        kept[head - sum(pruned < head for pruned in already_pruned_heads)] = False
    return to_prune, kept.flatten().nonzero().flatten()


def prune_conv1d_layer(layer: Any, index: Any, dim: int = 1) -> Any:
    """A new `Conv1D` with the entries of `index` only."""
    import torch
    from transformers.pytorch_utils import Conv1D

    index = index.to(layer.weight.device)
    weight = layer.weight.detach().index_select(dim, index)
    bias = layer.bias.detach() if dim == 0 else layer.bias.detach()[index]
    pruned = Conv1D(weight.shape[1], weight.shape[0]).to(layer.weight.device)
    pruned.weight = torch.nn.Parameter(weight.clone().contiguous())
    pruned.bias = torch.nn.Parameter(bias.clone().contiguous())
    return pruned


def prune_layer(layer: Any, index: Any, dim: int | None = None) -> Any:
    """A new linear or `Conv1D` layer with the entries of `index` only."""
    import torch
    from transformers.pytorch_utils import Conv1D, prune_linear_layer

    if isinstance(layer, torch.nn.Linear):
        return prune_linear_layer(layer, index, dim=0 if dim is None else dim)
    if isinstance(layer, Conv1D):
        return prune_conv1d_layer(layer, index, dim=1 if dim is None else dim)
    raise ValueError(f"a layer of class {type(layer)} cannot be pruned")


# Types, for annotations and return values.


class LossKwargs(TypedDict, total=False):
    """Keywords of loss functions; merged into ``TransformersKwargs`` in 4.54.0."""

    num_items_in_batch: Any


class KwargsForCausalLM(LossKwargs, total=False):
    """Keywords of a language model's ``forward``: those of flash attention and of the loss."""

    cu_seq_lens_q: Any
    cu_seq_lens_k: Any
    max_length_q: Any
    max_length_k: Any


def _static_cache(module: str, name: str) -> Any:
    """``HybridCache`` and its like, other names of `StaticCache` from 4.54.0 to 4.57.6."""
    from transformers.cache_utils import StaticCache

    def construct(self: Any, config: Any, max_cache_len: Any = None, *args: Any, **kwargs: Any) -> None:
        # Batch size, device and dtype are found when the first tokens come, since 4.54.0.
        StaticCache.__init__(self, config=config, max_cache_len=max_cache_len)

    return type(StaticCache)(name, (StaticCache,), {"__module__": module, "__init__": construct})


def _output(module: str, name: str) -> Any:
    """An output class of Qwen2-VL or Qwen2.5-VL: the general one with ``rope_deltas``, as to 5.22.2."""
    from transformers import modeling_outputs

    general = "CausalLMOutputWithPast" if "CausalLM" in name else "BaseModelOutputWithPast"
    base = getattr(modeling_outputs, general)
    contents = {
        "__module__": module,
        "__doc__": f"`{general}` with ``rope_deltas``, as models to 5.22.2 returned it.",
        "__annotations__": {"rope_deltas": Any},
        "rope_deltas": None,
    }
    return dataclass(type(base)(name, (base,), contents))


def _documentation(module: str, name: str) -> Any:
    """What modules of models held to 4.52.0 for their documentation, and their loggers."""
    if name == "logger":
        from transformers.utils import logging

        return logging.get_logger(module)
    if name == "_CONFIG_FOR_DOC":
        classes = [each for each in vars(sys.modules[module]).values() if isinstance(each, type)]
        configs = [getattr(each, "config_class", None) for each in classes if each.__module__ == module]
        return next((config.__name__ for config in configs if config is not None), "PretrainedConfig")
    return "" if name == "_CHECKPOINT_FOR_DOC" else f"See the documentation of {module}.\n"


def _of_flash_attn(name: str) -> Any:
    """From the package; without it, what plain torch can do is done."""
    try:
        return getattr(importlib.import_module(_FLASH[name]), name)
    except ImportError:
        own = {"index_first_axis": _index_first_axis, "pad_input": _pad_input}
        return own.get(name) or _needing_flash_attn(name)


def _needing_flash_attn(name: str) -> Callable[..., Any]:
    """So that code that only imports it can be imported."""

    def function(*args: Any, **kwargs: Any) -> Any:
        raise IncompatibleVersionError(
            f"{name} is a function of flash-attn, which is not installed here: pip install flash-attn, or "
            'use attn_implementation="sdpa"'
        )

    function.__name__ = function.__qualname__ = name
    return function


def _index_first_axis(input: Any, indices: Any) -> Any:  # flash-attn's own name for it
    """The rows of `input` that `indices` name."""
    return input[indices]


def _pad_input(hidden_states: Any, indices: Any, batch: int, seqlen: int) -> Any:
    """Put the rows of packed tokens back where they were in a padded batch; zeros elsewhere."""
    padded = hidden_states.new_zeros((batch * seqlen, *hidden_states.shape[1:]))
    # Not in place on a leaf: gradients reach the rows.
    return padded.index_put((indices,), hidden_states).view(batch, seqlen, *hidden_states.shape[1:])
