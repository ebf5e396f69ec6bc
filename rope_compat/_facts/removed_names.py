"""Names beside RoPE that transformers has taken away: one record each, of what is restored or advised.

`tests/user/test_removed_names_table.py` holds ``gone`` against the catalog. Loaded when a name is missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

__all__ = ["TABLE", "Kind", "Period", "RemovedName", "is_due", "periods"]

Kind = Literal[
    "predicate", "re-export", "documentation", "type", "function", "class", "attention class", "value"
]
Period = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RemovedName:
    """One name, or one pattern of names, in the modules where it once was.

    Attributes:
        name: the name; may have ``*``.
        modules: where it was; each may have ``*``.
        kind: what it is, for people.
        gone: in which releases it is not there, from the oldest supported one on: ``"5.0.0-"``, or
            ``"4.48.0-4.48.1"``, or several of these with commas. Empty where it differs by module: then the
            catalog tells.
        home: where the object lives, ``module:name`` or a module; the first that the installed release has.
        made: the module of `_adapters.removed_names` that has it or builds it.
        instead: what to use, where it cannot be restored.
    """

    name: str
    modules: tuple[str, ...]
    kind: Kind
    gone: str = ""
    home: tuple[str, ...] = ()
    made: str = ""
    instead: str = ""

    @property
    def restored(self) -> bool:
        """Whether asking for the name gives something."""
        return bool(self.home or self.made)

    def covers(self, module: str, name: str) -> bool:
        """Whether this record is about ``module:name``."""
        if name != self.name and not ("*" in self.name and fnmatchcase(name, self.name)):
            return False
        return any(module == each or ("*" in each and fnmatchcase(module, each)) for each in self.modules)


def periods(gone: str) -> tuple[Period, ...]:
    """`RemovedName.gone` as first and last releases; the last is empty where there is no end in sight."""
    parts = [part.strip().partition("-") for part in gone.split(",") if part.strip()]
    return tuple((first, last) for first, _, last in parts)


def is_due(gone: str, release: str | None) -> bool:
    """Whether a name is gone in a release; one that cannot be read is taken for the newest."""
    from packaging.version import InvalidVersion, Version

    known = periods(gone)
    try:
        here = Version(Version(release or "").base_version)
    except InvalidVersion:
        return any(not last for _, last in known)
    return any(Version(first) <= here and (not last or here <= Version(last)) for first, last in known)


_T = "transformers"
_UTILS = ".utils .utils.import_utils"
_FLASH = ".modeling_flash_attention_utils"
#: Every module that holds a model. When each of them lost a name is in the catalog.
_MODELS = ".models.*.modeling_*"


def _places(text: str) -> tuple[str, ...]:
    """Modules, and names in them, in full: what begins with a dot is inside of transformers."""
    return tuple(f"{_T}{place}" if place.startswith(".") else place for place in text.split())


def _all(
    kind: Kind, gone: str, modules: str, names: str, home: str = "", *, made: str = "restored"
) -> tuple[RemovedName, ...]:
    """Records of names that are restored alike, each under its own name where `home` has none."""
    records = []
    for name in names.split():
        homes = tuple(place if ":" in place else f"{place}:{name}" for place in _places(home))
        records.append(RemovedName(name, _places(modules), kind, gone, homes, "" if homes else made))
    return tuple(records)


def _advice(kind: Kind, gone: str, modules: str, name: str, instead: str) -> RemovedName:
    """The record of a name that cannot be restored."""
    return RemovedName(name, _places(modules), kind, gone, instead=instead)


# What was asked is in `restored`: of torch, not of transformers, so the answers hold on any release.
_PREDICATES = (
    *_all("predicate", "5.0.0-", f"{_UTILS} .file_utils", "is_torch_fx_available"),
    *_all("predicate", "5.0.0-", _UTILS, "is_torch_sdpa_available is_torchdynamo_available"),
    *_all("predicate", "5.0.0-", _UTILS, "is_torch_compile_available is_torch_bf16_cpu_available"),
    *_all(
        "predicate", "5.0.0-", f"{_UTILS} .file_utils", "is_torch_bf16_available",
        ".utils:is_torch_bf16_gpu_available",
    ),
    *_all("predicate", "4.51.0-5.8.1", _UTILS, "is_torch_tpu_available"),
    *_all("predicate", "4.51.0-", _T, "is_torch_tpu_available"),
    *_all("predicate", "4.39.0-", ".file_utils .trainer", "is_torch_tpu_available"),
    *_all("predicate", "5.0.0-", f"{_T} {_UTILS}", "is_safetensors_available"),
    *_all("predicate", "5.0.0-", f"{_T} {_UTILS} .file_utils", "is_tf_available is_flax_available"),
    *_all("predicate", "4.39.0-", _UTILS, "is_flash_attn_available", ".utils:is_flash_attn_2_available"),
    *_all("predicate", "5.4.0-5.4.0", _UTILS, "is_flash_attn_greater_or_equal_2_10"),
    *_all("predicate", "4.37.0-", ".pytorch_utils", "is_torch_less_than_1_11"),
    *_all("predicate", "4.37.0-", ".pytorch_utils", "is_torch_greater_or_equal_than_1_11"),
    *_all(
        "predicate", "4.48.0-4.48.1", ".pytorch_utils",
        "is_torch_greater_or_equal_than_1_12 is_torch_greater_or_equal_than_1_13 "
        "is_torch_greater_or_equal_than_2_0",
    ),
)  # fmt: skip

_PRUNING = "find_pruneable_heads_and_indices prune_conv1d_layer prune_layer"
_MOVED = "prune_linear_layer apply_chunking_to_forward Conv1D"

_FUNCTIONS = (
    *_all("function", "5.0.0-", ".pytorch_utils", _PRUNING),
    *_all("function", "4.56.0-", ".modeling_utils", _PRUNING),
    *_all("re-export", "4.56.0-", ".modeling_utils", _MOVED, ".pytorch_utils"),
    *_all("re-export", "5.0.0-", ".modeling_utils", "PretrainedConfig", ".configuration_utils"),
    *_all("function", "5.0.0-", ".modeling_utils", "no_init_weights"),
    *_all("re-export", "4.54.0-", _FLASH, "flash_attn_func flash_attn_varlen_func unpad_input pad_input"),
    *_all("re-export", "4.53.0-", _FLASH, "index_first_axis"),
)

_CACHES = "HybridCache HybridChunkedCache"
_HUB_CACHE = "huggingface_hub.constants:HF_HUB_CACHE"
_QWEN2_VL = "Qwen2VLCausalLMOutputWithPast Qwen2VLModelOutputWithPast"
_QWEN2_5_VL = "Qwen2_5_VLCausalLMOutputWithPast Qwen2_5_VLModelOutputWithPast"

_TYPES = (
    *_all("type", "4.54.0-", ".utils .utils.generic", "LossKwargs"),
    *_all("type", "5.2.0-", ".utils.generic", "OutputRecorder", ".utils.output_capturing"),
    *_all("re-export", "4.57.1-", ".utils .utils.generic .file_utils", "cached_property", "functools"),
    *_all("value", "5.0.0-", f"{_T} .utils .utils.hub .file_utils", "TRANSFORMERS_CACHE", _HUB_CACHE),
    *_all("class", "4.36.0-4.57.6", _T, "PreTrainedConfig", ".configuration_utils:PretrainedConfig"),
    # transformers itself has it back from 5.5.1 on, as another name of StaticCache.
    *_all("class", "5.0.0-5.5.0", ".cache_utils", "SlidingWindowCache", ".cache_utils:StaticCache"),
    *_all("class", "5.0.0-", ".cache_utils", _CACHES),
    *_all("class", "5.23.0-", ".models.qwen2_vl.modeling_qwen2_vl", _QWEN2_VL),
    *_all("class", "5.23.0-", ".models.qwen2_5_vl.modeling_qwen2_5_vl", _QWEN2_5_VL),
)

_CONFIGS_GONE = "the caches take the arguments themselves"
_SINK = "the custom_generate repository transformers-community/sink_cache has it"
_WARPERS = f"{_T} .generation .generation.logits_process"
_FILTERS = "use TopKLogitsWarper and TopPLogitsWarper of transformers.generation"
_BACK = "install transformers 5.4 or later, where it is there again"
_OFFLINE = "use huggingface_hub.constants.HF_HUB_OFFLINE"

_ADVICE = (
    _advice("class", "5.0.0-", f"{_T} .cache_utils", "SinkCache", _SINK),
    _advice("class", "5.0.0-", f"{_T} .cache_utils", "OffloadedCache", "DynamicCache(offloading=True)"),
    _advice(
        "class", "5.0.0-", f"{_T} .cache_utils", "OffloadedStaticCache", "StaticCache(..., offloading=True)"
    ),
    _advice("class", "4.54.0-", ".cache_utils", "MambaCache", "the model's own module makes its cache"),
    _advice("class", "4.56.0-", ".cache_utils", "CacheConfig", _CONFIGS_GONE),
    _advice("class", "4.56.0-", ".cache_utils", "StaticCacheConfig", _CONFIGS_GONE),
    _advice("class", "4.56.0-", f"{_T} .cache_utils", "QuantizedCacheConfig", _CONFIGS_GONE),
    _advice("class", "5.0.0-", _T, "AutoModelForVision2Seq", "use AutoModelForImageTextToText"),
    _advice("class", "4.49.0-", _WARPERS, "LogitsWarper", "derive from LogitsProcessor"),
    _advice("class", "4.50.0-", f"{_T} .optimization", "AdamW", "use torch.optim.AdamW"),
    _advice("class", "4.53.0-", ".modeling_utils", "SequenceSummary", "copy it into your code"),
    _advice("function", "4.39.0-", f"{_T} .generation", "top_k_top_p_filtering", _FILTERS),
    _advice("function", "5.2.0-5.3.0", ".utils.generic", "check_model_inputs", _BACK),
    _advice("predicate", "5.0.0-", ".utils .file_utils", "is_offline_mode", _OFFLINE),
)

_ATTENTION = "*FlashAttention2 *SdpaAttention *SdpaSelfAttention *_ATTENTION_CLASSES"
_DOCUMENTATION = "*_START_DOCSTRING *_INPUTS_DOCSTRING _CONFIG_FOR_DOC _CHECKPOINT_FOR_DOC"
_KERNELS = "flash_attn_func flash_attn_varlen_func index_first_axis pad_input unpad_input"
_FLASH_HERE = f"{_FLASH}:is_flash_attn_available .utils:is_flash_attn_2_available"
_WITH_POSITION = "_prepare_4d_causal_attention_mask_with_cache_position"

_IN_MODELS = (
    *_all("attention class", "", _MODELS, _ATTENTION, made="attention"),
    *_all("documentation", "", _MODELS, _DOCUMENTATION),
    *_all("value", "", _MODELS, "logger"),
    *_all("re-export", "", _MODELS, _KERNELS),
    *_all("predicate", "", _MODELS, "is_flash_attn_available", _FLASH_HERE),
    *_all("type", "", _MODELS, "KwargsForCausalLM"),
    *_all("function", "", _MODELS, _WITH_POSITION, made="attention_masks"),
    # Of the init functions' shims, which have put it back in its own module.
    *_all("re-export", "", ".models.*.configuration_*", "rope_config_validation", ".modeling_rope_utils"),
)

#: Names that modules of models only imported, by where they live.
_HOMES = {
    ".activations": "ACT2FN",
    ".cache_utils": "Cache DynamicCache StaticCache SlidingWindowCache HybridCache EncoderDecoderCache",
    ".configuration_utils": "PretrainedConfig",
    ".generation": "GenerationMixin",
    ".integrations.flex_attention": "make_flex_block_causal_mask",
    ".modeling_attn_mask_utils": (
        "AttentionMaskConverter _prepare_4d_attention_mask _prepare_4d_attention_mask_for_sdpa "
        "_prepare_4d_causal_attention_mask _prepare_4d_causal_attention_mask_for_sdpa "
        "_create_4d_causal_attention_mask"
    ),
    _FLASH: "_flash_attention_forward _get_unpad_data FlashAttentionKwargs flash_attn_supports_top_left_mask",
    ".modeling_layers": "GradientCheckpointingLayer",
    ".modeling_outputs": (
        "BaseModelOutput BaseModelOutputWithPast BaseModelOutputWithPastAndCrossAttentions "
        "BaseModelOutputWithPooling BaseModelOutputWithPoolingAndCrossAttentions CausalLMOutputWithPast "
        "MoeCausalLMOutputWithPast QuestionAnsweringModelOutput SequenceClassifierOutputWithPast "
        "TokenClassifierOutput"
    ),
    ".modeling_rope_utils": "ROPE_INIT_FUNCTIONS dynamic_rope_update",
    ".modeling_utils": "PreTrainedModel",
    ".pytorch_utils": (
        "ALL_LAYERNORM_LAYERS Conv1D find_pruneable_heads_and_indices is_torch_greater_or_equal_than_1_12 "
        "is_torch_greater_or_equal_than_1_13 is_torch_greater_or_equal_than_2_0 "
        "is_torch_greater_or_equal_than_2_1 is_torch_greater_or_equal_than_2_2 meshgrid prune_conv1d_layer "
        "prune_linear_layer"
    ),
    ".utils": (
        "ModelOutput add_code_sample_docstrings add_end_docstrings add_start_docstrings "
        "add_start_docstrings_to_model_forward get_torch_version is_accelerate_available "
        "is_flash_attn_2_available is_flash_attn_greater_or_equal is_flash_attn_greater_or_equal_2_10 "
        "is_scipy_available is_torch_available is_torch_flex_attn_available is_torch_fx_available "
        "is_torch_fx_proxy is_torchdynamo_compiling is_vision_available logging LossKwargs "
        "replace_return_docstrings requires_backends"
    ),
    ".utils.deprecation": "deprecate_kwarg",
    ".utils.generic": "can_return_tuple check_model_inputs maybe_autocast OutputRecorder",
    "packaging": "version",
    "torch": "Tensor nn",
    "torch.nn": "BCEWithLogitsLoss CrossEntropyLoss MSELoss",
    "torch.nn.attention.flex_attention": "BlockMask",
    "typing": "Any Callable Dict List Optional Set Tuple Union",
    "functools": "partial",
    "dataclasses": "dataclass",
}

#: Modules that they imported.
_MODULES = ("copy", "inspect", "math", "os", "warnings")

TABLE: tuple[RemovedName, ...] = (
    *_PREDICATES,
    *_FUNCTIONS,
    *_TYPES,
    *_ADVICE,
    *_IN_MODELS,
    *(each for home, names in _HOMES.items() for each in _all("re-export", "", _MODELS, names, home)),
    RemovedName("F", _places(_MODELS), "re-export", home=("torch.nn.functional",)),
    *(RemovedName(name, _places(_MODELS), "re-export", home=(name,)) for name in _MODULES),
)
