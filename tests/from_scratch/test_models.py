"""The package's own models beside `patch`, and what plans, status and compilers see; on the newest one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import rope_compat
from rope_compat.errors import ArgumentError, CallFormError, LayoutError

from . import releases

pytestmark = pytest.mark.only(bool(releases.DIRECTORY), reason="the environment called llms has the releases")

NEWEST = releases.RELEASES[-1]
LAYERS, HEADS, DIM = 2, 4, 16
COMMON = {
    "vocab_size": 64,
    "context_length": 16,
    "emb_dim": HEADS * DIM,
    "n_heads": HEADS,
    "n_layers": LAYERS,
    "hidden_dim": 32,
    "n_kv_groups": 2,
    "rope_base": 10_000.0,
    "dtype": torch.float32,
}
LLAMA: dict[str, Any] = COMMON | {"rope_freq": None}
QWEN: dict[str, Any] = COMMON | {"head_dim": DIM, "qk_norm": True}
MODELS = {
    "llama3": ("Llama3Model", LLAMA),
    "qwen3": ("Qwen3Model", QWEN),
    "kv_cache.llama3": ("Llama3Model", LLAMA),
    "kv_cache.qwen3": ("Qwen3Model", QWEN),
    "kv_cache_batched.qwen3": ("Qwen3Model", QWEN),
}


@pytest.fixture(autouse=True)
def _release() -> Iterator[None]:
    with releases.installed(NEWEST):
        yield
        rope_compat.unpatch()


def run(module: str, tokens: Tensor) -> list[Tensor]:
    """Logits of a tiny model with fixed weights; where there is a cache, of the next two tokens as well."""
    name, config = MODELS[module]
    torch.manual_seed(0)
    model = getattr(releases.load(module), name)(dict(config)).eval()
    with torch.no_grad():
        if module == "kv_cache.llama3" or module == "kv_cache.qwen3":
            cache = releases.load("kv_cache.utils").KVCache(n_layers=LAYERS)
            return [model(part, cache=cache) for part in (tokens, tokens[:, :1], tokens[:, 1:2])]
        if module == "kv_cache_batched.qwen3":
            cache = releases.load("kv_cache_batched.utils").KVCache(n_layers=LAYERS, batch_size=2)
            starts = torch.tensor([0, 0])
            first = model(tokens, cache=cache, start_pos=starts)
            return [first, model(tokens[:, :1], cache=cache, start_pos=starts + tokens.shape[1])]
        return [model(tokens)]


@pytest.mark.parametrize("strict", [False, True], ids=["usual", "strict"])
@pytest.mark.parametrize("length", [5, HEADS], ids=["other lengths", "as many positions as heads"])
@pytest.mark.parametrize("module", MODELS)
def test_a_model_of_the_package_computes_the_same_bits(module: str, length: int, strict: bool) -> None:
    tokens = torch.randint(0, 64, (2, length), generator=torch.Generator().manual_seed(1))
    before = run(module, tokens)
    rope_compat.patch(strict=strict)
    after = run(module, tokens)
    assert all(map(torch.equal, before, after))
    assert not any(item.foreign_calls for item in rope_compat.status().adapted)


def contiguous(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("module", MODELS)
def test_strict_refuses_what_nothing_tells_apart(module: str) -> None:
    loaded = releases.load(module)
    cos, sin = loaded.compute_rope_params(DIM, context_length=32)
    each = (torch.zeros(2, dtype=torch.long),) if "batched" in module else ()
    x = contiguous(2, 10, HEADS, DIM)
    # (b, seq, heads, dim) and tables that are longer than both: nothing of it shows, and heads are turned.
    rope_compat.patch()
    assert loaded.apply_rope(x, cos, sin, *each).shape == x.shape
    rope_compat.unpatch()
    rope_compat.patch(strict=True)
    for function in (loaded.apply_rope, loaded.compute_rope):
        with pytest.raises(LayoutError, match=r'nothing tells axes 1 and 2 apart.*layout="bshd"'):
            function(x, cos, sin, *each)
        right = function(x.transpose(1, 2), cos, sin, *each, layout="bhsd")
        assert torch.equal(function(x, cos, sin, *each, layout="bshd"), right.transpose(1, 2))
        # Memory order of a projection.
        projected = contiguous(2, 10, HEADS * DIM).view(2, 10, HEADS, DIM).transpose(1, 2)
        assert function(projected, cos, sin, *each).shape == projected.shape
    # As long as the tables, and no other axis is: then axis 2 has the positions.
    if not each:
        assert loaded.apply_rope(contiguous(2, HEADS, 32, DIM), cos, sin).shape == (2, HEADS, 32, DIM)


def test_strict_refuses_positions_beyond_the_tables() -> None:
    batched = releases.load("kv_cache_batched.qwen3")
    cos, sin = batched.compute_rope_params(DIM, context_length=8)
    x = contiguous(2, 6, HEADS, DIM).transpose(1, 2)
    late = torch.tensor([0, 5])
    # The package takes the last row for all that are beyond.
    assert batched.apply_rope(x, cos, sin, late).shape == x.shape
    rope_compat.patch(strict=True)
    with pytest.raises(LayoutError, match="begins at row 5, but the tables hold 8 rows"):
        batched.apply_rope(x, cos, sin, late)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_strict_refuses_positions_that_are_rounded(dtype: torch.dtype) -> None:
    compute = releases.load("llama3").compute_rope_params
    right = compute(DIM, context_length=4096)[0]
    assert (compute(DIM, context_length=4096, dtype=dtype)[0] - right).abs().max() > 0.5
    rope_compat.patch(strict=True)
    loaded = releases.load("llama3").compute_rope_params
    with pytest.raises(CallFormError, match=r"positions to 4095 in .* rounds what is beyond"):
        loaded(DIM, dtype=dtype)
    assert loaded(DIM, context_length=257, dtype=dtype)[0].shape == (257, DIM)


def test_a_readers_own_function_takes_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    llama = releases.load("llama3")
    calls = []

    def own(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        calls.append(x.shape)
        return x

    monkeypatch.setattr(llama, "apply_rope", own)
    rope_compat.patch()
    cos, sin = llama.compute_rope_params(DIM, context_length=32)
    llama.apply_rope(contiguous(2, HEADS, 6, DIM), cos, sin, offset=3)
    llama.compute_rope(contiguous(2, HEADS, 6, DIM), cos, sin)
    assert len(calls) == 2
    rope_compat.unpatch()
    assert llama.apply_rope is own


@pytest.mark.parametrize("is_first", [True, False])
def test_a_reference_that_was_imported_before(is_first: bool) -> None:
    if not is_first:
        rope_compat.patch()
    space: dict[str, Any] = {}
    exec("from llms_from_scratch.llama3 import apply_rope, compute_rope_params", space)
    holder = releases.ModuleType("a_readers_module")
    vars(holder).update(space)
    releases.sys.modules["a_readers_module"] = holder
    try:
        rope_compat.patch()
        cos, sin = holder.compute_rope_params(DIM, context_length=32, dtype=torch.float32)
        assert holder.apply_rope(contiguous(2, HEADS, 6, DIM), cos, sin, 3).shape == (2, HEADS, 6, DIM)
        assert holder.apply_rope is releases.load("llama3").apply_rope
    finally:
        del releases.sys.modules["a_readers_module"]


def test_the_plan_and_the_status_name_what_is_done() -> None:
    waiting = {step.shim: step for step in rope_compat.plan().steps if step.shim.startswith("llms-")}
    assert len(waiting) == 4
    assert {step.state for step in waiting.values()} == {"on import"}
    llama = releases.load("llama3")
    now = [step.target for step in rope_compat.plan().steps if step.state == "now"]
    assert f"{llama.__name__}:apply_rope" in now
    assert f"{llama.__name__}:compute_rope" in now
    assert rope_compat.plan().digest != rope_compat.plan(strict=True).digest
    rope_compat.patch()
    cos, sin = llama.compute_rope_params(DIM, context_length=32)
    llama.apply_rope(contiguous(2, HEADS, 6, DIM), cos, sin, 3)
    counted = {item.target: item.foreign_calls for item in rope_compat.status().adapted}
    assert counted[f"{llama.__name__}:apply_rope"] == {"offset": 1}


def test_targets_choose() -> None:
    llama = releases.load("llama3")
    native = llama.apply_rope
    with rope_compat.patched(targets="transformers"):
        assert llama.apply_rope is native
    with rope_compat.patched(targets="apply_rope"):
        assert llama.apply_rope is not native
        assert not hasattr(llama, "compute_rope")
    with rope_compat.patched(targets="llms_from_scratch.llama3"):
        assert hasattr(llama, "compute_rope")
        assert not hasattr(releases.load("qwen3"), "compute_rope")
    with pytest.raises(ArgumentError, match="llms_from_scratch"):
        rope_compat.patch(targets="apply_ropes")


def test_nothing_is_said_about_transformers_where_nobody_has_it(recwarn: pytest.WarningsRecorder) -> None:
    with rope_compat.patched(on_problem="error"):
        assert rope_compat.status().active
    assert not recwarn.list


def test_a_compiler_sees_the_same_graph() -> None:
    llama = releases.load("llama3")
    cos, sin = llama.compute_rope_params(DIM, context_length=32)
    x = contiguous(2, HEADS, 6, DIM)
    seen: list[list[str]] = []

    def backend(graph: Any, inputs: Any) -> Any:
        seen.append([f"{node.op} {node.target}" for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    def call(x: Tensor) -> Tensor:
        result: Tensor = llama.apply_rope(x, cos, sin)
        return result

    native = torch.compile(call, backend=backend, fullgraph=True)(x)
    rope_compat.patch()
    adapted = torch.compile(call, backend=backend, fullgraph=True)(x)
    assert torch.equal(native, adapted)
    assert seen[0] == seen[1]
    assert seen[0]
