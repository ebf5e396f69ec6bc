"""Patches that put a rotary class of their own in place of transformers'."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ..record import Record

YARN = {"repository": "jquesnelle/yarn", "commit": "995db5b575e75230b3384d658f8b944c9662f775"}
PATCH = {"scaled_rope/patch.py": "5e7a6760cd68ca9321c427b94a6bd28de9f3ab4f0c11d15cc31055f99825e56c"}


def _linear(patch: ModuleType, model: Any) -> None:
    patch.patch_llama_for_linear_scaled_rotary_embeddings(model, scale=1)


def _yarn(patch: ModuleType, model: Any) -> None:
    patch.patch_llama_for_yarn_scaled_rotary_embeddings(
        model, scale=1, original_max_position_embeddings=model.config.max_position_embeddings
    )


def _neox(patch: ModuleType, model: Any) -> None:
    patch.patch_gptneox_for_ntk_scaled_rotary_embeddings(model, alpha=1)


RECORDS = (
    Record(
        name="FastChat, condensed rotary class",
        repository="lm-sys/FastChat",
        commit="0e6d3e4beaab66f4d3f93db72541a4abab8af28d",
        files={
            "fastchat/model/llama_condense_monkey_patch.py": (
                "d39d82e316a7c516933596074fea185ddbdb9720df2020100434bf0e5d074ace"
            )
        },
        module="fastchat.model.llama_condense_monkey_patch",
        does="`LlamaRotaryEmbedding = partial(...)` of its own class, `(dim, ...)` and `(x, seq_len)`",
        model="llama",
        written_for="4.31.0",
        before=lambda patch: patch.replace_llama_with_condense(1),
    ),
    Record(
        name="YaRN's repository, linear scaling",
        **YARN,
        files=PATCH
        | {
            "scaled_rope/LlamaLinearScaledRotaryEmbedding.py": (
                "226e660c4ae86167b90026d007024273d6255840fd6b66ab9d50aad56519f4b4"
            )
        },
        module="scaled_rope.patch",
        does="`layer.self_attn.rotary_emb = ...` in each layer; `(x, seq_len)` returns `[1, 1, S, D]` tables",
        model="llama",
        written_for="4.31.0",
        after=_linear,
    ),
    Record(
        name="YaRN's repository, YaRN",
        **YARN,
        files=PATCH
        | {
            "scaled_rope/LlamaYaRNScaledRotaryEmbedding.py": (
                "fa097066e5792239ff4375dd84ed65d6c01bce8a2b6f1083dd4504151210a4af"
            )
        },
        module="scaled_rope.patch",
        does="the same with YaRN, at scale 1",
        model="llama",
        written_for="4.31.0",
        after=_yarn,
    ),
    Record(
        name="YaRN's repository, NTK for GPT-NeoX",
        **YARN,
        files=PATCH
        | {
            "scaled_rope/GPTNeoXNTKScaledRotaryEmbedding.py": (
                "433defe98db719aab91d4d4e946c460ec76f8f0e7cce621dd9f265259065e153"
            )
        },
        module="scaled_rope.patch",
        does="`layer.attention.rotary_emb = ...` in each layer",
        model="gpt_neox",
        written_for="4.31.0",
        after=_neox,
    ),
)
