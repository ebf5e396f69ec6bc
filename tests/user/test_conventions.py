"""What channels mean stands in one table: `verify` of a model and of an installation agree."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from support.installed import has_module
from support.verified_models import make
from torch import Tensor

import rope_compat
from rope_compat._facts.conventions import convention_of

_ERNIE: dict[str, Any] = {"moe_intermediate_size": 32, "moe_num_experts": 4, "moe_k": 2}
_QWEN: dict[str, Any] = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}
#: Folder, config, model, and what more the config needs.
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ernie4_5": ("Ernie4_5Config", "Ernie4_5ForCausalLM", {}),
    "ernie4_5_moe": (
        "Ernie4_5_MoeConfig",
        "Ernie4_5_MoeForCausalLM",
        _ERNIE,
    ),
    "cohere": ("CohereConfig", "CohereForCausalLM", {}),
    "llama": ("LlamaConfig", "LlamaForCausalLM", {}),
    "nanochat": ("NanoChatConfig", "NanoChatForCausalLM", {}),
    "exaone4": ("Exaone4Config", "Exaone4ForCausalLM", {}),
    "olmo2": ("Olmo2Config", "Olmo2ForCausalLM", {}),
    "qwen3_moe": (
        "Qwen3MoeConfig",
        "Qwen3MoeForCausalLM",
        _QWEN,
    ),
    "seed_oss": ("SeedOssConfig", "SeedOssForCausalLM", {}),
}
HERE = [folder for folder in MODELS if has_module(f"transformers.models.{folder}.modeling_{folder}")]


def _turn(x: Tensor, pairing: str) -> Tensor:
    if pairing == "half":
        first, second = x.chunk(2, -1)
        return torch.cat((-second, first), -1)
    return torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)


def _mistaken(pairing: str, tables: str, direction: int) -> Any:
    """A function that pairs the channels as no checkpoint of the model does, by the same angles."""

    def apply_rotary_pos_emb(
        q: Tensor,
        k: Tensor,
        cos: Tensor,
        sin: Tensor,
        position_ids: Tensor | None = None,
        unsqueeze_dim: int = 1,
    ) -> tuple[Tensor, Tensor]:
        if position_ids is not None and cos.dim() == 2:
            cos, sin = cos[position_ids], sin[position_ids]
        n = cos.shape[-1] // 2
        angles = [t[..., 0::2] if tables == "pairs" else t[..., :n] for t in (cos, sin)]
        wide = [torch.cat((t, t), -1) if pairing == "half" else t.repeat_interleave(2, -1) for t in angles]
        c, s = (t.unsqueeze(unsqueeze_dim) for t in wide)
        return tuple(x * c + direction * _turn(x, pairing) * s for x in (q, k))  # type: ignore[return-value]

    return apply_rotary_pos_emb


def _attention(report: Any) -> list[tuple[str, str]]:
    return [(item.status, item.fault) for item in report if item.kind == "attention"]


@pytest.mark.parametrize("folder", HERE)
def test_both_ways_name_a_pairing_that_no_checkpoint_has(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, model, more = MODELS[folder]
    module = importlib.import_module(f"transformers.models.{folder}.modeling_{folder}")
    made = make(folder, config, model, **more)()
    healthy = _attention(rope_compat.verify(made))
    assert healthy, "no attention was looked at"
    assert {status for status, _ in healthy} == {"ok"}
    meaning = convention_of(folder, "apply_rotary_pos_emb", None)
    other = "interleaved" if meaning.pairing == "half" else "half"
    mistake = _mistaken(other, meaning.tables, meaning.direction)
    mistake.__module__ = module.__name__
    with monkeypatch.context() as patch:
        patch.setattr(module, "apply_rotary_pos_emb", mistake)
        assert set(_attention(rope_compat.verify(made))) == {("wrong", "pairing")}
        installed = rope_compat.verify(modules=f"*.modeling_{folder}")
        faults = {item.fault for item in installed if item.name.endswith(":apply_rotary_pos_emb")}
    assert faults == {"pairing"}, str(installed)
