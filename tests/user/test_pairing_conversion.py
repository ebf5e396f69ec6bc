"""Converted weights in transformers' own models, with code of the other pairing: the same logits."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import RELEASE, has_module
from torch import Tensor

from rope_compat.rotary import reference
from rope_compat.rotary.conversion import convert_pairing, convert_state_dict

SMALL = {
    "vocab_size": 32,
    "hidden_size": 48,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
WITHOUT_TOKENS = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}


def columns(table: Tensor, made: str, wanted: str) -> Tensor:
    """Tables of one pairing's columns as those of the other."""
    half = table[..., : table.shape[-1] // 2] if made == "half" else table[..., ::2]
    return torch.cat((half, half), -1) if wanted == "half" else half.repeat_interleave(2, -1)


def turning(made: str, wanted: str) -> Callable[..., Any]:
    """``apply_rotary_pos_emb(q, k, cos, sin)`` of the wanted pairing, for tables of the other."""

    def apply(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        cos, sin = (columns(each, made, wanted).unsqueeze(1) for each in (cos, sin))
        return reference.rotate(q, cos, sin, wanted), reference.rotate(k, cos, sin, wanted)

    return apply


def one_by_one(tensor: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    """GPT-J's ``(tensor, sin, cos)``, (b, s, h, d), for pairs of halves."""
    cos, sin = (torch.cat((each, each), -1)[:, :, None] for each in (cos, sin))
    return reference.rotate(tensor, cos, sin, "half")


CASES = {
    "llama": ("LlamaConfig", SMALL, {}, turning("half", "interleaved")),
    "cohere": ("CohereConfig", SMALL, {}, turning("interleaved", "half")),
    "qwen3": ("Qwen3Config", SMALL | {"head_dim": 8}, {}, turning("half", "interleaved")),
    "olmo2": ("Olmo2Config", SMALL, {}, turning("half", "interleaved")),
    "phi3": (
        "Phi3Config",
        SMALL,
        {"fused": ("qkv_proj",), "layout": "q|k|v"},
        turning("half", "interleaved"),
    ),
    "gpt_neox": (
        "GPTNeoXConfig",
        SMALL | {"rotary_pct": 0.5},
        {"fused": ("query_key_value",), "layout": "per head", "kv_heads": 4, "rotary_dim": 6},
        turning("half", "interleaved"),
    ),
    "gptj": (
        "GPTJConfig",
        {"vocab_size": 32, "n_embd": 48, "n_layer": 2, "n_head": 4, "rotary_dim": 8, "n_positions": 64},
        {"kv_heads": 4, "rotary_dim": 8},
        one_by_one,
    ),
}


def existing(name: str) -> Any:
    there = has_module(f"transformers.models.{name}")
    if name == "gpt_neox":
        # Up to 4.44 its function is given tables, which the one here does not pick rows of.
        there = there and Version(RELEASE) >= Version("4.45.0")
    return pytest.param(name, marks=pytest.mark.only(there, reason="this release lacks the model, or rows"))


@pytest.mark.parametrize("name", [existing(name) for name in CASES])
def test_logits_stay_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, fields, options, function = CASES[name]
    transformers = importlib.import_module("transformers")
    config = getattr(transformers, kind)(**fields, **WITHOUT_TOKENS)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
        tokens = torch.randint(32, (2, 9))
        wanted = model(tokens).logits
        to = "half" if name in ("cohere", "gptj") else "interleaved"
        converted = convert_state_dict(model.state_dict(), **{"heads": 4, "kv_heads": 2, "to": to} | options)
        module = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
        monkeypatch.setattr(module, "apply_rotary_pos_emb", function)
        other = model(tokens).logits
        assert (other - wanted).abs().max() > 1e-3  # the other pairing with the weights as they were
        model.load_state_dict(converted)
        found = model(tokens).logits
    # Weights are float64, but norms, attention and GPT-J's tables are float32 in some models.
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_latent_projection_has_its_turned_channels_last() -> None:
    """DeepSeek's ``kv_a_proj_with_mqa``: one key for all heads, after the latent."""
    weight = torch.arange(10.0)[:, None]
    found = convert_pairing(weight, heads=1, to="half", rotary_dim=4, part="last")
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 7, 9]
