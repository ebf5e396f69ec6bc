"""Tiny models whose numbers drift between releases, and the releases whose numbers are kept in drift.json."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor

FILE = Path(__file__).parents[1] / "goldens" / "drift.json"
RELEASES = ("4.36.2", "4.47.1", "4.49.0", "4.53.3", "4.55.4", "4.57.6", "5.0.0", "5.23.0")

LONGEST, ORIGINAL, PAIRS = 64, 16, 8
SIZES: dict[str, Any] = {
    "vocab_size": 16,
    "hidden_size": 64,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": LONGEST,
    "rope_theta": 10000.0,
}
FACTORS = {
    "short_factor": [1 + n / 7 for n in range(PAIRS)],
    "long_factor": [3 + n / 2 for n in range(PAIRS)],
}
INSIDE = {"original_max_position_embeddings": ORIGINAL}


def _scaled(rope_type: str, **parameters: Any) -> dict[str, Any]:
    return {"rope_scaling": {"rope_type": rope_type, **parameters}}


#: Fields of each config; those of 4.36 know linear and dynamic scaling only, and those of 4.43 and 4.44 no
#: longrope without an attention factor.
CASES: dict[str, dict[str, Any]] = {
    "yarn_original": _scaled("yarn", factor=4.0, **INSIDE),
    "yarn_factor": _scaled("yarn", factor=8.0, **INSIDE),
    "yarn_mscale": _scaled("yarn", factor=4.0, mscale=1.0, mscale_all_dim=0.5),
    "yarn_truncate": _scaled("yarn", factor=4.0, truncate=False),
    "longrope": {**_scaled("longrope", **FACTORS), **INSIDE},
    "longrope_factor": {**_scaled("longrope", factor=8.0, **FACTORS), **INSIDE},
    "longrope_inside": _scaled("longrope", factor=4.0, **FACTORS, **INSIDE),
    "dynamic": {**_scaled("dynamic", factor=2.0), "max_position_embeddings": ORIGINAL},
    "bfloat16": {},
}
#: One after the other on one model: a short text, a long one, the short one again, one between, the longest.
LENGTHS = (12, 48, 12, 30, 60)


def goldens() -> dict[str, dict[str, list[list[float]]]]:
    """The logits of each case by release, as they are stored in drift.json."""
    stored = json.loads(FILE.read_text())
    return {
        name: {release: kept[value] if isinstance(value, str) else value for release, value in kept.items()}
        for name, kept in stored.items()
    }


def has_case(name: str, release: str) -> bool:
    """Whether a release computes the case at all."""
    if name == "dynamic":
        # 4.38.x raise IndexError for masks of texts that are longer than the model.
        return not Version("4.38.0") <= Version(release) < Version("4.39.0")
    first = "4.45.0" if name.startswith("longrope") else "4.36.0" if name == "bfloat16" else "4.43.0"
    return Version(first) <= Version(release)


def make(name: str, release: str) -> Any:
    """The model of a case, with weights that no release's own initialisation has a part in."""
    from transformers import LlamaConfig

    fields = json.loads(json.dumps({**SIZES, **CASES[name]}))
    if Version(release) < Version("4.43.0") and "rope_scaling" in fields:
        fields["rope_scaling"]["type"] = fields["rope_scaling"].pop("rope_type")
    modeling = importlib.import_module("transformers.models.llama.modeling_llama")
    model = modeling.LlamaForCausalLM(LlamaConfig(**fields, attn_implementation="eager")).eval()
    with torch.no_grad():
        for seed, (path, parameter) in enumerate(sorted(model.named_parameters())):
            values = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) * 0.15
            parameter.copy_(values + 1 if path.endswith("norm.weight") else values)
    return model.to(torch.bfloat16) if name == "bfloat16" else model


def logits(model: Any) -> list[Tensor]:
    """The logits of the last token of each text."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 16, (1, max(LENGTHS)), generator=generator)
    with torch.no_grad():
        return [model(ids[:, :length]).logits[0, -1].float() for length in LENGTHS]
