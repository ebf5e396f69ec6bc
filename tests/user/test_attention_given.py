"""``position_embeddings=`` given to attention that computes its own: most up to 4.47.1, some for good."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import RELEASE, has_module, load
from support.models import NEOX, SPECIAL, TEXT
from torch import Tensor

import rope_compat

#: Idefics' tower, which is not asked for anything here, takes seconds to make in its usual size.
VISION = {"embed_dim": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
#: Names of classes, and fields of configs.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", TEXT),
    "mistral": ("Mistral", TEXT),
    "mixtral": ("Mixtral", TEXT),
    "qwen2": ("Qwen2", TEXT),
    "phi": ("Phi", TEXT),
    "phi3": ("Phi3", {**TEXT, **SPECIAL}),
    "gemma": ("Gemma", {**TEXT, "head_dim": 8}),
    "gemma2": ("Gemma2", {**TEXT, "head_dim": 8}),
    "stablelm": ("StableLm", TEXT),
    "gpt_neox": ("GPTNeoX", NEOX),
    "persimmon": ("Persimmon", {**TEXT, "num_key_value_heads": 4}),
    "idefics": ("Idefics", {**TEXT, "vision_config": VISION}),
}


def owns(name: str) -> bool:
    """Whether the installed model's attention knows nothing of position_embeddings."""
    module = f"transformers.models.{name}.modeling_{name}"
    spec = importlib.util.find_spec(module) if has_module(module) else None
    if spec is None or spec.origin is None:
        return False
    text = Path(spec.origin).read_text()
    is_known = re.search(r"(?<!max_)position_embeddings\b", text) is not None
    return "self.rotary_emb(" in text and not is_known


OWNERS = [name for name in MODELS if owns(name)]


@pytest.fixture(params=OWNERS)
def layer(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A first layer, without dropout."""
    prefix, options = MODELS[request.param]
    configuration = load(f"transformers.models.{request.param}.configuration_{request.param}")
    modeling = load(f"transformers.models.{request.param}.modeling_{request.param}")
    torch.manual_seed(0)
    config = getattr(configuration, f"{prefix}Config")(**options)
    model = getattr(modeling, f"{prefix}Model")(config).eval()
    with torch.no_grad():
        yield model.layers[0]


def attention_of(layer: Any) -> Any:
    return layer.attention if hasattr(layer, "attention") else layer.self_attn


def hidden() -> Tensor:
    return torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(3))


def mask() -> Tensor:
    return torch.full((6, 6), torch.finfo(torch.float32).min).triu(1)[None, None].expand(2, 1, -1, -1)


def pair_of(layer: Any, positions: Tensor) -> Any:
    return attention_of(layer).rotary_emb(hidden(), position_ids=positions)


POSITIONS = torch.tensor([[5, 4, 3, 2, 1, 0], [0, 0, 0, 1, 2, 3]])


def test_they_are_used(layer: Any) -> None:
    attention, x = attention_of(layer), hidden()
    wanted = attention(x, attention_mask=mask(), position_ids=POSITIONS)
    whole = layer(x, attention_mask=mask(), position_ids=POSITIONS)
    with rope_compat.patched(on_problem="error"):
        assert torch.equal(attention(x, attention_mask=mask(), position_ids=POSITIONS)[0], wanted[0])
        pair = pair_of(layer, POSITIONS)
        state = dict(vars(attention))
        found = attention(x, attention_mask=mask(), position_embeddings=pair)
        torch.testing.assert_close(found[0], wanted[0])
        assert len(found) == len(wanted)
        # Those of later releases' layers, of which cos and sin count.
        found = attention(
            x, attention_mask=mask(), position_ids=torch.arange(6)[None], position_embeddings=pair
        )
        torch.testing.assert_close(found[0], wanted[0])
        torch.testing.assert_close(layer(x, attention_mask=mask(), position_embeddings=pair)[0], whole[0])
        other = pair_of(layer, torch.arange(6)[None])
        assert not torch.allclose(
            attention(x, attention_mask=mask(), position_embeddings=other)[0], wanted[0], atol=1e-5
        )
        assert dict(vars(attention)) == state


def test_what_they_cannot_be_is_refused(layer: Any) -> None:
    with rope_compat.patched(on_problem="error"):
        cos, sin = pair_of(layer, POSITIONS)
        for pair in ((cos[:, :3], sin[:, :3]), (cos[0], sin[0]), cos, (cos, sin, sin)):
            with pytest.raises(rope_compat.errors.CallFormError, match="not cos and sin"):
                layer(hidden(), attention_mask=mask(), position_embeddings=pair)


def test_hooks_and_gradients(layer: Any) -> None:
    # Idefics freezes layers from 5.x on.
    attention, seen = attention_of(layer.requires_grad_(True)), []
    attention.register_forward_hook(lambda module, args, output: seen.append(type(module)))
    with rope_compat.patched(on_problem="error"), torch.enable_grad():
        layer(hidden(), attention_mask=mask(), position_embeddings=pair_of(layer, POSITIONS))[
            0
        ].sum().backward()
    assert seen == [type(attention)]
    assert all(each.grad is not None for each in attention.parameters() if each.ndim == 2)


def test_values_are_those_of_the_release_that_code_was_written_for(layer: Any) -> None:
    with rope_compat.patched(on_problem="error", written_for="4.57"):
        pair = pair_of(layer, POSITIONS)
        _, weights = attention_of(layer)(hidden(), attention_mask=mask(), position_embeddings=pair)
        assert weights is None
        assert isinstance(layer(hidden(), attention_mask=mask(), position_embeddings=pair), Tensor)


@pytest.mark.only(Version(RELEASE) < Version("4.43.0"), reason="from then on Llama's takes them")
def test_undo_gives_everything_back() -> None:
    cls = load("transformers.models.llama.modeling_llama").LlamaAttention
    before = dict(vars(cls))
    with rope_compat.patched(on_problem="error"):
        assert vars(cls)["forward"] is not before["forward"]
        assert rope_compat.plan().digest
    assert dict(vars(cls)) == before
