"""Patching, importing and undoing in every order, with transformers' own modules: identity comes back."""

from __future__ import annotations

import importlib
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from support.installed import LLAMA, QWEN2_5_VL, QWEN2_VL, has_module, load
from torch import Tensor

import rope_compat
from rope_compat import _api as api
from rope_compat._rules import rooms

PAIRS = [
    (module, name)
    for module, name in (
        (LLAMA, "apply_rotary_pos_emb"),
        (QWEN2_VL, "apply_rotary_pos_emb_vision"),
    )
    if has_module(module)
]
on_each_pair = pytest.mark.parametrize(("module_name", "name"), PAIRS)
QWEN2_5_VL_MODULES = [QWEN2_5_VL] if has_module(QWEN2_5_VL) else []


def rotate_half(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def tables(length: int = 8, width: int = 16) -> tuple[Tensor, Tensor]:
    angles = torch.outer(torch.arange(length).float(), 0.3 ** torch.arange(width // 2).float())
    return torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()


def works_in_the_form_of_4_34(function: Callable[..., Any]) -> bool:
    """Whether `(q, k, cos, sin, position_ids)` with tables picks the rows; native up to 4.37.2 only."""
    q, k = torch.randn(2, 1, 2, 3, 16)
    cos, sin = tables()
    position_ids = torch.tensor([[5, 0, 7]])
    found = function(q, k, cos, sin, position_ids)
    expected = q * cos[position_ids].unsqueeze(1) + rotate_half(q) * sin[position_ids].unsqueeze(1)
    return torch.allclose(found[0], expected, atol=1e-5)


def held(module: ModuleType, name: str) -> tuple[object, object]:
    """What is bound, and what a call of it runs: with ``kernels``, the adapter is on its class."""
    value = getattr(module, name)
    return value, vars(type(value)).get("__call__")


def is_adapted(module: ModuleType, name: str) -> bool:
    return f"{module.__name__}:{name}" in {adapted.target for adapted in rope_compat.status().adapted}


@pytest.fixture
def copy_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], ModuleType]]:
    """Imports a user's file that did ``from module import name``."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(module: str, name: str) -> ModuleType:
        made.append(f"user_of_{tmp_path.name}_{len(made)}".replace("-", "_"))
        text = f"from {module} import {name} as f\nclass Attention:\n    rotate = staticmethod(f)\n"
        (tmp_path / f"{made[-1]}.py").write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(made[-1])

    yield make
    for name in made:
        sys.modules.pop(name, None)


@on_each_pair
def test_import_patch_unpatch(module_name: str, name: str, copy_of: Any) -> None:
    module = load(module_name)
    native, before = getattr(module, name), held(module, name)
    early = copy_of(module_name, name)
    rope_compat.patch()
    between = copy_of(module_name, name)
    assert is_adapted(module, name)
    assert held(module, name) != before
    for user in (early, between):
        assert user.f is user.Attention.rotate is getattr(module, name)
    rope_compat.unpatch()
    late = copy_of(module_name, name)
    assert held(module, name) == before
    for user in (early, between, late):
        assert user.f is user.Attention.rotate is native


def test_copies_taken_at_any_time_take_every_form(copy_of: Any) -> None:
    early = copy_of(LLAMA, "apply_rotary_pos_emb")
    with rope_compat.patched():
        between = copy_of(LLAMA, "apply_rotary_pos_emb")
        functions = (early.f, early.Attention.rotate, between.f, between.Attention.rotate)
        assert [works_in_the_form_of_4_34(function) for function in functions] == [True] * 4


@on_each_pair
def test_twice_undone_in_either_order(module_name: str, name: str) -> None:
    module = load(module_name)
    before = held(module, name)
    for order in ((0, 1), (1, 0)):
        patches = [rope_compat.patch(), rope_compat.patch()]
        patches[order[0]].undo()
        assert is_adapted(module, name)
        patches[order[1]].undo()
        assert held(module, name) == before
        assert not rope_compat.status().active
        patches[0].undo()
        assert held(module, name) == before


@on_each_pair
def test_an_exception_inside_patched(module_name: str, name: str) -> None:
    module = load(module_name)
    before = held(module, name)

    def fail_inside() -> None:
        with rope_compat.patched():
            assert held(module, name) != before
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail_inside()
    assert held(module, name) == before
    assert not rope_compat.status().active


@on_each_pair
def test_nested_with_different_written_for(module_name: str, name: str, copy_of: Any) -> None:
    module = load(module_name)
    native, before = getattr(module, name), held(module, name)
    with rope_compat.patched(written_for="4.37"):
        outer = held(module, name)
        user = copy_of(module_name, name)
        with rope_compat.patched(written_for="5.0"):
            assert held(module, name) not in (outer, before)
            inner_user = copy_of(module_name, name)
            assert user.f is inner_user.f is getattr(module, name)
        assert held(module, name) == outer
        assert user.f is inner_user.f is getattr(module, name)
    assert held(module, name) == before
    assert user.f is inner_user.f is native


def test_a_failure_half_way_puts_everything_back(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(LLAMA)
    before, finders = held(module, "apply_rotary_pos_emb"), list(sys.meta_path)

    class Failing:
        name = "failing"
        packages = ("transformers",)

        def matches(self, module_name: str) -> bool:
            return module_name == LLAMA

        def propose(self, *_: object) -> list[Any]:
            raise LookupError("half-way")

    # Equal options have the same rules again, which are remembered.
    monkeypatch.setattr(api, "_rules", api._rules.__wrapped__)
    monkeypatch.setattr(rooms.remote_code, "rules", lambda *_: [Failing()])
    with pytest.raises(rope_compat.PatchError, match="LookupError: half-way"):
        rope_compat.patch()
    assert held(module, "apply_rotary_pos_emb") == before
    assert sys.meta_path == finders
    assert not rope_compat.status().active


@on_each_pair
def test_switched_off(module_name: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(module_name)
    before, finders = held(module, name), list(sys.meta_path)
    monkeypatch.setenv("ROPE_COMPAT", "off")
    with rope_compat.patched() as patch:
        assert not patch.active
        assert patch.journal == ()
        assert held(module, name) == before
        assert sys.meta_path == finders
    assert held(module, name) == before


def test_functions_are_pickled_by_name_with_and_without(copy_of: Any) -> None:
    module = load(LLAMA)
    plain = pickle.dumps(module.rotate_half)
    with rope_compat.patched():
        assert pickle.loads(plain) is module.rotate_half
        if not isinstance(module.apply_rotary_pos_emb, torch.nn.Module):
            data = pickle.dumps(module.apply_rotary_pos_emb)
            assert pickle.loads(data) is module.apply_rotary_pos_emb
            rope_compat.unpatch()
            assert pickle.loads(data) is module.apply_rotary_pos_emb


def test_threads_that_patch_and_copy_at_the_same_time(copy_of: Any) -> None:
    module = load(LLAMA)
    native, before = module.apply_rotary_pos_emb, held(module, "apply_rotary_pos_emb")
    users: list[ModuleType] = []
    failures: list[BaseException] = []

    def run(task: Callable[[], object]) -> None:
        try:
            for _ in range(3):
                task()
        except BaseException as error:
            failures.append(error)

    def patch_and_undo() -> None:
        with rope_compat.patched():
            assert is_adapted(module, "apply_rotary_pos_emb")

    def copy() -> None:
        users.append(copy_of(LLAMA, "apply_rotary_pos_emb"))

    threads = [threading.Thread(target=run, args=(task,)) for task in (patch_and_undo, patch_and_undo, copy)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert held(module, "apply_rotary_pos_emb") == before
    assert [user.f is user.Attention.rotate is native for user in users] == [True] * 3


# Users' own replacements, in the forms of three generations. Each is what a fork or a kernel library assigns.


def own_4_34(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = cos[position_ids].unsqueeze(1), sin[position_ids].unsqueeze(1)
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


def own_4_37(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, position_ids: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    cos, sin = cos[position_ids].unsqueeze(unsqueeze_dim), sin[position_ids].unsqueeze(unsqueeze_dim)
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


def own_5_0(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


OWN = [own_4_34, own_4_37, own_5_0]


@pytest.fixture(scope="module")
def tiny_llama() -> tuple[Any, Tensor, Tensor]:
    """A model, its input, and its logits without any patch."""
    from transformers.models.llama.configuration_llama import LlamaConfig

    torch.manual_seed(0)
    sizes = {"vocab_size": 32, "hidden_size": 32, "intermediate_size": 32, "max_position_embeddings": 16}
    config = LlamaConfig(num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, **sizes)
    model = load(LLAMA).LlamaForCausalLM(config).eval()
    tokens = torch.arange(14).reshape(2, 7)
    with torch.no_grad():
        return model, tokens, model(tokens).logits


@pytest.mark.parametrize("own", OWN, ids=lambda own: own.__name__)
def test_a_replacement_assigned_before_is_adapted_and_restored(
    own: Callable[..., Any], tiny_llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers' own model code calls the replacement, whichever generation it was written for."""
    module = load(LLAMA)
    model, tokens, expected = tiny_llama
    calls: list[Any] = []
    replacement = counting(own, calls)
    monkeypatch.setattr(module, "apply_rotary_pos_emb", replacement)
    with rope_compat.patched(), torch.no_grad():
        assert module.apply_rotary_pos_emb is not replacement
        assert torch.allclose(model(tokens).logits, expected, atol=1e-5)
        assert len(calls) == 1
        assert works_in_the_form_of_4_34(module.apply_rotary_pos_emb)
    assert module.apply_rotary_pos_emb is replacement


@pytest.mark.parametrize("own", OWN, ids=lambda own: own.__name__)
def test_a_replacement_assigned_afterwards_is_never_dropped(own: Callable[..., Any], tiny_llama: Any) -> None:
    module = load(LLAMA)
    native = module.apply_rotary_pos_emb
    model, tokens, expected = tiny_llama
    calls: list[Any] = []
    replacement = counting(own, calls)
    first = rope_compat.patch()
    try:
        module.apply_rotary_pos_emb = replacement
        second = rope_compat.patch()
        with torch.no_grad():
            assert torch.allclose(model(tokens).logits, expected, atol=1e-5)
        assert len(calls) == 1
        first.undo()
        assert module.apply_rotary_pos_emb is not replacement
        second.undo()
        assert module.apply_rotary_pos_emb is replacement

        rope_compat.patch()
        by_hand = counting(own, calls)
        module.apply_rotary_pos_emb = by_hand
        rope_compat.unpatch()
        assert module.apply_rotary_pos_emb is by_hand
    finally:
        rope_compat.unpatch()
        module.apply_rotary_pos_emb = native


@pytest.mark.parametrize("own", OWN, ids=lambda own: own.__name__)
def test_adapt_by_hand(own: Callable[..., Any], tiny_llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens, expected = tiny_llama
    adapted = rope_compat.adapt(own, f"{LLAMA}:apply_rotary_pos_emb")
    assert works_in_the_form_of_4_34(adapted)
    monkeypatch.setattr(load(LLAMA), "apply_rotary_pos_emb", adapted)
    with torch.no_grad():
        assert torch.allclose(model(tokens).logits, expected, atol=1e-5)


def counting(own: Callable[..., Any], calls: list[Any]) -> Callable[..., Any]:
    """A function with the parameters of `own`, that notes its calls."""
    if own is own_4_34:

        def first(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, position_ids: Tensor) -> Any:
            calls.append(position_ids)
            return own_4_34(q, k, cos, sin, position_ids)

        return first
    if own is own_4_37:

        def second(
            q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, position_ids: Tensor, unsqueeze_dim: int = 1
        ) -> Any:
            calls.append(position_ids)
            return own_4_37(q, k, cos, sin, position_ids, unsqueeze_dim)

        return second

    def third(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> Any:
        calls.append(unsqueeze_dim)
        return own_5_0(q, k, cos, sin, unsqueeze_dim)

    return third


@pytest.mark.parametrize("module_name", QWEN2_5_VL_MODULES)
def test_a_two_argument_flashatt_of_the_users_own(module_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Called with (q, k, cos, sin), as 4.49.0 to 4.52.4 and VLM-R1 do."""
    module = load(module_name)

    def own(tensor: Tensor, freqs: Tensor) -> Tensor:
        cos, sin = freqs.cos(), freqs.sin()
        cos, sin = (torch.cat((half, half), -1).unsqueeze(-2) for half in (cos, sin))
        return tensor * cos + rotate_half(tensor) * sin

    monkeypatch.setattr(module, "apply_rotary_pos_emb_flashatt", own, raising=False)
    q, k = torch.randn(2, 1, 5, 2, 16)
    freqs = torch.rand(5, 8)
    with rope_compat.patched(on_problem="ignore"):
        adapted = module.apply_rotary_pos_emb_flashatt
        assert torch.equal(adapted(q, freqs), own(q, freqs))
        angles = torch.cat((freqs, freqs), -1)
        found = adapted(q, k, angles.cos(), angles.sin())
        assert torch.allclose(found[0], own(q, freqs), atol=1e-5)
        assert torch.allclose(found[1], own(k, freqs), atol=1e-5)
    assert module.apply_rotary_pos_emb_flashatt is own
