"""`identify` on models: which pairing the code expects that a checkpoint is for."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from support.installed import has_module

import rope_compat
from rope_compat import identify

SMALL = {
    "vocab_size": 16,
    "hidden_size": 64,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}


def model(kind: str, **fields: Any) -> Any:
    transformers = importlib.import_module("transformers")
    config = getattr(transformers, f"{kind}Config")(**SMALL | fields)
    return transformers.AutoModelForCausalLM.from_config(config)


def only(name: str) -> Any:
    return pytest.mark.only(has_module(f"transformers.models.{name}"), reason="this release lacks the model")


@pytest.mark.parametrize(
    ("kind", "pairing"),
    [
        ("Llama", "half"),
        pytest.param("Cohere", "interleaved", marks=only("cohere")),
        pytest.param("Glm", "interleaved", marks=only("glm")),
    ],
)
def test_the_pairing_of_a_model(kind: str, pairing: str) -> None:
    whole = model(kind)
    found = identify(whole)
    assert (found.verdict, found.pairing) == ("rotation", pairing), found.reason
    assert not found.notes
    assert found.frequencies is not None
    assert found.frequencies.theta in (10000.0, 500000.0)
    assert identify(whole.model.layers[0].self_attn).pairing == pairing


def test_a_model_that_is_patched() -> None:
    whole = model("Llama")
    before = identify(whole)
    with rope_compat.patched(on_problem="error"):
        found = identify(whole)
    assert (found.verdict, found.pairing, found.tables) == ("rotation", "half", "concatenated")
    assert [part.verdict for part in found.parts] == [part.verdict for part in before.parts]


@pytest.mark.only(has_module("transformers.models.deepseek_v3"), reason="this release lacks the model")
def test_a_choice_of_the_config_is_not_guessed() -> None:
    fields = {
        "num_key_value_heads": 2,
        "qk_rope_head_dim": 16,
        "n_routed_experts": 8,
        "first_k_dense_replace": 1,
    }
    found = identify(model("DeepseekV3", **fields))
    assert found.verdict == "ambiguous"
    assert {each.pairing for each in found.candidates} == {"half", "interleaved"}


def test_the_rotary_module_of_a_model() -> None:
    whole = model("Llama")
    (module,) = {type(each): each for each in whole.modules() if "Rotary" in type(each).__name__}.values()
    found = identify(module)
    assert (found.verdict, found.tables) == ("tables", "concatenated")
    assert found.frequencies is not None
    assert (found.frequencies.theta, found.frequencies.scaling) == (10000.0, ("default",))
