"""Every name beside RoPE that is restored, or that people ask for and that cannot be: one record each.

A new one is one line. `tests/user/test_neighbours_table.py` holds ``gone`` against the catalog.
"""

from __future__ import annotations

from .removed_name_record import MODELING, Neighbour

__all__ = ["TABLE"]

_T = "transformers"
_UTILS = (f"{_T}.utils", f"{_T}.utils.import_utils")
_FILES = f"{_T}.file_utils"
_PYTORCH = (f"{_T}.pytorch_utils",)
_MODELING_UTILS = (f"{_T}.modeling_utils",)
_CACHE = (f"{_T}.cache_utils",)
_FLASH = f"{_T}.modeling_flash_attention_utils"
_GENERIC = (f"{_T}.utils", f"{_T}.utils.generic")

_ASK_STATIC = "StaticCache(config, max_cache_len=...) finds each layer's kind by itself"
_CONFIGS_GONE = "the caches take the arguments themselves"

# What was asked is in `predicates`: of torch, not of transformers, so the answers hold on any release.
_PREDICATES = (
    Neighbour("is_torch_fx_available", (*_UTILS, _FILES), "predicate", "5.0.0-", made="predicates"),
    Neighbour("is_torch_sdpa_available", _UTILS, "predicate", "5.0.0-", made="predicates"),
    Neighbour("is_torchdynamo_available", _UTILS, "predicate", "5.0.0-", made="predicates"),
    Neighbour("is_torch_compile_available", _UTILS, "predicate", "5.0.0-", made="predicates"),
    Neighbour("is_torch_bf16_cpu_available", _UTILS, "predicate", "5.0.0-", made="predicates"),
    Neighbour(
        "is_torch_bf16_available", (*_UTILS, _FILES), "predicate", "5.0.0-",
        home=(f"{_T}.utils:is_torch_bf16_gpu_available",),
    ),
    Neighbour("is_torch_tpu_available", _UTILS, "predicate", "4.51.0-5.8.1", made="predicates"),
    Neighbour("is_torch_tpu_available", (_T,), "predicate", "4.51.0-", made="predicates"),
    Neighbour(
        "is_torch_tpu_available", (_FILES, f"{_T}.trainer"), "predicate", "4.39.0-", made="predicates"
    ),
    Neighbour("is_safetensors_available", (_T, *_UTILS), "predicate", "5.0.0-", made="predicates"),
    Neighbour("is_tf_available", (_T, *_UTILS, _FILES), "predicate", "5.0.0-", made="predicates"),
    Neighbour("is_flax_available", (_T, *_UTILS, _FILES), "predicate", "5.0.0-", made="predicates"),
    Neighbour(
        "is_flash_attn_available", _UTILS, "predicate", "4.39.0-",
        home=(f"{_T}.utils:is_flash_attn_2_available",),
    ),
    Neighbour(
        "is_flash_attn_greater_or_equal_2_10", _UTILS, "predicate", "5.4.0-5.4.0", made="predicates"
    ),
    Neighbour("is_torch_less_than_1_11", _PYTORCH, "predicate", "4.37.0-", made="predicates"),
    Neighbour("is_torch_greater_or_equal_than_1_11", _PYTORCH, "predicate", "4.37.0-", made="predicates"),
    Neighbour(
        "is_torch_greater_or_equal_than_1_12", _PYTORCH, "predicate", "4.48.0-4.48.1", made="predicates"
    ),
    Neighbour(
        "is_torch_greater_or_equal_than_1_13", _PYTORCH, "predicate", "4.48.0-4.48.1", made="predicates"
    ),
    Neighbour(
        "is_torch_greater_or_equal_than_2_0", _PYTORCH, "predicate", "4.48.0-4.48.1", made="predicates"
    ),
)  # fmt: skip

_FUNCTIONS = (
    Neighbour("find_pruneable_heads_and_indices", _PYTORCH, "function", "5.0.0-", made="pruning"),
    Neighbour("prune_conv1d_layer", _PYTORCH, "function", "5.0.0-", made="pruning"),
    Neighbour("prune_layer", _PYTORCH, "function", "5.0.0-", made="pruning"),
    Neighbour("find_pruneable_heads_and_indices", _MODELING_UTILS, "function", "4.56.0-", made="pruning"),
    Neighbour("prune_conv1d_layer", _MODELING_UTILS, "function", "4.56.0-", made="pruning"),
    Neighbour("prune_layer", _MODELING_UTILS, "function", "4.56.0-", made="pruning"),
    Neighbour(
        "prune_linear_layer", _MODELING_UTILS, "re-export", "4.56.0-",
        home=(f"{_T}.pytorch_utils:prune_linear_layer",),
    ),
    Neighbour(
        "apply_chunking_to_forward", _MODELING_UTILS, "re-export", "4.56.0-",
        home=(f"{_T}.pytorch_utils:apply_chunking_to_forward",),
    ),
    Neighbour(
        "Conv1D", _MODELING_UTILS, "re-export", "4.56.0-", home=(f"{_T}.pytorch_utils:Conv1D",)
    ),
    Neighbour(
        "PretrainedConfig", _MODELING_UTILS, "re-export", "5.0.0-",
        home=(f"{_T}.configuration_utils:PretrainedConfig",),
    ),
    Neighbour("no_init_weights", _MODELING_UTILS, "function", "5.0.0-", made="initialization"),
    Neighbour("flash_attn_func", (_FLASH,), "re-export", "4.54.0-", made="flash"),
    Neighbour("flash_attn_varlen_func", (_FLASH,), "re-export", "4.54.0-", made="flash"),
    Neighbour("unpad_input", (_FLASH,), "re-export", "4.54.0-", made="flash"),
    Neighbour("pad_input", (_FLASH,), "re-export", "4.54.0-", made="flash"),
    Neighbour("index_first_axis", (_FLASH,), "re-export", "4.53.0-", made="flash"),
)  # fmt: skip

_TYPES = (
    Neighbour("LossKwargs", _GENERIC, "type", "4.54.0-", made="types"),
    Neighbour(
        "OutputRecorder", (f"{_T}.utils.generic",), "type", "5.2.0-",
        home=(f"{_T}.utils.output_capturing:OutputRecorder",),
    ),
    Neighbour(
        "cached_property", (*_GENERIC, _FILES), "re-export", "4.57.1-", home=("functools:cached_property",)
    ),
    Neighbour(
        "TRANSFORMERS_CACHE", (_T, f"{_T}.utils", f"{_T}.utils.hub", _FILES), "value", "5.0.0-",
        home=("huggingface_hub.constants:HF_HUB_CACHE",),
    ),
    Neighbour(
        "PreTrainedConfig", (_T,), "class", "4.36.0-4.57.6",
        home=(f"{_T}.configuration_utils:PretrainedConfig",),
    ),
    # transformers itself has it back from 5.5.1 on, as another name of StaticCache.
    Neighbour(
        "SlidingWindowCache", _CACHE, "class", "5.0.0-5.5.0", home=(f"{_T}.cache_utils:StaticCache",),
        note=_ASK_STATIC,
    ),
    Neighbour("HybridCache", _CACHE, "class", "5.0.0-", made="caches", note=_ASK_STATIC),
    Neighbour("HybridChunkedCache", _CACHE, "class", "5.0.0-", made="caches", note=_ASK_STATIC),
)  # fmt: skip

_QWEN2_VL = (f"{_T}.models.qwen2_vl.modeling_qwen2_vl",)
_QWEN2_5_VL = (f"{_T}.models.qwen2_5_vl.modeling_qwen2_5_vl",)

_OUTPUTS = (
    Neighbour("Qwen2VLCausalLMOutputWithPast", _QWEN2_VL, "class", "5.23.0-", made="outputs"),
    Neighbour("Qwen2VLModelOutputWithPast", _QWEN2_VL, "class", "5.23.0-", made="outputs"),
    Neighbour("Qwen2_5_VLCausalLMOutputWithPast", _QWEN2_5_VL, "class", "5.23.0-", made="outputs"),
    Neighbour("Qwen2_5_VLModelOutputWithPast", _QWEN2_5_VL, "class", "5.23.0-", made="outputs"),
)

_CANNOT = (
    Neighbour("SinkCache", (_T, *_CACHE), "class", "5.0.0-", instead="the custom_generate repository "
              "transformers-community/sink_cache has it"),
    Neighbour("OffloadedCache", (_T, *_CACHE), "class", "5.0.0-", instead="DynamicCache(offloading=True)"),
    Neighbour(
        "OffloadedStaticCache", (_T, *_CACHE), "class", "5.0.0-", instead="StaticCache(..., offloading=True)"
    ),
    Neighbour("MambaCache", _CACHE, "class", "4.54.0-", instead="the model's own module makes its cache"),
    Neighbour("CacheConfig", _CACHE, "class", "4.56.0-", instead=_CONFIGS_GONE),
    Neighbour("StaticCacheConfig", _CACHE, "class", "4.56.0-", instead=_CONFIGS_GONE),
    Neighbour("QuantizedCacheConfig", (_T, *_CACHE), "class", "4.56.0-", instead=_CONFIGS_GONE),
    Neighbour(
        "AutoModelForVision2Seq", (_T,), "class", "5.0.0-", instead="use AutoModelForImageTextToText"
    ),
    Neighbour(
        "LogitsWarper", (_T, f"{_T}.generation", f"{_T}.generation.logits_process"), "class", "4.49.0-",
        instead="derive from LogitsProcessor",
    ),
    Neighbour(
        "AdamW", (_T, f"{_T}.optimization"), "class", "4.50.0-", instead="use torch.optim.AdamW"
    ),
    Neighbour("SequenceSummary", _MODELING_UTILS, "class", "4.53.0-", instead="copy it into your code"),
    Neighbour(
        "top_k_top_p_filtering", (_T, f"{_T}.generation"), "function", "4.39.0-",
        instead="use TopKLogitsWarper and TopPLogitsWarper of transformers.generation",
    ),
    Neighbour(
        "check_model_inputs", (f"{_T}.utils.generic",), "function", "5.2.0-5.3.0",
        instead="install transformers 5.4 or later, where it is there again",
    ),
    Neighbour(
        "is_offline_mode", (f"{_T}.utils", _FILES), "predicate", "5.0.0-",
        instead="use huggingface_hub.constants.HF_HUB_OFFLINE",
    ),
)  # fmt: skip

# In modules of models. When each module lost them is in the catalog.
_MODELS = (MODELING,)
_ATTENTION_NOTE = "nothing in transformers instantiates it any more: assigning to it changes no model"

_IN_MODELS = (
    Neighbour("*FlashAttention2", _MODELS, "attention class", made="attention", note=_ATTENTION_NOTE),
    Neighbour("*SdpaAttention", _MODELS, "attention class", made="attention", note=_ATTENTION_NOTE),
    Neighbour("*SdpaSelfAttention", _MODELS, "attention class", made="attention", note=_ATTENTION_NOTE),
    Neighbour("*_ATTENTION_CLASSES", _MODELS, "attention class", made="attention", note=_ATTENTION_NOTE),
    Neighbour("*_START_DOCSTRING", _MODELS, "documentation", made="texts"),
    Neighbour("*_INPUTS_DOCSTRING", _MODELS, "documentation", made="texts"),
    Neighbour("_CONFIG_FOR_DOC", _MODELS, "documentation", made="texts"),
    Neighbour("_CHECKPOINT_FOR_DOC", _MODELS, "documentation", made="texts"),
    Neighbour("logger", _MODELS, "value", made="texts"),
    Neighbour("flash_attn_func", _MODELS, "re-export", made="flash"),
    Neighbour("flash_attn_varlen_func", _MODELS, "re-export", made="flash"),
    Neighbour("index_first_axis", _MODELS, "re-export", made="flash"),
    Neighbour("pad_input", _MODELS, "re-export", made="flash"),
    Neighbour("unpad_input", _MODELS, "re-export", made="flash"),
    Neighbour(
        "is_flash_attn_available",
        _MODELS,
        "predicate",
        home=(f"{_FLASH}:is_flash_attn_available", f"{_T}.utils:is_flash_attn_2_available"),
    ),
    Neighbour("KwargsForCausalLM", _MODELS, "type", made="types"),
    Neighbour(
        "_prepare_4d_causal_attention_mask_with_cache_position", _MODELS, "function", made="attention_masks"
    ),
    # Of the init functions' shims, which have put it back in its own module.
    Neighbour(
        "rope_config_validation",
        (f"{_T}.models.*.configuration_*",),
        "re-export",
        home=(f"{_T}.modeling_rope_utils:rope_config_validation",),
    ),
)

#: Names that modules of models only imported, by where they live.
_HOMES = {
    f"{_T}.activations": "ACT2FN",
    f"{_T}.cache_utils": "Cache DynamicCache StaticCache SlidingWindowCache HybridCache EncoderDecoderCache",
    f"{_T}.configuration_utils": "PretrainedConfig",
    f"{_T}.generation": "GenerationMixin",
    f"{_T}.integrations.flex_attention": "make_flex_block_causal_mask",
    f"{_T}.modeling_attn_mask_utils": (
        "AttentionMaskConverter _prepare_4d_attention_mask _prepare_4d_attention_mask_for_sdpa "
        "_prepare_4d_causal_attention_mask _prepare_4d_causal_attention_mask_for_sdpa "
        "_create_4d_causal_attention_mask"
    ),
    f"{_T}.modeling_flash_attention_utils": (
        "_flash_attention_forward _get_unpad_data FlashAttentionKwargs flash_attn_supports_top_left_mask"
    ),
    f"{_T}.modeling_layers": "GradientCheckpointingLayer",
    f"{_T}.modeling_outputs": (
        "BaseModelOutput BaseModelOutputWithPast BaseModelOutputWithPastAndCrossAttentions "
        "BaseModelOutputWithPooling BaseModelOutputWithPoolingAndCrossAttentions "
        "CausalLMOutputWithPast MoeCausalLMOutputWithPast "
        "QuestionAnsweringModelOutput SequenceClassifierOutputWithPast "
        "TokenClassifierOutput"
    ),
    f"{_T}.modeling_rope_utils": "ROPE_INIT_FUNCTIONS dynamic_rope_update",
    f"{_T}.modeling_utils": "PreTrainedModel",
    f"{_T}.pytorch_utils": (
        "ALL_LAYERNORM_LAYERS Conv1D find_pruneable_heads_and_indices "
        "is_torch_greater_or_equal_than_1_12 is_torch_greater_or_equal_than_1_13 "
        "is_torch_greater_or_equal_than_2_0 is_torch_greater_or_equal_than_2_1 "
        "is_torch_greater_or_equal_than_2_2 meshgrid "
        "prune_conv1d_layer prune_linear_layer"
    ),
    f"{_T}.utils": (
        "ModelOutput add_code_sample_docstrings add_end_docstrings add_start_docstrings "
        "add_start_docstrings_to_model_forward get_torch_version is_accelerate_available "
        "is_flash_attn_2_available is_flash_attn_greater_or_equal is_flash_attn_greater_or_equal_2_10 "
        "is_scipy_available is_torch_available is_torch_flex_attn_available is_torch_fx_available "
        "is_torch_fx_proxy is_torchdynamo_compiling is_vision_available logging "
        "LossKwargs replace_return_docstrings requires_backends"
    ),
    f"{_T}.utils.deprecation": "deprecate_kwarg",
    f"{_T}.utils.generic": "can_return_tuple check_model_inputs maybe_autocast OutputRecorder",
    "packaging": "version",
    "torch": "Tensor nn",
    "torch.nn": "BCEWithLogitsLoss CrossEntropyLoss MSELoss",
    "torch.nn.attention.flex_attention": "BlockMask",
    "typing": "Any Callable Dict List Optional Set Tuple Union",
    "functools": "partial",
    "dataclasses": "dataclass",
}

#: The same for modules.
_MODULES = {"F": "torch.nn.functional", "copy": "", "inspect": "", "math": "", "os": "", "warnings": ""}

_REEXPORTS = (
    *(
        Neighbour(name, _MODELS, "re-export", home=(f"{home}:{name}",))
        for home, names in _HOMES.items()
        for name in names.split()
    ),
    *(Neighbour(name, _MODELS, "re-export", home=(module or name,)) for name, module in _MODULES.items()),
)

TABLE: tuple[Neighbour, ...] = (
    *_PREDICATES,
    *_FUNCTIONS,
    *_TYPES,
    *_OUTPUTS,
    *_CANNOT,
    *_IN_MODELS,
    *_REEXPORTS,
)
