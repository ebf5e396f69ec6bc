"""Tiny native models of many architectures, with every rope type, in the spelling of the release."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from packaging.version import Version

from support.installed import RELEASE, has_module
from support.models import ALL as EARLIER

HERE = Version(RELEASE)
_LENGTH = 64
_SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": _LENGTH,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
THETA = 500.0
_ORIGINAL = {"original_max_position_embeddings": 32}
SHORT = [1.0 + i / 8 for i in range(8)]
LONG = [2.0 + i / 4 for i in range(8)]
SCALING: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        **_ORIGINAL,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    "longrope": {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG, **_ORIGINAL},
}


def rope(theta: float = THETA, scaling: str = "", **more: Any) -> dict[str, Any]:
    """Fields of a config for theta and a scaling, as the release spells them."""
    inner = dict(SCALING.get(scaling, {}))
    if Version("5.0.0") <= HERE:
        return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **inner, **more}}
    if inner:
        inner["type"] = inner["rope_type"]
        if Version("4.43.0") > HERE:
            inner.pop("rope_type")
            inner["type"] = {"longrope": "su"}.get(inner["type"], inner["type"])
    return {"rope_theta": theta, "rope_scaling": inner or None, **more}


def make(folder: str, config: str, model: str, **options: Any) -> Callable[[], Any]:
    """A constructor of one tiny model."""

    def construct() -> Any:
        configuration = importlib.import_module(f"transformers.models.{folder}.configuration_{folder}")
        modeling = importlib.import_module(f"transformers.models.{folder}.modeling_{folder}")
        given = {**_SIZES, **options}
        torch.manual_seed(0)
        return (
            getattr(modeling, model)(
                getattr(configuration, config)(**{k: v for k, v in given.items() if v is not ...})
            )
            .float()
            .eval()
        )

    return construct


def _causal(folder: str, stem: str, **options: Any) -> Callable[[], Any]:
    return make(folder, f"{stem}Config", f"{stem}ForCausalLM", **{**rope(), **options})


_DEEPSEEK = {
    # To 4.52 q always has a latent.
    "q_lora_rank": None if Version("4.53.0") <= HERE else 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "first_k_dense_replace": 2,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 16,
}
_LOCAL = {
    "full_attention": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 4.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": THETA},
}
_GEMMA3 = (
    {"rope_parameters": _LOCAL}
    if Version("5.0.0") <= HERE
    else {
        "rope_theta": 5000.0,
        "rope_local_base_freq": THETA,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0},
    }
)
_PARTIAL = rope(partial_rotary_factor=0.5)


def _longrope() -> dict[str, Any]:
    """Phi-3's own spelling in 4.x: the original length stands beside, and no key is one too many."""
    fields = {**rope(scaling="longrope"), **_ORIGINAL}
    if Version("5.0.0") > HERE:
        names = ("type", "short_factor", "long_factor")
        fields["rope_scaling"] = {name: fields["rope_scaling"][name] for name in names}
    return fields


_MADE: dict[str, tuple[str, Callable[[], Any]]] = {
    "llama": ("llama", _causal("llama", "Llama")),
    "llama_linear": ("llama", _causal("llama", "Llama", **rope(scaling="linear"))),
    "llama_dynamic": ("llama", _causal("llama", "Llama", **rope(scaling="dynamic"))),
    "mistral": ("mistral", _causal("mistral", "Mistral")),
    "mixtral": ("mixtral", _causal("mixtral", "Mixtral", num_local_experts=2)),
    "qwen2": ("qwen2", _causal("qwen2", "Qwen2")),
    "qwen3": ("qwen3", _causal("qwen3", "Qwen3", head_dim=16)),
    "phi": ("phi", _causal("phi", "Phi", **_PARTIAL)),
    "phi3": ("phi3", _causal("phi3", "Phi3")),
    "gemma": ("gemma", _causal("gemma", "Gemma", head_dim=16)),
    "gemma2": ("gemma2", _causal("gemma2", "Gemma2", head_dim=16)),
    "gemma3": (
        "gemma3",
        make(
            "gemma3",
            "Gemma3TextConfig",
            "Gemma3ForCausalLM",
            head_dim=16,
            **_GEMMA3,
            **(
                {"layer_types": ["sliding_attention", "full_attention"]}
                if Version("4.53") <= HERE
                else {"sliding_window_pattern": 2}
            ),
        ),
    ),
    "gpt_neox": (
        "gpt_neox",
        make("gpt_neox", "GPTNeoXConfig", "GPTNeoXForCausalLM", num_key_value_heads=..., rotary_pct=0.5),
    ),
    "gptj": ("gptj", EARLIER["gptj"]),
    "codegen": (
        "codegen",
        make(
            "codegen",
            "CodeGenConfig",
            "CodeGenForCausalLM",
            n_embd=64,
            n_layer=2,
            n_head=4,
            rotary_dim=8,
            n_positions=_LENGTH,
            n_ctx=_LENGTH,
            **dict.fromkeys(list(_SIZES)[1:7], ...),
        ),
    ),
    "falcon": (
        "falcon",
        _causal("falcon", "Falcon", intermediate_size=..., num_key_value_heads=..., num_kv_heads=4),
    ),
    "stablelm": ("stablelm", _causal("stablelm", "StableLm", **_PARTIAL)),
    "persimmon": ("persimmon", _causal("persimmon", "Persimmon", **_PARTIAL)),
    "starcoder2": ("starcoder2", _causal("starcoder2", "Starcoder2")),
    "olmo": ("olmo", _causal("olmo", "Olmo")),
    "cohere": ("cohere", _causal("cohere", "Cohere")),
    "cohere2": ("cohere2", _causal("cohere2", "Cohere2")),
    "glm": ("glm", _causal("glm", "Glm", head_dim=16, **_PARTIAL)),
    "glm4": ("glm4", _causal("glm4", "Glm4", head_dim=16, **_PARTIAL)),
    "nemotron": ("nemotron", _causal("nemotron", "Nemotron", **_PARTIAL)),
    "granite": ("granite", _causal("granite", "Granite")),
    "helium": ("helium", _causal("helium", "Helium", head_dim=16)),
    "deepseek_v3": ("deepseek_v3", _causal("deepseek_v3", "DeepseekV3", **_DEEPSEEK)),
    "ernie4_5": ("ernie4_5", _causal("ernie4_5", "Ernie4_5", head_dim=16)),
    "smollm3": ("smollm3", _causal("smollm3", "SmolLM3")),
    "gpt_oss": (
        "gpt_oss",
        make(
            "gpt_oss",
            "GptOssConfig",
            "GptOssForCausalLM",
            head_dim=16,
            num_local_experts=2,
            num_experts_per_tok=1,
            **rope(scaling="yarn"),
        ),
    ),
    "qwen2_vl": ("qwen2_vl", EARLIER["qwen2_vl"]),
    "qwen2_5_vl": ("qwen2_5_vl", EARLIER["qwen2_5_vl"]),
}
if Version("4.43.0") <= HERE:
    _MADE["llama_llama3"] = "llama", _causal("llama", "Llama", **rope(scaling="llama3"))
if Version("4.51.0") <= HERE:
    _MADE["llama_yarn"] = "llama", _causal("llama", "Llama", **rope(scaling="yarn"))
_MADE["phi3_longrope"] = "phi3", _causal("phi3", "Phi3", **_longrope())

MODELS: dict[str, Callable[[], Any]] = {
    name: construct
    for name, (folder, construct) in _MADE.items()
    if has_module(f"transformers.models.{folder}.modeling_{folder}")
}
