"""Models whose code constructs transformers' rotary classes in the form of 4.36, loaded from a checkpoint."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.class_cases import BASE, DIM, LENGTH, phi3_config, x
from support.installed import LLAMA, RELEASE, has_module
from support.poison import poisoned_memory

import rope_compat

PHI3 = "transformers.models.phi3.modeling_phi3"


@pytest.fixture(autouse=True)
def patch() -> Iterator[rope_compat.Patch]:
    with rope_compat.patched(on_problem="ignore") as applied:
        yield applied


def model_class() -> Any:
    from transformers import PretrainedConfig, PreTrainedModel

    llama = importlib.import_module(LLAMA)

    class TinyConfig(PretrainedConfig):  # type: ignore[misc,unused-ignore]
        model_type = "rope_compat_classes"

    class Tiny(PreTrainedModel):  # type: ignore[misc,unused-ignore]
        config_class = TinyConfig

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.plain = llama.LlamaRotaryEmbedding(DIM, max_position_embeddings=LENGTH, base=BASE)
            self.linear = llama.LlamaLinearScalingRotaryEmbedding(DIM, LENGTH, BASE, scaling_factor=4.0)
            self.dynamic = llama.LlamaDynamicNTKScalingRotaryEmbedding(DIM, LENGTH, BASE, scaling_factor=4.0)
            if has_module(PHI3):
                phi3 = importlib.import_module(PHI3)
                self.phi3 = (
                    phi3.Phi3LongRoPEScaledRotaryEmbedding(DIM, phi3_config())
                    if hasattr(phi3, "Phi3LongRoPEScaledRotaryEmbedding")
                    else None
                )
            self.weight = torch.nn.Parameter(torch.ones(2))
            self.post_init()

        def forward(self) -> dict[str, torch.Tensor]:
            names = ("plain", "linear", "dynamic", "phi3")
            modules = {name: getattr(self, name, None) for name in names}
            positions = torch.arange(9)[None]
            return {name: module(x(), positions)[0] for name, module in modules.items() if module is not None}

    return Tiny, TinyConfig


def test_from_pretrained_keeps_the_frequencies(tmp_path: Path) -> None:
    cls, config = model_class()
    built = cls(config())
    assert [name for name in built.state_dict() if name != "weight"] == []
    expected = built()
    built.save_pretrained(tmp_path)
    with poisoned_memory():
        loaded = cls.from_pretrained(tmp_path)
    assert torch.equal(loaded.weight, built.weight)
    found = loaded()
    assert found.keys() == expected.keys() >= {"plain", "linear", "dynamic"}
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.only(
    Version("4.43") <= Version(RELEASE), reason="dtype= was torch_dtype=, and rows came with 4.38.0"
)
def test_half_precision_models_keep_fp32_frequencies(tmp_path: Path) -> None:
    cls, config = model_class()
    cls(config()).save_pretrained(tmp_path)
    name = "dtype" if Version("4.56") <= Version(RELEASE) else "torch_dtype"
    loaded = cls.from_pretrained(tmp_path, **{name: torch.bfloat16})
    assert loaded.weight.dtype == torch.bfloat16
    assert loaded.plain.inv_freq.dtype == torch.float32
