"""Rotary classes as code of old releases constructs and calls them, with the release that last had each."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MODELS = "transformers.models"
DIM, LENGTH, BASE = 8, 64, 5000.0
SHORT, LONG = 8, 100

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """A class, how it is made, how it is called, and the release whose numbers count."""

    model: str
    name: str
    release: str
    make: Callable[[type], Any]
    call: Callable[[Any], Any]

    @property
    def module(self) -> str:
        return f"{MODELS}.{self.model}.modeling_{self.model}"

    def run(self) -> list[Tensor]:
        """Some rows of the tensors that the case gives, by the class that is there under its name."""
        cls = getattr(importlib.import_module(self.module), self.name)
        found = self.call(self.make(cls))
        tensors = [found] if isinstance(found, Tensor) else list(found)
        return [tensor if tensor.shape[-2] < LENGTH else tensor[..., ::9, :] for tensor in tensors]


def phi3_config() -> Any:
    from transformers import Phi3Config

    kind = "longrope"
    try:
        return Phi3Config(**_phi3(kind))
    except ValueError:
        # 4.41 and 4.42 know it as su.
        return Phi3Config(**_phi3("su"))


def _phi3(kind: str) -> dict[str, Any]:
    factors = {
        "short_factor": [1.0 + 0.1 * n for n in range(DIM // 2)],
        "long_factor": [2.0 + 0.5 * n for n in range(DIM // 2)],
    }
    return {
        "hidden_size": 2 * DIM,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4 * LENGTH,
        "original_max_position_embeddings": LENGTH,
        "rope_theta": BASE,
        "rope_scaling": {"type": kind, **factors},
        "pad_token_id": 0,
    }


def x(length: int = SHORT) -> Tensor:
    return torch.zeros(1, 2, length, DIM)


def tables(length: int) -> Callable[[Any], Pair]:
    return lambda module: tuple(t.reshape(t.shape[-2:]) for t in module(x(length), seq_len=length))


def rows(length: int) -> Callable[[Any], Pair]:
    return lambda module: module(x(length), torch.arange(length)[None])


def plain(cls: Any) -> Any:
    return cls(DIM, max_position_embeddings=LENGTH, base=BASE)


def by_factor(cls: Any) -> Any:
    return cls(DIM, max_position_embeddings=LENGTH, base=BASE, scaling_factor=4.0)


def phi3(cls: Any) -> Any:
    return cls(DIM, phi3_config())


def rotated(module: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    q, k = (torch.randn(1, 2, SHORT, DIM, generator=generator) for _ in range(2))
    return module(q, k)


PATCHES = torch.tensor([[0, 0], [0, 3], [2, 1], [5, 4]])

CASES = {
    "llama": Case("llama", "LlamaRotaryEmbedding", "4.36.2", plain, tables(LONG)),
    "llama_linear": Case("llama", "LlamaLinearScalingRotaryEmbedding", "4.36.2", by_factor, tables(SHORT)),
    "llama_linear_rows": Case("llama", "LlamaLinearScalingRotaryEmbedding", "4.47.1", by_factor, rows(LONG)),
    "llama_dynamic": Case(
        "llama", "LlamaDynamicNTKScalingRotaryEmbedding", "4.36.2", by_factor, tables(SHORT)
    ),
    "llama_dynamic_long": Case(
        "llama", "LlamaDynamicNTKScalingRotaryEmbedding", "4.36.2", by_factor, tables(LONG)
    ),
    "llama_dynamic_rows": Case(
        "llama", "LlamaDynamicNTKScalingRotaryEmbedding", "4.47.1", by_factor, rows(LONG)
    ),
    "falcon": Case("falcon", "FalconRotaryEmbedding", "4.43.4", plain, tables(SHORT)),
    "falcon_linear": Case("falcon", "FalconLinearScalingRotaryEmbedding", "4.43.4", by_factor, tables(SHORT)),
    "persimmon_dynamic": Case(
        "persimmon", "PersimmonDynamicNTKScalingRotaryEmbedding", "4.43.4", by_factor, tables(LONG)
    ),
    "stablelm": Case("stablelm", "StableLmRotaryEmbedding", "4.43.4", plain, tables(SHORT)),
    "gpt_neox": Case("gpt_neox", "GPTNeoXRotaryEmbedding", "4.43.4", plain, tables(SHORT)),
    "gpt_neox_japanese": Case("gpt_neox_japanese", "RotaryEmbedding", "4.43.4", plain, tables(SHORT)),
    "cohere": Case("cohere", "CohereRotaryEmbedding", "4.43.4", plain, rows(SHORT)),
    "idefics": Case("idefics", "IdeficsEmbedding", "5.3.0", plain, tables(SHORT)),
    "phi3_su": Case("phi3", "Phi3SuScaledRotaryEmbedding", "4.43.4", phi3, rows(SHORT)),
    "phi3_su_long": Case("phi3", "Phi3SuScaledRotaryEmbedding", "4.43.4", phi3, rows(LONG)),
    "phi3_longrope": Case("phi3", "Phi3LongRoPEScaledRotaryEmbedding", "4.47.1", phi3, rows(LONG)),
    "phi3_yarn": Case("phi3", "Phi3YarnScaledRotaryEmbedding", "4.47.1", phi3, rows(SHORT)),
    "phi3_yarn_long": Case("phi3", "Phi3YarnScaledRotaryEmbedding", "4.47.1", phi3, rows(LONG)),
    "esm": Case("esm", "RotaryEmbedding", "5.3.0", lambda cls: cls(DIM), rotated),
    "qwen2_vl_vision": Case(
        "qwen2_vl", "VisionRotaryEmbedding", "4.48.3", lambda cls: cls(DIM), lambda module: module(SHORT)
    ),
    "qwen2_5_vl_vision": Case(
        "qwen2_5_vl", "Qwen2_5_VisionRotaryEmbedding", "5.10.4", lambda cls: cls(DIM), lambda m: m(PATCHES)
    ),
    "qwen3_vl_vision": Case(
        "qwen3_vl",
        "Qwen3VLVisionRotaryEmbedding",
        "5.10.4",
        lambda cls: cls(DIM, theta=BASE),
        lambda module: module(PATCHES),
    ),
}
