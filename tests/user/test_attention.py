"""Attention and decoder layers of transformers, called as other releases call them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import LLAMA, RELEASE, load
from support.lanes import GENERATION
from support.models import ALL
from torch import Tensor

import rope_compat

SINCE_4_48 = Version(RELEASE) >= Version("4.48.0")
pytestmark = pytest.mark.only(SINCE_4_48, reason="before, attention computes its embeddings itself")
RETURNS_TENSOR = Version(RELEASE) >= Version("4.54.0")


@pytest.fixture
def model() -> Iterator[Any]:
    with rope_compat.patched(on_problem="error"), torch.no_grad():
        yield ALL["llama"]().model


def hidden(length: int = 6) -> Tensor:
    return torch.randn(2, length, 32, generator=torch.Generator().manual_seed(3))


def causal(length: int) -> Tensor:
    return torch.full((length, length), torch.finfo(torch.float32).min).triu(1)[None, None]


def first(result: Any) -> Tensor:
    found: Tensor = result if isinstance(result, Tensor) else result[0]
    return found


def expected(model: Any, x: Tensor, positions: Tensor, mask: Tensor, layer: int = 0) -> Tensor:
    with torch.no_grad():
        pair = model.rotary_emb(x, positions)
        return first(model.layers[layer].self_attn(x, position_embeddings=pair, attention_mask=mask))


def test_positions_are_what_the_caller_says(model: Any) -> None:
    x, mask, attention = hidden(), causal(6), model.layers[1].self_attn
    for positions in (torch.arange(6)[None], torch.tensor([[4, 5, 6, 7, 8, 9], [0, 0, 0, 1, 2, 3]])):
        wanted = expected(model, x, positions, mask, layer=1)
        assert torch.equal(first(attention(x, attention_mask=mask, position_ids=positions)), wanted)
        assert torch.equal(first(attention(x, mask, positions)), wanted)
        assert torch.equal(first(attention(x, mask, positions, None, False, False)), wanted)
    wanted = expected(model, x, torch.arange(3, 9)[None], mask, layer=1)
    assert torch.equal(first(attention(x, attention_mask=mask, cache_position=torch.arange(3, 9))), wanted)
    other = expected(model, x, torch.tensor([[0, 2, 4, 6, 8, 20]]), mask, layer=1)
    assert not torch.equal(other, wanted)


@pytest.mark.parametrize("name", ["past_key_value", "past_key_values", "cache"])
def test_a_cache_says_where_the_next_token_is(model: Any, name: str) -> None:
    from transformers.cache_utils import DynamicCache

    x, layer = hidden(), model.layers[0]
    whole = first(layer(x, attention_mask=causal(6)))
    cache = DynamicCache()
    start = first(layer(x[:, :5], attention_mask=causal(5), **{name: cache}))
    assert cache.get_seq_length(0) == 5
    last = first(layer(x[:, 5:], **{name: cache}))
    assert cache.get_seq_length(0) == 6
    torch.testing.assert_close(torch.cat([start, last], 1), whole)
    wrong = first(layer(x[:, 5:], position_ids=torch.zeros(1, 1, dtype=torch.long), **{name: cache}))
    assert not torch.allclose(wrong, last, atol=1e-5)


def test_a_decoder_layer_is_what_the_model_calls(model: Any) -> None:
    ids = torch.arange(3, 9)[None]
    seen: list[Tensor] = []
    handle = model.layers[0].register_forward_hook(lambda module, args, output: seen.append(first(output)))
    model(ids)
    handle.remove()
    assert torch.equal(first(model.layers[0](model.embed_tokens(ids), attention_mask=causal(6))), seen[0])


def test_the_rotary_module_is_the_models_and_nowhere_registered(model: Any) -> None:
    names = [name for name, _ in model.named_modules()]
    state, buffers = list(model.state_dict()), [name for name, _ in model.named_buffers()]
    attention = model.layers[1].self_attn
    assert attention.rotary_emb is model.rotary_emb
    assert attention.num_heads == 4
    assert attention.num_key_value_heads == 2
    assert attention.hidden_size == 32
    assert attention.max_position_embeddings == 128
    assert attention.rope_theta == 10000.0
    assert not hasattr(type(attention), "rotary_emb")
    assert [name for name, _ in model.named_modules()] == names
    assert list(model.state_dict()) == state
    assert [name for name, _ in model.named_buffers()] == buffers
    with pytest.raises(AttributeError):
        _ = attention.nothing_of_this_name
    attention.num_heads, attention.rotary_emb = 7, torch.nn.Identity()
    assert attention.num_heads == 7
    assert attention.rotary_emb is attention._modules["rotary_emb"]


def test_copies_have_their_own(model: Any, tmp_path: Path) -> None:
    assert model.layers[0].self_attn.rotary_emb is model.rotary_emb
    model.save_pretrained(tmp_path)
    copies = copy.deepcopy(model), type(model).from_pretrained(tmp_path)
    x = hidden()
    wanted = first(model.layers[0].self_attn(x, attention_mask=causal(6)))
    for other in copies:
        other.eval()
        assert other.layers[0].self_attn.rotary_emb is other.rotary_emb
        assert torch.equal(first(other.layers[0].self_attn(x, attention_mask=causal(6))), wanted)
    moved = copies[0].to(torch.float64)
    moved.rotary_emb = copy.deepcopy(moved.rotary_emb)
    assert moved.layers[0].self_attn.rotary_emb is moved.rotary_emb
    assert first(moved.layers[0].self_attn(x.double(), attention_mask=causal(6))).dtype is torch.float64


def test_attention_without_a_model_makes_its_own(model: Any) -> None:
    alone = load(LLAMA).LlamaAttention(model.config, 0).eval()
    alone.load_state_dict(model.layers[0].self_attn.state_dict())
    x = hidden()
    assert torch.equal(
        first(alone(x, attention_mask=causal(6))),
        first(model.layers[0].self_attn(x, attention_mask=causal(6))),
    )
    assert alone.rotary_emb is alone.rotary_emb is not model.rotary_emb
    assert not any("rotary" in name for name, _ in alone.named_modules())


def test_a_subclass_in_the_old_style(model: Any) -> None:
    class Attention(load(LLAMA).LlamaAttention):  # type: ignore[misc, name-defined]
        def forward(self, hidden_states: Tensor, attention_mask: Any = None, **kwargs: Any) -> Any:
            kwargs.pop("position_embeddings", None)
            return super().forward(hidden_states, attention_mask, **kwargs)

    ids = torch.arange(3, 9)[None]
    wanted = model(ids).last_hidden_state
    for layer in model.layers:
        layer.self_attn.__class__ = Attention
    assert torch.equal(model(ids).last_hidden_state, wanted)


def test_what_is_returned_is_what_the_release_returned() -> None:
    model, x, mask = ALL["llama"]().model, hidden(), causal(6)
    layer = model.layers[0]
    with rope_compat.patched(on_problem="ignore"), torch.no_grad():
        assert len(layer.self_attn(x, attention_mask=mask)) == 2
        wanted = first(layer(x, attention_mask=mask))
    with rope_compat.patched(written_for="4.47", on_problem="ignore"), torch.no_grad():
        _, weights, cache = layer.self_attn(x, attention_mask=mask)
        assert (weights, cache) == (None, None)
        returned = layer(x, attention_mask=mask)
        assert isinstance(returned, tuple)
        assert torch.equal(returned[0], wanted)
        model(torch.arange(3, 9)[None])
    with rope_compat.patched(written_for="4.57", on_problem="ignore"), torch.no_grad():
        assert isinstance(layer(x, attention_mask=mask), Tensor) == RETURNS_TENSOR


def test_what_cannot_be_known_is_refused(model: Any) -> None:
    with pytest.raises(rope_compat.errors.CallFormError, match="position"):
        model.layers[0].self_attn(hidden(), "a mask", 3)


@pytest.mark.lane(GENERATION)
def test_one_graph_and_no_more() -> None:
    model = ALL["llama"]().model
    ids = torch.arange(3, 9)[None]

    def nodes() -> list[list[str]]:
        graphs: list[list[str]] = []

        def backend(module: Any, inputs: Any) -> Any:
            graphs.append([f"{node.op} {node.target}" for node in module.graph.nodes])
            return module.forward

        torch._dynamo.reset()
        compiled = torch.compile(model, backend=backend, fullgraph=True)
        for _ in range(2):
            compiled(ids, use_cache=False)
        return graphs

    before = nodes()
    with rope_compat.patched(on_problem="ignore"):
        during = nodes()
    torch._dynamo.reset()
    assert len(before) == 1
    assert during == before


def test_undo_gives_everything_back() -> None:
    cls = load(LLAMA).LlamaAttention
    before = dict(vars(cls))
    with rope_compat.patched(on_problem="ignore"):
        assert vars(cls)["forward"] is not before["forward"]
    assert dict(vars(cls)) == before
