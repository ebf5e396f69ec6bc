"""Attention classes with telling names, restored where the config chooses: they keep their old contract."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import LLAMA, QWEN2_5_VL, QWEN2_VL, RELEASE
from support.lanes import GENERATION
from support.models import ALL, inputs_for
from torch import Tensor

import rope_compat

HERE = Version(RELEASE)
GONE = Version("4.48.0") <= HERE
VISION_GONE = Version("4.53.0") <= HERE
pytestmark = pytest.mark.only(GONE, reason="Llama has lost its classes")


@pytest.fixture(scope="module", autouse=True)
def _patched() -> Iterator[None]:
    with rope_compat.patched(on_problem="ignore"):
        yield


@pytest.fixture
def llama() -> ModuleType:
    return importlib.import_module(LLAMA)


@pytest.fixture
def model() -> Any:
    return ALL["llama"]()


def states() -> Tensor:
    return torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(3))


def positions(model: Any) -> Any:
    return model.model.rotary_emb(states(), torch.arange(6)[None])


def made(llama: ModuleType, name: str, model: Any) -> Any:
    """An attention of that class, with the weights of the model's first layer."""
    attention = getattr(llama, name)(model.config, layer_idx=0).eval()
    attention.load_state_dict(model.model.layers[0].self_attn.state_dict())
    return attention


def causal() -> Tensor:
    return torch.full((6, 6), torch.finfo(torch.float32).min).triu(1)[None, None].expand(2, 1, 6, 6)


def test_it_is_a_subclass_that_has_the_weights_of_the_live_class(llama: ModuleType, model: Any) -> None:
    attention = made(llama, "LlamaSdpaAttention", model)
    assert isinstance(attention, llama.LlamaAttention)
    assert type(attention).__module__ == LLAMA
    assert attention.state_dict().keys() == model.model.layers[0].self_attn.state_dict().keys()
    assert (attention.num_heads, attention.num_key_value_heads, attention.hidden_size) == (4, 2, 32)
    assert repr(attention).startswith("LlamaSdpaAttention(")


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_it_computes_by_its_name_and_leaves_the_model_alone(
    llama: ModuleType, model: Any, implementation: str
) -> None:
    model.config._attn_implementation = implementation
    before = copy.deepcopy(model.config.to_dict())
    attention = made(llama, "LlamaSdpaAttention", model)
    assert attention.config._attn_implementation == "sdpa"
    assert model.config._attn_implementation == implementation
    assert model.config.to_dict() == before
    assert model.model.layers[0].self_attn.config is model.config


def old_call(attention: Any, model: Any, **more: Any) -> Any:
    given = {"attention_mask": causal(), "position_ids": torch.arange(6)[None], "past_key_value": None}
    return attention(states(), **given, position_embeddings=positions(model), **more)


@pytest.mark.only(Version("4.56.0") <= HERE, reason="past_key_value tells an old call from 4.56 on")
def test_an_old_call_gives_three_values(llama: ModuleType, model: Any) -> None:
    attention = made(llama, "LlamaSdpaAttention", model)
    output, weights, cache = old_call(attention, model, output_attentions=False, use_cache=False)
    live = model.model.layers[0].self_attn
    expected = live(states(), position_embeddings=positions(model), attention_mask=causal())[0]
    assert torch.allclose(output, expected, atol=1e-6)
    assert weights is None
    assert cache is None


def test_where_a_call_could_be_either_written_for_decides(model: Any) -> None:
    with rope_compat.patched(on_problem="ignore", written_for="4.46"):
        attention = made(importlib.import_module(LLAMA), "LlamaSdpaAttention", model)
        assert len(old_call(attention, model)) == 3


def test_positional_arguments_in_the_old_order(llama: ModuleType, model: Any) -> None:
    attention = made(llama, "LlamaSdpaAttention", model)
    result = attention(states(), causal(), torch.arange(6)[None], None, position_embeddings=positions(model))
    assert len(result) == 3
    native = attention(states(), positions(model), causal())
    assert len(native) == 2
    assert torch.equal(result[0], native[0])


def test_weights_are_given_when_they_are_asked_for(llama: ModuleType, model: Any) -> None:
    attention = made(llama, "LlamaSdpaAttention", model)
    result = attention(states(), causal(), None, None, True, position_embeddings=positions(model))
    assert result[1].shape == (2, 4, 6, 6)
    assert torch.allclose(result[1].sum(-1), torch.ones(2, 4, 6), atol=1e-5)
    assert attention.config._attn_implementation == "sdpa"


def test_a_cache_is_filled_and_given_back(llama: ModuleType, model: Any) -> None:
    cache_class = importlib.import_module("transformers.cache_utils").DynamicCache
    attention, cache = made(llama, "LlamaSdpaAttention", model), cache_class()
    result = attention(states(), causal(), None, cache, position_embeddings=positions(model))
    assert result[2] is cache
    assert cache.get_seq_length() == 6


def test_in_a_model_it_computes_what_the_live_class_does(llama: ModuleType, model: Any) -> None:
    """The library's own call is native: two values."""
    with torch.no_grad():
        expected = model(**inputs_for("llama")).logits
        for index, layer in enumerate(model.model.layers):
            attention = llama.LlamaSdpaAttention(model.config, index).eval()
            attention.load_state_dict(layer.self_attn.state_dict())
            layer.self_attn = attention
        assert torch.equal(model(**inputs_for("llama")).logits, expected)


@pytest.mark.lane(GENERATION)
def test_a_model_with_it_compiles_in_one_graph(llama: ModuleType, model: Any) -> None:
    model.model.layers[0].self_attn = made(llama, "LlamaSdpaAttention", model)
    ids = inputs_for("llama")["input_ids"]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch._dynamo.reset()
        explained = torch._dynamo.explain(lambda given: model(given, use_cache=False).logits)(ids)
    assert explained.graph_break_count == 0


@pytest.mark.only(not torch.cuda.is_available(), reason="flash-attn is not usable")
def test_flash_says_what_it_needs(llama: ModuleType, model: Any) -> None:
    attention = llama.LlamaFlashAttention2(model.config, 0)
    assert attention.config._attn_implementation == "flash_attention_2"
    with pytest.raises(
        rope_compat.RopeCompatError, match="LlamaFlashAttention2 computes with flash-attn"
    ) as error:
        attention(states(), positions(model), None)
    assert isinstance(error.value, ImportError)


def test_the_table_of_classes(llama: ModuleType) -> None:
    table = llama.LLAMA_ATTENTION_CLASSES
    assert table == {
        "eager": llama.LlamaAttention,
        "sdpa": llama.LlamaSdpaAttention,
        "flash_attention_2": llama.LlamaFlashAttention2,
    }
    with pytest.warns(rope_compat.DeadPatchWarning, match="LLAMA_ATTENTION_CLASSES"):
        table["mine"] = int


def test_a_change_that_has_no_effect_is_told_at_its_line(llama: ModuleType) -> None:
    def forward(self: Any) -> None: ...

    native = llama.LlamaSdpaAttention.forward
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
        llama.LlamaSdpaAttention.forward = forward
    assert [(each.category, each.filename, each.lineno) for each in caught] == [
        (rope_compat.DeadPatchWarning, __file__, line)
    ]
    assert "LlamaSdpaAttention.forward" in str(caught[0].message)
    assert "LlamaAttention" in str(caught[0].message)
    type.__setattr__(llama.LlamaSdpaAttention, "forward", native)


def test_subclasses_are_free(llama: ModuleType, model: Any) -> None:
    class Mine(llama.LlamaFlashAttention2):  # type: ignore[name-defined,misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.extra = 1

        def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
            return self.q_proj(hidden_states), None, None

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Mine.marker = lambda self: 2
        mine = Mine(config=model.config, layer_idx=1)
    assert (mine.extra, mine.layer_idx, mine.num_heads) == (1, 1, 4)
    assert len(mine(states())) == 3
    assert isinstance(mine, llama.LlamaFlashAttention2)
    assert not isinstance(mine, llama.LlamaSdpaAttention)


def test_isinstance_asks_what_an_attention_computes_with(llama: ModuleType, model: Any) -> None:
    live = model.model.layers[0].self_attn
    for implementation in ("eager", "sdpa"):
        model.config._attn_implementation = implementation
        assert isinstance(live, llama.LlamaSdpaAttention) is (implementation == "sdpa")
        assert not isinstance(live, llama.LlamaFlashAttention2)
    assert not isinstance(3, llama.LlamaSdpaAttention)


def can_be_pickled(value: object) -> bool:
    try:
        pickle.dumps(value)
    except (pickle.PicklingError, AttributeError):
        # AttributeError: a class that kernels made inside of a function.
        return False
    return True


def test_copies_and_pickles(llama: ModuleType, model: Any) -> None:
    attention = made(llama, "LlamaSdpaAttention", model)
    # Where the live class keeps the function that its module had before patch(), neither can be pickled.
    copies = [copy.deepcopy(attention)]
    if can_be_pickled(model.model.layers[0].self_attn):
        copies.append(pickle.loads(pickle.dumps(attention)))
    for other in copies:
        assert type(other) is llama.LlamaSdpaAttention
        native = attention(states(), positions(model), causal())
        assert torch.equal(other(states(), positions(model), causal())[0], native[0])


@pytest.mark.only(VISION_GONE, reason="Qwen2-VL has lost its classes")
@pytest.mark.parametrize(
    ("place", "name", "folder"),
    [
        (QWEN2_VL, "VisionSdpaAttention", "qwen2_vl"),
        (QWEN2_5_VL, "Qwen2_5_VLVisionSdpaAttention", "qwen2_5_vl"),
    ],
)
def test_vision_classes_take_the_numbers_that_they_took(place: str, name: str, folder: str) -> None:
    module, model = importlib.import_module(place), ALL[folder]()
    live = next(each for each in model.modules() if type(each).__name__ == name.replace("Sdpa", ""))
    for attention in (getattr(module, name)(32, num_heads=2), getattr(module, name)(dim=32, num_heads=2)):
        attention.load_state_dict(live.state_dict())
        pixels = torch.randn(16, 32, generator=torch.Generator().manual_seed(5))
        angles = torch.randn(16, 16, generator=torch.Generator().manual_seed(6))
        lengths = torch.tensor([0, 4, 16], dtype=torch.int32)
        given = {"cu_seqlens": lengths, "position_embeddings": (angles.cos(), angles.sin())}
        assert torch.allclose(attention(pixels, **given), live(pixels, **given), atol=1e-6)
    table = f"{'QWEN2_VL' if folder == 'qwen2_vl' else 'QWEN2_5_VL'}_VISION_ATTENTION_CLASSES"
    assert getattr(module, table)["sdpa"] is getattr(module, name)


@pytest.mark.only(Version("4.50.0") <= HERE, reason="ViT has lost its class")
def test_a_class_that_cannot_be_made_says_so() -> None:
    module = importlib.import_module("transformers.models.vit.modeling_vit")
    if hasattr(module, "ViTSelfAttention"):
        assert issubclass(module.ViTSdpaSelfAttention, module.ViTSelfAttention)
        return
    with pytest.raises(rope_compat.RopeCompatError, match="ViTSdpaSelfAttention cannot be made here"):
        module.ViTSdpaSelfAttention(None)
