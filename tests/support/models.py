"""Tiny, randomly initialised models of the installed release."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from support.installed import RELEASE, has_module

TEXT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GPTJ = {
    "vocab_size": 64,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "rotary_dim": 4,
    "n_positions": 128,
    "n_inner": 48,
    **SPECIAL,
}
NEOX = {key: value for key, value in TEXT.items() if key != "num_key_value_heads"} | {"rotary_pct": 0.5}
IMAGE = {"image_token_id": 60, "video_token_id": 61, "vision_start_token_id": 62, "vision_end_token_id": 63}
VISION = {"depth": 2, "num_heads": 2, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2}
ROPE = {"rope_type": "default", "type": "mrope", "mrope_section": [1, 1, 2]}


def _causal(folder: str, config: str, model: str, **options: Any) -> tuple[str, Callable[[], Any]]:
    def make() -> Any:
        configuration = importlib.import_module(f"transformers.models.{folder}.configuration_{folder}")
        modeling = importlib.import_module(f"transformers.models.{folder}.modeling_{folder}")
        torch.manual_seed(0)
        return getattr(modeling, model)(getattr(configuration, config)(**options)).eval()

    return folder, make


def _qwen_vl(folder: str, config: str, model: str, vision: dict[str, Any]) -> tuple[str, Callable[[], Any]]:
    """Qwen-VL models: a flat config up to 4.51, a nested one from 4.52."""

    def make() -> Any:
        configuration = importlib.import_module(f"transformers.models.{folder}.configuration_{folder}")
        modeling = importlib.import_module(f"transformers.models.{folder}.modeling_{folder}")
        made = getattr(configuration, config)(**TEXT, **IMAGE, rope_scaling=dict(ROPE), vision_config=vision)
        text = getattr(made, "text_config", made)
        for key, value in TEXT.items():
            # From 4.52.1 on some releases do not hand flat arguments on to the text config.
            setattr(text, key, value)
        if int(RELEASE.partition(".")[0]) >= 5:
            text.rope_parameters = {**ROPE, "rope_theta": 10000.0}
        else:
            text.rope_scaling = dict(ROPE)
        torch.manual_seed(0)
        return getattr(modeling, model)(made).eval()

    return folder, make


_QWEN2_VISION = {**VISION, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}
_QWEN2_5_VISION = {
    **VISION,
    "hidden_size": 32,
    "intermediate_size": 48,
    "out_hidden_size": 32,
    "window_size": 16,
    "fullatt_block_indexes": [1],
}

ALL: dict[str, Callable[[], Any]] = dict(
    (
        _causal("llama", "LlamaConfig", "LlamaForCausalLM", **TEXT),
        _causal("gpt_neox", "GPTNeoXConfig", "GPTNeoXForCausalLM", **NEOX),
        _causal("gptj", "GPTJConfig", "GPTJForCausalLM", **GPTJ),
        _causal("gemma", "GemmaConfig", "GemmaForCausalLM", **TEXT, head_dim=8),
        _causal("phi3", "Phi3Config", "Phi3ForCausalLM", **TEXT, **SPECIAL),
        _qwen_vl("qwen2_vl", "Qwen2VLConfig", "Qwen2VLForConditionalGeneration", _QWEN2_VISION),
        _qwen_vl("qwen2_5_vl", "Qwen2_5_VLConfig", "Qwen2_5_VLForConditionalGeneration", _QWEN2_5_VISION),
    )
)

INSTALLED = [name for name in ALL if has_module(f"transformers.models.{name}.modeling_{name}")]
GRID = (1, 8, 8)


def inputs_for(name: str) -> dict[str, Tensor]:
    """Token ids, and for vision models a picture of 8 by 8 patches."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 59, (2, 24), generator=generator)
    if not name.startswith("qwen2"):
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    merged = GRID[1] * GRID[2] // 4
    ids = torch.randint(3, 59, (1, merged + 6), generator=generator)
    ids[0, 1], ids[0, 2 : 2 + merged], ids[0, 2 + merged] = 62, 60, 63
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(GRID[1] * GRID[2], 3 * 2 * 4 * 4, generator=generator),
        "image_grid_thw": torch.tensor([GRID]),
    }
