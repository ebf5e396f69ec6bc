"""Every family of rotary functions that transformers has had: one record each, and where each is put back.

A family is a name. Its record lists the signatures that the name has had in any module; modules need no
record, since the live signature says which one a function has. Adding a generation is a line of `signatures`,
adding a name a record; a test holds the table against the catalog.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["FAMILIES", "LEFT_ALONE", "RESTORED", "Family", "Restored", "places"]


@dataclass(frozen=True, slots=True)
class Family:
    """One function name.

    Attributes:
        name: of the function.
        signatures: all that modules have had, without annotations.
        note: what calls mean, and where nothing is adapted, why.
        adapted: whether an adapter stands in the function's place (see `_adapters.functions.build`). A name
            that has had one signature, or none that others' callers know, needs none.
    """

    name: str
    signatures: tuple[str, ...]
    note: str
    adapted: bool = False


_X, _ONE_FORM = ("(x)",), "one form in all releases and modules: nothing to adapt"

FAMILIES: tuple[Family, ...] = (
    Family(
        "apply_rotary_pos_emb",
        (
            "(q, k, cos, sin, position_ids)",
            "(q, k, cos, sin, position_ids, unsqueeze_dim=1)",
            "(q, k, cos, sin, position_ids=None, unsqueeze_dim=1)",
            "(q, k, cos, sin, unsqueeze_dim=1)",
            "(q, k, cos, sin, offset=0)",
            "(q, k, cos, sin, **kwargs)",
            "(q, k, v, cos, sin, position_ids, unsqueeze_dim=1)",
            "(q, k=None, cos=None, sin=None, unsqueeze_dim=1)",
            "(x, cos, sin)",
            "(x, cos, sin, unsqueeze_dim=1)",
            "(x, cos, sin, position_ids=None, unsqueeze_dim=1)",
            "(tensor, sin, cos)",
        ),
        "tables and position_ids, gathered cos and sin, or rank-4 tables; see `functions.rotary_pos_emb`",
        adapted=True,
    ),
    Family(
        "apply_rotary_pos_emb_vision",
        ("(tensor, freqs)", "(q, k, cos, sin)"),
        "angles and one tensor to 4.48.3 (Qwen2.5-Omni to 5.16.1), cos and sin and two tensors since",
        adapted=True,
    ),
    Family(
        "apply_rotary_pos_emb_flashatt",
        ("(q, k, cos, sin)",),
        "development builds of 4.49.0 took (tensor, freqs)",
        adapted=True,
    ),
    Family(
        "apply_rotary_pos_emb_interleave",
        ("(q, k, cos, sin, position_ids=None, unsqueeze_dim=1)", "(q, k, cos, sin, unsqueeze_dim=1)"),
        "as apply_rotary_pos_emb; position_ids are ignored, in Mistral Large 4 (5.22.0) they are gone",
        adapted=True,
    ),
    Family(
        "apply_multimodal_rotary_pos_emb",
        ("(q, k, cos, sin, mrope_section, unsqueeze_dim=1)",),
        "cos and sin are [3, B, S, D]; from 5.17.0 on the rotary module merges the sections",
        adapted=True,
    ),
    Family(
        "apply_rotary_pos_emb_2d",
        (
            "(q, k, cos, sin)",
            "(q, k, cos, sin, num_k_exclude_rope=0, repeat_freqs_k=False)",
        ),
        "SAM 3's takes no options, those of the videos models do",
        adapted=True,
    ),
    Family(
        "apply_rotary_pos_emb_esm",
        ("(x, cos, sin)",),
        "Evolla's copy of ESM's, with rank-4 tables; also called with gathered cos and sin, and with q and k",
        adapted=True,
    ),
    Family("apply_rotary_pos_emb_2d_self_attn", ("(q, k, cos, sin)",), _ONE_FORM),
    Family(
        "apply_rotary_pos_emb_2d_cross_attn",
        ("(q, k, cos, sin, cos_k, sin_k, num_k_exclude_rope=0, repeat_freqs_k=1)",),
        _ONE_FORM,
    ),
    Family(
        "apply_multidimensional_rope",
        ("(x, cos, sin, position_ids, unsqueeze_dim=2)",),
        _ONE_FORM,
    ),
    Family(
        "apply_rotary_emb",
        ("(xq, xk, freqs_cis)",),
        "one form; Llama 4 has tokens before heads, DeepSeek-V2 heads before tokens, in all their releases",
    ),
    Family("vision_apply_rotary_emb", ("(query, key, freqs_ci)",), _ONE_FORM),
    Family(
        "_apply_rotary_emb",
        ("(x, cos, sin)",),
        "one form; GPT-OSS pairs halves, OpenAI's privacy filter neighbours, from their first release",
    ),
    Family("apply_rotary_time_emb", ("(hidden_states, cos, sin)",), _ONE_FORM),
    Family("apply_rotary_unpadded", ("(qkv, cos, sin, cu_seqlens=None, max_seqlen=None)",), _ONE_FORM),
    Family("npu_apply_rotary_emb", ("(x, cos, sin, **kwargs)",), _ONE_FORM),
    Family("rotate_queries_or_keys", ("(x, pos)",), _ONE_FORM),
    Family(
        "rotate_half",
        _X,
        "one form; which channels make a pair is the model's own, and the same in all its releases",
    ),
    Family("rotate_half_esm", _X, _ONE_FORM),
    Family("rotate_half_llm", _X, _ONE_FORM),
    Family("rotate_half_text", _X, _ONE_FORM),
    Family("rotate_every_two", _X, _ONE_FORM),
    Family("rotate_pairwise", _X, _ONE_FORM),
    Family("stack_freqs", ("(cos, sin)",), _ONE_FORM),
    Family("create_sinusoidal_positions", ("(num_pos, dim)",), _ONE_FORM),
    Family("yarn_get_mscale", ("(scale=1, mscale=1)",), _ONE_FORM),
    Family("yarn_apply_mscale", ("(rope_parameters, scaling)",), _ONE_FORM),
)

#: Functions that these records leave out, by name or pattern, and why.
LEFT_ALONE: dict[str, str] = {
    "_compute_*_parameters": "adapted and restored by `_rules.init_functions`",
    "dynamic_rope_update": "adapted and restored by `_rules.init_functions`",
    "rope_config_validation": "adapted by `_rules.init_functions`",
    "_validate_*_parameters": "private to modeling_rope_utils, part of what RoPE validated up to 4.57",
    "_check_received_keys": "private to modeling_rope_utils, part of what RoPE validated up to 4.57",
    "_apply_rotary_pos_emb_pairs": "private to the OpenVINO exporter",
    "_patch_*_rotary_emb": "private to the OpenVINO exporter",
    "_rotate_half_pairs": "private to the OpenVINO exporter",
    "_fuse_rotary_embeddings": "private to the fusions for ONNX Runtime",
    "_padded_rotary_caches": "private to the fusions for ONNX Runtime",
    "_rotary_layout": "private to the fusions for ONNX Runtime",
    "_rotary_match": "private to the fusions for ONNX Runtime",
    "_set_partial_rotary_heads": "private to the fusions for ONNX Runtime",
}


@dataclass(frozen=True, slots=True)
class Restored:
    """A name that modules had, or have later, put back where the installed release's module lacks it.

    Attributes:
        name: of the function.
        operation: what it computes: a key of `_adapters.functions.restoring.OPERATIONS`.
        models: the modules, by the name of their model; or with dots, the module below ``transformers``.
        first: first release of this meaning, where the module's function has had two; for `written_for`.
    """

    name: str
    operation: str
    models: tuple[str, ...]
    first: str = ""


_ROPE, _MULTI = "apply_rotary_pos_emb", "apply_multimodal_rotary_pos_emb"
_DEEPSEEK = ("deepseek_v2", "glm_moe_dsa", "minicpm3", "mistral4")

RESTORED: tuple[Restored, ...] = (
    # Gone from 5.0.0 (GLM) and 5.17.0: the rotary modules merge the sections.
    Restored(_MULTI, "multimodal", ("qwen2_vl", "qwen2_5_vl", "qwen2_5_omni", "paddleocr_vl", "glm4v_moe")),
    Restored(_MULTI, "multimodal interleaved", ("glm4v",)),
    Restored(_MULTI, "multimodal float32", ("hunyuan_vl",)),
    # What came in its place; Jamba and Parakeet had no rotary embedding before.
    Restored(_ROPE, "plain", ("qwen2_vl", "qwen2_5_vl", "paddleocr_vl", "glm4v_moe", "jamba", "parakeet")),
    Restored(_ROPE, "pairs of halves", ("glm4v",), first="5.0.0"),
    Restored(_ROPE, "pairs", ("glm4v",), first="5.17.0"),
    # 5.11.0 made it rotate two tensors, 5.13.0 dropped it.
    Restored(_ROPE, "plain", ("glm_moe_dsa",), first="5.11.0"),
    Restored("apply_rotary_pos_emb_interleave", "deinterleave", ("glm_moe_dsa",)),
    # 5.6.0: Evolla took ESM's new function over.
    Restored("apply_rotary_pos_emb_esm", "rank 4", ("evolla",)),
    Restored("rotate_half_esm", "rotate half", ("evolla",)),
    Restored(
        "rotate_half",
        "rotate half",
        ("glm_moe_dsa", "longcat_flash", "jamba", "modernbert_decoder", "parakeet"),
    ),
    # 5.1.0: ModernBERT computes packed tokens as all others.
    Restored("apply_rotary_unpadded", "unpadded", ("modernbert",)),
    # 4.53.0 to 4.55.2 only.
    Restored("npu_apply_rotary_emb", "npu", ("integrations.npu_flash_attention",)),
    # 5.15.0 moved what DeepSeek-V3 had since 4.51.0 into functions, and into more modules.
    Restored("yarn_get_mscale", "mscale", _DEEPSEEK),
    Restored(
        "yarn_apply_mscale",
        "scale attention",
        (*_DEEPSEEK, "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "longcat_flash", "youtu"),
    ),
)


def places(record: Restored) -> Iterator[str]:
    """The full names of the modules of a record."""
    for model in record.models:
        yield f"transformers.{model}" if "." in model else f"transformers.models.{model}.modeling_{model}"
