"""The table of init functions: native calls and modules are untouched, everything goes back."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import LLAMA, RELEASE, has_module, load
from support.rope_configs import IS_5X, TYPES, UTILS, assert_bits, expected, native_config, new_style
from torch import Tensor, nn

import rope_compat
from rope_compat._adapters.functions.base import Context
from rope_compat._adapters.functions.signature import live_signature
from rope_compat._adapters.init_functions.functions import adapt_init_function
from rope_compat._rules.init_functions import ADDED

#: Up to 4.53.3 a call with numbers is native.
TAKES_NUMBERS = Version("4.54.0") > Version(RELEASE)

pytestmark = pytest.mark.only(has_module(UTILS), "the module came with 4.43.0")

NATIVE = list(load(UTILS).ROPE_INIT_FUNCTIONS) if has_module(UTILS) else []


def test_native_calls_go_straight_through() -> None:
    table = load(UTILS).ROPE_INIT_FUNCTIONS
    native, configs = dict(table), {rope_type: native_config(rope_type) for rope_type in NATIVE}

    def results(functions: dict[str, Any]) -> list[Any]:
        return [
            result
            for rope_type, config in configs.items()
            for result in (
                functions[rope_type](config, None),
                functions[rope_type](config, "cpu", 3000),
                functions[rope_type](config=config, device=None, seq_len=2500),
            )
        ]

    wanted = results(native)
    with rope_compat.patched():
        adapted = dict(table)
        names = [getattr(load(UTILS), native[rope_type].__name__) for rope_type in NATIVE]
        given = results(adapted)
        counts = [each.foreign_calls for each in rope_compat.status().adapted]
    for result, untouched in zip(given, wanted, strict=True):
        assert_bits(result, untouched)
    assert not any(counts)
    assert names == [adapted[rope_type] for rope_type in NATIVE]
    assert all(adapted[rope_type] is not native[rope_type] for rope_type in NATIVE)


@pytest.mark.parametrize("rope_type", NATIVE)
def test_a_native_call_hands_on_the_very_arguments(rope_type: str) -> None:
    native = load(UTILS).ROPE_INIT_FUNCTIONS[rope_type]
    signature, calls = live_signature(native), []
    assert signature is not None

    def spy(*args: Any, **kwargs: Any) -> str:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        calls.append(bound.arguments)
        return "native"

    spy.__signature__ = signature  # type: ignore[attr-defined]
    adapter = adapt_init_function(spy, rope_type, Context(f"{UTILS}:{native.__name__}"))
    assert adapter is not None
    config, length = native_config(rope_type), torch.tensor(5)
    given: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((config, None), {}),
        ((config, "cpu", length), {}),
        ((config, "cpu"), {"seq_len": length}),
        ((), {"config": config, "device": None}),
    ]
    if IS_5X:
        given.append(((config, None), {"seq_len": length, "layer_type": "full_attention"}))
        given.append(((config, None, length, "full_attention"), {}))
    if TAKES_NUMBERS:
        given.append(((None, None), {"dim": 8, "base": 10000, "anything": 1}))
        given.append(((config, None), {"dim": 8}))
    for args, kwargs in given:
        assert adapter(*args, **kwargs) == "native"
    assert len(calls) == len(given)
    for arguments, (args, kwargs) in zip(calls, given, strict=True):
        wanted = signature.bind(*args, **kwargs)
        wanted.apply_defaults()
        assert arguments.keys() == wanted.arguments.keys()
        assert all(arguments[name] is wanted.arguments[name] or name == "rope_kwargs" for name in arguments)
        assert arguments.get("rope_kwargs") == wanted.arguments.get("rope_kwargs")


def test_every_type_is_in_the_table_and_nothing_stays() -> None:
    utils = load(UTILS)
    table, names = utils.ROPE_INIT_FUNCTIONS, set(vars(utils))
    before = dict(table)
    with rope_compat.patched():
        copied = utils.ROPE_INIT_FUNCTIONS
        assert copied is table
        assert set(TYPES) <= set(table)
        assert "default" in table
        assert table.get("default") is utils._compute_default_rope_parameters
        assert set(table) - set(before) - {"default"} <= ADDED
        table["mine"] = print
    assert table.pop("mine") is print
    assert table == before
    assert list(table) == list(before)
    assert set(vars(utils)) == names


def test_a_type_that_is_somebody_elses_stays_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    table = load(UTILS).ROPE_INIT_FUNCTIONS

    def mine(config: Any, device: Any, **kwargs: Any) -> Any:
        return "mine"

    for rope_type in ("default", "yarn", "own"):
        monkeypatch.setitem(table, rope_type, mine)
    with rope_compat.patched():
        assert [table[rope_type] for rope_type in ("default", "yarn", "own")] == [mine] * 3
        if IS_5X:
            # What modeling_utils looks up is what it would have found.
            assert load("transformers.modeling_utils").ROPE_INIT_FUNCTIONS["default"] is mine
        assert not hasattr(mine, "__rope_compat__")


@pytest.mark.only(IS_5X)
def test_default_comes_with_loading_or_not_at_all() -> None:
    utils = load(UTILS)
    with rope_compat.patched(load=False):
        assert "default" not in utils.ROPE_INIT_FUNCTIONS
        assert not hasattr(utils, "_compute_default_rope_parameters")
        assert "linear" in utils.ROPE_INIT_FUNCTIONS


def test_nested_patches_share_and_give_back() -> None:
    utils = load(UTILS)
    before = dict(utils.ROPE_INIT_FUNCTIONS)
    outer = rope_compat.patch()
    first = utils.ROPE_INIT_FUNCTIONS["linear"]
    inner = rope_compat.patch()
    assert utils.ROPE_INIT_FUNCTIONS["linear"] is first
    assert not [skipped for skipped in rope_compat.status().skipped if skipped[0].startswith(UTILS)]
    outer.undo()
    assert utils.ROPE_INIT_FUNCTIONS["linear"] is first
    assert "default" in utils.ROPE_INIT_FUNCTIONS
    inner.undo()
    assert before == utils.ROPE_INIT_FUNCTIONS


# --- transformers' own modules -----------------------------------------------------------------------------


def buffers(model: Any) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def assert_same_buffers(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_native_models_are_built_and_loaded_with_the_same_bits(tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    def build() -> list[Any]:
        return [LlamaForCausalLM(native_config(rope_type)) for rope_type in NATIVE]

    wanted = build()
    with rope_compat.patched():
        built = build()
        loaded = []
        for number, model in enumerate(built):
            model.save_pretrained(tmp_path / str(number))
            loaded.append(LlamaForCausalLM.from_pretrained(tmp_path / str(number)))
    for models in (built, loaded):
        for model, untouched in zip(models, wanted, strict=True):
            assert_same_buffers(buffers(model), buffers(untouched))


ADDED_HERE = sorted(ADDED - set(NATIVE))


@pytest.mark.only(bool(ADDED_HERE))
def test_types_that_are_added_are_computed_by_native_modules() -> None:
    """So that whoever asks which types the release computes may read them from the table."""
    rotary = load(LLAMA).LlamaRotaryEmbedding
    with rope_compat.patched():
        for rope_type in ADDED_HERE:
            assert torch.equal(rotary(config=native_config(rope_type)).inv_freq, expected(rope_type)[0])


@pytest.mark.only(IS_5X)
def test_a_native_module_computes_its_own_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not the restored one: from 5.17.0 on the table goes over the module's own function."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(native_config("default"))
    model.save_pretrained(tmp_path)
    calls = []
    own = load(LLAMA).LlamaRotaryEmbedding.compute_default_rope_parameters

    def counted(config: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(config)
        return own(config, *args, **kwargs)

    monkeypatch.setattr(
        load(LLAMA).LlamaRotaryEmbedding, "compute_default_rope_parameters", staticmethod(counted)
    )
    with rope_compat.patched():
        model._init_weights(model.model.rotary_emb)
        assert len(calls) == 1
        LlamaForCausalLM.from_pretrained(tmp_path)
    # Once by the constructor, once by _init_weights.
    assert len(calls) == 3


@pytest.mark.only(not IS_5X, "modules of 5.x keep no function")
def test_a_model_that_keeps_an_adapter_can_be_copied_and_pickled() -> None:
    from transformers import LlamaForCausalLM

    with rope_compat.patched():
        model = LlamaForCausalLM(native_config("linear"))
        text = pickle.dumps(model)
    # Whoever reads it, with rope_compat or without, finds the function under its name.
    again = pickle.loads(text)
    assert again.model.rotary_emb.rope_init_fn is load(UTILS)._compute_linear_scaling_rope_parameters
    assert_same_buffers(buffers(again), buffers(model))
    assert_same_buffers(buffers(copy.deepcopy(model)), buffers(model))
    # After undo pickle finds another function under that name. docs/troubleshooting says what to do.
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(model)
    for module in model.modules():
        if "rope_init_fn" in vars(module):
            module.rope_init_fn = load(UTILS).ROPE_INIT_FUNCTIONS[module.rope_type]
    pickle.dumps(model)


@pytest.mark.only(IS_5X)
def test_the_loader_sees_the_table_without_the_restored_default(monkeypatch: pytest.MonkeyPatch) -> None:
    modeling, table = load("transformers.modeling_utils"), load(UTILS).ROPE_INIT_FUNCTIONS
    before = dict(table)
    assert modeling.ROPE_INIT_FUNCTIONS is table
    with rope_compat.patched():
        seen = modeling.ROPE_INIT_FUNCTIONS
        assert set(seen) == {**seen}.keys() == (set(before) | ADDED)
        assert len(seen) == len(before.keys() | ADDED)
        assert "default" not in seen
        with pytest.raises(KeyError, match="default"):
            seen["default"]
        monkeypatch.setitem(table, "mine", print)
        assert {**seen}["mine"] is print
        seen["more"] = print
        assert table.pop("more") is print
        del seen["mine"]
        assert "mine" not in table
    assert modeling.ROPE_INIT_FUNCTIONS is table
    assert table == before


# --- rotary classes of custom code -------------------------------------------------------------------------


class CustomRotaryEmbedding(nn.Module):
    """As custom code for 4.43 to 4.57 writes it, but with numbers that no function of the library gives."""

    def __init__(self, config: Any, device: Any = None) -> None:
        super().__init__()
        self.config = config
        self.rope_type = "default"
        self.max_seq_len_cached = self.original_max_seq_len = config.max_position_embeddings
        self.rope_init_fn = load(UTILS).ROPE_INIT_FUNCTIONS[self.rope_type]
        inv_freq, self.attention_scaling = self.rope_init_fn(config, device)
        self.register_buffer("inv_freq", inv_freq * 3, persistent=False)
        self.original_inv_freq = self.inv_freq


def custom_model() -> type[Any]:
    from transformers import LlamaConfig, PreTrainedModel

    class CustomModel(PreTrainedModel):
        config_class = LlamaConfig

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.linear = nn.Linear(4, 4)
            self.rotary_emb = CustomRotaryEmbedding(config)
            self.post_init()

        def _init_weights(self, module: nn.Module) -> None:
            super()._init_weights(module)

    return CustomModel


def test_custom_modules_are_constructed_with_their_own_numbers() -> None:
    with rope_compat.patched():
        model = custom_model()(native_config("default"))
        assert torch.equal(model.rotary_emb.inv_freq, expected("default")[0] * 3)


@pytest.mark.only(IS_5X)
def test_without_loading_the_library_says_what_is_missing() -> None:
    """With load=False nothing would put back what loading takes: the error stays."""
    with rope_compat.patched(load=False), pytest.raises(KeyError, match="default"):
        custom_model()(native_config("default"))


def test_the_librarys_own_modules_are_decorated_by_its_own_decorator() -> None:
    utils = load(UTILS)
    native = vars(utils).get("dynamic_rope_update")

    def forward(self: Any, x: Any, position_ids: Any) -> Any:
        return position_ids

    forward.__module__ = LLAMA
    with rope_compat.patched():
        assert utils.dynamic_rope_update is not native
        decorated = utils.dynamic_rope_update(forward)
        assert decorated.__wrapped__ is forward
        if native is not None:
            assert decorated.__code__ is native(forward).__code__
        assert decorated(SimpleNamespace(rope_type="default"), None, 5) == 5
    assert vars(utils).get("dynamic_rope_update") is native


@pytest.mark.parametrize("rope_type", ["dynamic", "longrope"])
def test_a_decorated_module_outlives_the_patch(rope_type: str) -> None:
    """As code for 5.x writes it, on 4.x; and as code for 4.x does, on 5.x."""
    with rope_compat.patched():
        utils = load(UTILS)

        class Rotary(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.config, self.rope_type = new_style(rope_type), rope_type
                self.max_seq_len_cached = self.original_max_seq_len = self.config.max_position_embeddings
                function = utils.ROPE_INIT_FUNCTIONS[rope_type]
                if IS_5X:
                    self.rope_init_fn = function
                inv_freq, self.attention_scaling = function(self.config, None)
                self.register_buffer("inv_freq", inv_freq, persistent=False)
                self.original_inv_freq = self.inv_freq

            @utils.dynamic_rope_update
            def forward(self, x: Tensor, position_ids: Tensor) -> Any:
                return self.inv_freq.clone()

        module = Rotary()
    for length in (16, 3000, 16):
        given = module(torch.zeros(1), torch.arange(length)[None])
        assert torch.equal(given, expected(rope_type, torch.tensor(length))[0])
