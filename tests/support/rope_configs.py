"""Configs with one rope type each, in every style, and what the types mean by the mathematics alone."""

from __future__ import annotations

from typing import Any

import torch
from packaging.version import Version
from torch import Tensor

from rope_compat.rotary import frequencies
from support.installed import RELEASE

UTILS = "transformers.modeling_rope_utils"
IS_5X = Version("5.0.0") <= Version(RELEASE)

THETA, HEAD, LENGTH, ORIGINAL = 500000.0, 32, 2048, 512
SIZES = {"hidden_size": 128, "num_attention_heads": 4, "max_position_embeddings": LENGTH}
SHORT, LONG = ([base + i / 7 for i in range(HEAD // 2)] for base in (1.0, 3.0))
WITH_ORIGINAL = {"original_max_position_embeddings": ORIGINAL}
SCALING: dict[str, dict[str, Any]] = {
    "default": {},
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 2.0},
    "yarn": {"factor": 4.0, **WITH_ORIGINAL, "beta_fast": 16.0},
    # With a factor for attention: 4.43 and 4.44 fail to validate a longrope without one.
    "longrope": {
        "factor": 4.0,
        **WITH_ORIGINAL,
        "attention_factor": 1.25,
        "short_factor": SHORT,
        "long_factor": LONG,
    },
    "llama3": {"factor": 8.0, **WITH_ORIGINAL, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "proportional": {"factor": 2.0, "partial_rotary_factor": 0.25},
}
TYPES = list(SCALING)


def expected(rope_type: str, seq_len: Any = None) -> tuple[Tensor, float]:
    """What `rope_compat.rotary` gives, which `test_rotary_frequencies` holds against known numbers."""
    if rope_type == "default":
        return frequencies.default(HEAD, THETA)
    if rope_type == "linear":
        return frequencies.linear(HEAD, THETA, 4.0)
    if rope_type == "dynamic":
        return frequencies.dynamic(HEAD, THETA, 2.0, LENGTH, seq_len)
    if rope_type == "yarn":
        return frequencies.yarn(HEAD, THETA, 4.0, ORIGINAL, beta_fast=16.0)
    if rope_type == "longrope":
        more: dict[str, Any] = {"attention_factor": 1.25, "seq_len": seq_len}
        return frequencies.longrope(HEAD, THETA, SHORT, LONG, ORIGINAL, 4.0, **more)
    if rope_type == "llama3":
        return frequencies.llama3(HEAD, THETA, 8.0, 1.0, 4.0, ORIGINAL)
    return frequencies.proportional(HEAD, THETA, 0.25, 2.0)


def assert_bits(given: tuple[Tensor, float], wanted: tuple[Tensor, float]) -> None:
    """Two results of init functions are the same."""
    assert given[0].dtype == wanted[0].dtype == torch.float32
    assert torch.equal(given[0], wanted[0])
    assert given[1] == wanted[1]


class Config:
    """A config of nobody's: attributes, and nothing that transformers puts on its own."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update({**SIZES, **fields})


def parameters(rope_type: str) -> dict[str, Any]:
    return {"rope_type": rope_type, "rope_theta": THETA, **SCALING[rope_type]}


def new_style(rope_type: str, **fields: Any) -> Any:
    """As configs of 5.x keep it."""
    return Config(rope_parameters=parameters(rope_type), **fields)


def nested(rope_type: str) -> Any:
    """As configs of 5.x keep it where layers differ."""
    other = {"rope_type": "default", "rope_theta": 10000.0}
    return Config(rope_parameters={"full_attention": parameters(rope_type), "sliding_attention": other})


def old_style(rope_type: str) -> Any:
    """As configs of 4.x keep it."""
    scaling = None if rope_type == "default" else {"rope_type": rope_type, **SCALING[rope_type]}
    return Config(rope_theta=THETA, rope_scaling=scaling)


def native_config(rope_type: str, **fields: Any) -> Any:
    """Transformers' own config, in the style of the release."""
    from transformers import LlamaConfig

    sizes = {**SIZES, "num_hidden_layers": 1, "intermediate_size": 32, "vocab_size": 32}
    if IS_5X:
        return LlamaConfig(**{**sizes, "rope_parameters": parameters(rope_type), **fields})
    old = old_style(rope_type)
    return LlamaConfig(**sizes, rope_theta=old.rope_theta, rope_scaling=old.rope_scaling, **fields)
