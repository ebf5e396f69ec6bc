"""Tiny models of the installed release, in one attention implementation."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from support.installed import RELEASE
from support.models import GRID, IMAGE, NEOX, ROPE, SPECIAL, TEXT, VISION
from torch import Tensor, nn

#: 24 tokens: divisible by the group sizes that some patches ask for.
LENGTH = 24


def _text(
    folder: str, config: str, model: str, **options: Any
) -> Callable[[str, Mapping[str, Any]], nn.Module]:
    def make(attention: str, more: Mapping[str, Any]) -> nn.Module:
        configuration = importlib.import_module(f"transformers.models.{folder}.configuration_{folder}")
        modeling = importlib.import_module(f"transformers.models.{folder}.modeling_{folder}")
        made = getattr(configuration, config)(**options, **more)
        return _construct(getattr(modeling, model), made, attention)

    return make


def _construct(model: Any, config: Any, attention: str) -> nn.Module:
    for part in (config, *(getattr(config, name, None) for name in ("text_config", "vision_config"))):
        if part is not None:
            part._attn_implementation = attention
    torch.manual_seed(0)
    made: nn.Module = model(config)
    return made.float()


def _qwen2_5_vl(attention: str, more: Mapping[str, Any]) -> nn.Module:
    from transformers.models.qwen2_5_vl import configuration_qwen2_5_vl, modeling_qwen2_5_vl

    vision = {
        **VISION,
        "hidden_size": 32,
        "intermediate_size": 48,
        "out_hidden_size": 32,
        "window_size": 16,
        "fullatt_block_indexes": [1],
    }
    made = configuration_qwen2_5_vl.Qwen2_5_VLConfig(
        **TEXT, **IMAGE, rope_scaling=dict(ROPE), vision_config=vision, **more
    )
    text = getattr(made, "text_config", made)
    for key, value in TEXT.items():
        # From 4.52.1 on some releases do not hand flat arguments on to the text config.
        setattr(text, key, value)
    if int(RELEASE.partition(".")[0]) >= 5:
        text.rope_parameters = {**ROPE, "rope_theta": 10000.0}
    else:
        text.rope_scaling = dict(ROPE)
    return _construct(modeling_qwen2_5_vl.Qwen2_5_VLForConditionalGeneration, made, attention)


HEADS = {**TEXT, "num_key_value_heads": TEXT["num_attention_heads"]}

MODELS: dict[str, Callable[[str, Mapping[str, Any]], nn.Module]] = {
    "llama": _text("llama", "LlamaConfig", "LlamaForCausalLM", **TEXT),
    # The oldest patches know nothing of grouped key and value heads.
    "llama_mha": _text("llama", "LlamaConfig", "LlamaForCausalLM", **HEADS),
    "mistral": _text("mistral", "MistralConfig", "MistralForCausalLM", **TEXT, sliding_window=None),
    "qwen2": _text("qwen2", "Qwen2Config", "Qwen2ForCausalLM", **TEXT),
    "qwen3": _text("qwen3", "Qwen3Config", "Qwen3ForCausalLM", **TEXT, head_dim=8),
    "phi": _text("phi", "PhiConfig", "PhiForCausalLM", **TEXT, **SPECIAL),
    "gpt_neox": _text("gpt_neox", "GPTNeoXConfig", "GPTNeoXForCausalLM", **NEOX),
    "qwen2_5_vl": _qwen2_5_vl,
}


def inputs_for(name: str, mask: bool) -> dict[str, Tensor]:
    """Token ids, a mask if asked for, and for vision models a picture of 8 by 8 patches."""
    generator = torch.Generator().manual_seed(1)
    if not name.endswith("_vl"):
        ids = torch.randint(3, 59, (2, LENGTH), generator=generator)
        return {"input_ids": ids, **({"attention_mask": torch.ones_like(ids)} if mask else {})}
    merged = GRID[1] * GRID[2] // 4
    ids = torch.randint(3, 59, (1, merged + 6), generator=generator)
    ids[0, 1], ids[0, 2 : 2 + merged], ids[0, 2 + merged] = 62, 60, 63
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(GRID[1] * GRID[2], 3 * 2 * 4 * 4, generator=generator),
        "image_grid_thw": torch.tensor([GRID]),
    }
