"""What is known of rotary classes beyond what their live code says. One line each; all else needs none."""

from __future__ import annotations

__all__ = [
    "NOT_ADAPTED",
    "NOT_RESTORED",
    "OLD_FORMS",
    "OTHERS",
    "PREFIX",
    "RENAMED",
    "SCALED",
    "is_rotary_name",
    "not_adapted",
]

PREFIX = "transformers.models."

#: Module, old name, new name: the same class, in every form. Restored in both directions.
RENAMED: tuple[tuple[str, str, str], ...] = (
    ("ernie4_5_vl_moe", "Ernie4_5_VL_MoeTextRotaryEmbedding", "Ernie4_5_VLMoeTextRotaryEmbedding"),
    ("ernie4_5_vl_moe", "Ernie4_5_VL_MoeVisionRotaryEmbedding", "Ernie4_5_VLMoeVisionRotaryEmbedding"),
    ("gemma3n", "Gemma3nTextRotaryEmbedding", "Gemma3nRotaryEmbedding"),
    ("gpt_neox", "RotaryEmbedding", "GPTNeoXRotaryEmbedding"),
    ("gpt_neox_japanese", "RotaryEmbedding", "GPTNeoXJapaneseRotaryEmbedding"),
    ("idefics", "IdeficsEmbedding", "IdeficsRotaryEmbedding"),
    ("qwen2_5_omni", "Qwen2_5_VisionRotaryEmbedding", "Qwen2_5OmniVisionRotaryEmbedding"),
    ("qwen2_5_vl", "Qwen2_5_VisionRotaryEmbedding", "Qwen2_5_VLVisionRotaryEmbedding"),
    ("qwen2_vl", "VisionRotaryEmbedding", "Qwen2VLVisionRotaryEmbedding"),
    ("qwen3_omni_moe", "Qwen3OmniMoeCode2WavRotatoryEmbedding", "Qwen3OmniMoeRotaryEmbedding"),
)

#: Module, name, the class that it is built on, and its builder in `_adapters.classes.removed`.
OTHERS: tuple[tuple[str, str, str | None, str], ...] = (
    ("esm", "RotaryEmbedding", None, "self_applying"),
    ("phi3", "Phi3LongRoPEScaledRotaryEmbedding", "Phi3RotaryEmbedding", "longrope"),
    ("phi3", "Phi3SuScaledRotaryEmbedding", "Phi3RotaryEmbedding", "longrope"),
    ("phi3", "Phi3YarnScaledRotaryEmbedding", "Phi3RotaryEmbedding", "phi3_yarn"),
    ("pixtral", "PixtralRotaryEmbedding", "PixtralVisionRotaryEmbedding", "pixtral"),
)

#: What is not restored, and why.
NOT_RESTORED: dict[tuple[str, str], str] = {
    ("cosmos3_edge", "VisionRotaryEmbedding"): "the vision tower has no rotary embedding from 5.17.0 on",
    ("minimax_m3_vl", "MiniMaxM3VL3DRotaryEmbedding"): "its positions come from a helper of 5.12 to 5.16",
    ("modernbert", "ApplyRotaryEmbUnpad"): "an autograd function around a kernel of flash-attn",
    ("modernbert", "ModernBertUnpaddedRotaryEmbedding"): "a wrapper of a kernel of flash-attn",
}

#: Infix of the families that hold a class for each model: 4.31.0 to 4.47.1.
SCALED = {"LinearScaling": "linear", "DynamicNTKScaling": "dynamic"}

#: Classes that changed and are left alone, and why. Only their own model calls them.
NOT_ADAPTED: dict[tuple[str, str], str] = {
    ("edgetam_video", "EdgeTamVideoVisionRotaryEmbedding"): "forward() gave the tables of a fixed grid",
    ("efficientloftr", "EfficientLoFTRRotaryEmbedding"): "forward(x) makes positions of the size of an image",
    (
        "eomt_dinov3",
        "EomtDinov3RotaryEmbedding",
    ): "forward(pixel_values) all along; only a device was dropped",
    ("evolla", "EvollaSaProtRotaryEmbedding"): "forward(q, k) rotated, forward(x, position_ids) gives rows",
    ("mlcd", "MLCDRotaryEmbedding"): "forward took numbers of patches, then position_ids of a grid",
    ("modernbert", "ModernBertRotaryEmbedding"): "(config, dim, base) made one module for each theta",
    (
        "musicflamingo",
        "MusicFlamingoRotaryEmbedding",
    ): "forward(timestamps) all along; only a device was dropped",
    ("qwen2_5_omni", "Qwen2_5OmniDiTRotaryEmbedding"): "forward(x) made its positions itself, to 5.16.1",
    ("sam2_video", "Sam2VideoVisionRotaryEmbedding"): "forward() gave the tables of a fixed grid",
    ("sam3", "Sam3ViTRotaryEmbedding"): "forward() gave the tables of a fixed grid",
    (
        "sam3_tracker_video",
        "Sam3TrackerVideoVisionRotaryEmbedding",
    ): "forward() gave the tables of a fixed grid",
    ("video_llama_3", "VideoLlama3VisionRotaryEmbedding"): "forward(grid_thw, merge_sizes) in 5.0 to 5.8",
    ("vjepa2", "VJEPA2RopeAttention"): "an attention; arguments about its outputs were dropped",
}

#: Classes that are adapted but for one old form, and which.
OLD_FORMS: dict[tuple[str, str], str] = {
    ("falcon", "FalconRotaryEmbedding"): "to 4.35.2 forward(query, key, ...) rotated, and head_dim was dim",
}

_WORDS = ("Rotary", "Rotatory", "RoPE", "Rope")


def is_rotary_name(name: str) -> bool:
    """Whether a class of this name embeds positions: RotaryEmbedding, IdeficsEmbedding and the like."""
    return (name.endswith("Embedding") and any(word in name for word in _WORDS)) or name == "IdeficsEmbedding"


def not_adapted(module_name: str, name: str) -> bool:
    """Whether a class is to be left alone."""
    return (module_name.rpartition(".modeling_")[2], name) in NOT_ADAPTED
