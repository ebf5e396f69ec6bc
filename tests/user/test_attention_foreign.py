"""Layers and attention of many models, called as up to 4.47.1: without ``position_embeddings``."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import RELEASE, has_module, load
from support.lanes import GENERATION
from support.models import ALL, NEOX, SPECIAL, TEXT
from torch import Tensor

import rope_compat

pytestmark = pytest.mark.only(
    Version(RELEASE) >= Version("4.48.0"), reason="before, attention computes its embeddings itself"
)

#: Gemma 3 looks through a window in one of the layers, with another base.
GEMMA3 = {**TEXT, **SPECIAL, "head_dim": 8, "sliding_window": 3, "sliding_window_pattern": 2}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "mistral": ("MistralConfig", "MistralModel", TEXT),
    "qwen2": ("Qwen2Config", "Qwen2Model", TEXT),
    "phi3": ("Phi3Config", "Phi3Model", {**TEXT, **SPECIAL}),
    "gpt_neox": ("GPTNeoXConfig", "GPTNeoXModel", NEOX),
    "gemma3": ("Gemma3TextConfig", "Gemma3TextModel", GEMMA3),
}
NAMES = [name for name in (*MODELS, "qwen2_vl") if has_module(f"transformers.models.{name}.modeling_{name}")]


def made(name: str) -> Any:
    """A model of text alone, or the part of a model that is."""
    if name == "qwen2_vl":
        whole = ALL[name]()
        return next(each for each in whole.modules() if hasattr(each, "layers") and hasattr(each, "norm"))
    config, model, options = MODELS[name]
    torch.manual_seed(0)
    configuration = load(f"transformers.models.{name}.configuration_{name}")
    modeling = load(f"transformers.models.{name}.modeling_{name}")
    return getattr(modeling, model)(getattr(configuration, config)(**options)).eval()


def first(result: Any) -> Tensor:
    found: Tensor = result if isinstance(result, Tensor) else result[0]
    return found


def seen(model: Any) -> list[tuple[Any, tuple[Any, ...], dict[str, Any], Tensor]]:
    """Layers and attention, what the model calls them with but cos and sin, and what they give."""
    found: list[tuple[Any, tuple[Any, ...], dict[str, Any], Tensor]] = []

    def note(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        given = {key: value for key, value in kwargs.items() if not key.startswith("position_embeddings")}
        found.append((module, args, given, first(result)))

    watched = [
        *model.layers,
        *(each for layer in model.layers for each in layer.children() if is_attention(each)),
    ]
    handles = [each.register_forward_hook(note, with_kwargs=True) for each in watched]
    with torch.no_grad():
        ids = torch.arange(3, 9)[None].expand(2, -1)
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    for handle in handles:
        handle.remove()
    assert len(found) == 2 * len(model.layers)
    return found


def is_attention(module: Any) -> bool:
    return "Attention" in type(module).__name__


@pytest.mark.parametrize("name", NAMES)
def test_they_compute_what_the_model_does(name: str) -> None:
    model = made(name)
    with rope_compat.patched(on_problem="ignore"), torch.no_grad():
        for module, args, given, wanted in seen(model):
            assert torch.equal(first(module(*args, **given)), wanted)
            moved = {**given, "position_ids": torch.arange(4, 10)[None] * 2}
            if is_attention(module):
                # Positions are what the caller says, and not what the model had.
                assert not torch.allclose(first(module(*args, **moved)), wanted, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_loaded_models(name: str, tmp_path: Path) -> None:
    model = made(name)
    others = [copy.deepcopy(model)]
    if name != "qwen2_vl":
        model.save_pretrained(tmp_path)
        others.append(type(model).from_pretrained(tmp_path).eval())
    with rope_compat.patched(on_problem="ignore"), torch.no_grad():
        seen(model)
        for other in others:
            for module, args, given, wanted in seen(other):
                assert torch.equal(first(module(*args, **given)), wanted)


@pytest.mark.lane(GENERATION)
@pytest.mark.parametrize("name", NAMES)
def test_one_graph_once_the_module_has_been_called(name: str) -> None:
    model = made(name)
    module, args, given, wanted = seen(model)[-1]
    with rope_compat.patched(on_problem="ignore"), torch.no_grad():
        torch._dynamo.reset()
        module(*args, **given)
        compiled = torch.compile(module, backend="eager", fullgraph=True)
        torch.testing.assert_close(first(compiled(*args, **given)), wanted)
    torch._dynamo.reset()


@pytest.mark.lane(GENERATION)
def test_compiled_before_it_has_been_called() -> None:
    model = made("qwen2")
    module, args, given, wanted = seen(model)[-1]
    with rope_compat.patched(on_problem="ignore"), torch.no_grad():
        torch._dynamo.reset()
        with pytest.raises(Exception, match=r"Observed exception|call the module once"):
            torch.compile(module, backend="eager", fullgraph=True)(*args, **given)
        torch._dynamo.reset()
        compiled = torch.compile(module, backend="eager")
        torch.testing.assert_close(first(compiled(*args, **given)), wanted)
    torch._dynamo.reset()
