"""Rotary classes in every form that they have had, against recorded numbers and against the formula."""

from __future__ import annotations

import copy
import importlib
import inspect
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.class_cases import BASE, CASES, DIM, LENGTH, SHORT, phi3_config, x
from support.installed import LLAMA, RELEASE, has_module
from torch import Tensor

import rope_compat
from rope_compat.errors import CallFormError, RopeConfigError

HERE = Version(RELEASE)
RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "goldens" / "classes.json").read_text())


@pytest.fixture(autouse=True)
def patch() -> Iterator[rope_compat.Patch]:
    with rope_compat.patched(on_problem="ignore") as applied:
        yield applied


def llama() -> Any:
    return importlib.import_module(LLAMA).LlamaRotaryEmbedding


def llama_config(**fields: Any) -> Any:
    from transformers import LlamaConfig

    usual: dict[str, Any] = {
        "hidden_size": 2 * DIM,
        "num_attention_heads": 2,
        "max_position_embeddings": LENGTH,
        "rope_theta": BASE,
    }
    return LlamaConfig(**{**usual, **fields})


def reference(length: int) -> tuple[Tensor, Tensor]:
    inv_freq = 1.0 / BASE ** (torch.arange(0, DIM, 2, dtype=torch.float64) / DIM)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), inv_freq).repeat(1, 2)
    return angles.cos(), angles.sin()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if has_module(case.module)])
def test_as_in_the_release_that_had_it(name: str) -> None:
    found = CASES[name].run()
    for tensor, recorded in zip(found, RECORDED[name], strict=True):
        torch.testing.assert_close(tensor, torch.tensor(recorded), atol=3e-7, rtol=0.0)


def test_llama_both_ways_and_the_formula() -> None:
    legacy = llama()(DIM, max_position_embeddings=LENGTH, base=BASE)
    modern = llama()(llama_config())
    positions = torch.arange(SHORT)[None]
    cos, sin = legacy(x(), seq_len=SHORT)
    assert cos.shape == (SHORT, DIM)
    for ours, exact in zip((cos, sin), reference(SHORT), strict=True):
        torch.testing.assert_close(ours.double(), exact, atol=2e-6, rtol=0.0)
    for module in (legacy, modern):
        for tables in (module(x(), SHORT), module(x()), module(x(), seq_len=SHORT)):
            assert torch.equal(tables[0], cos)
            assert torch.equal(tables[1], sin)
        for rows in (
            module(x(), positions),
            module(x(), position_ids=positions),
            module(x(), positions, SHORT),
            module(x(), positions, seq_len=SHORT),
            module(x(), positions, seq_len=None),
            module(x(), position_ids=positions, seq_len=SHORT),
        ):
            assert torch.equal(rows[0], cos[None])
            assert torch.equal(rows[1], sin[None])
        torch.testing.assert_close(module.cos_cached, module(x(), seq_len=LENGTH)[0], atol=0.0, rtol=0.0)
        assert (module.max_seq_len_cached, module.dim, module.base) == (LENGTH, DIM, BASE)
        assert module.rope_type == "default"
        assert torch.equal(module.original_inv_freq, module.inv_freq)
        assert "cos_cached" not in module.state_dict()


def test_rows_for_any_positions_are_rows_of_the_tables() -> None:
    module = llama()(DIM, LENGTH, BASE)
    positions = torch.tensor([[5, 0, 63], [70, 2, 2]])
    cos, sin = module(x(), seq_len=71)
    found = module(x(), positions)
    assert torch.equal(found[0], cos[positions])
    assert torch.equal(found[1], sin[positions])


def test_positions_that_are_floats() -> None:
    """SelfExtend divides them; a table has whole rows only, and says so."""
    module = llama()(DIM, LENGTH, BASE)
    whole = torch.tensor([[0.0, 7.0, 3.0]])
    for one, other in zip(module(x(), whole, seq_len=None), module(x(), whole.long()), strict=True):
        assert torch.equal(one, other)
    if "position_ids" in inspect.signature(type(module).forward).parameters:
        assert module(x(), whole + 0.5)[0].shape == (1, 3, DIM)
    else:
        with pytest.raises(rope_compat.CallFormError, match="between two positions"):
            module(x(), whole + 0.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_is_that_of_x(dtype: torch.dtype) -> None:
    module = llama()(llama_config())
    for found in (module(x().to(dtype), seq_len=3), module(x().to(dtype), torch.arange(3)[None])):
        assert {tensor.dtype for tensor in found} == {dtype}


def test_configs_by_position_by_name_and_with_a_device() -> None:
    first = llama()(llama_config())
    for other in (
        llama()(config=llama_config()),
        llama()(llama_config(), "cpu"),
        llama()(llama_config(), device=torch.device("cpu")),
        llama()(config=llama_config(), device="cpu"),
        llama()(DIM, LENGTH, BASE, "cpu"),
        llama()(dim=DIM, base=BASE, device=None),
        llama()(dim=DIM, max_position_embeddings=LENGTH, base=BASE, config=llama_config()),
    ):
        assert torch.equal(other.inv_freq, first.inv_freq)


@pytest.mark.parametrize("rope_type", ["linear", "dynamic"])
def test_a_scaled_config_is_the_scaled_class(rope_type: str) -> None:
    scaling = {"type": rope_type, "factor": 4.0}
    if Version("4.43") <= HERE:
        scaling["rope_type"] = scaling.pop("type")
    module = llama()(llama_config(rope_scaling=scaling))
    name = {"linear": "LlamaLinearScalingRotaryEmbedding", "dynamic": "LlamaDynamicNTKScalingRotaryEmbedding"}
    scaled = getattr(importlib.import_module(LLAMA), name[rope_type])(DIM, LENGTH, BASE, scaling_factor=4.0)
    for length in (SHORT, 100):
        positions = torch.arange(length)[None]
        torch.testing.assert_close(module(x(), positions), scaled(x(), positions), atol=3e-7, rtol=0.0)
        torch.testing.assert_close(
            module(x(), seq_len=length)[0], module(x(), positions)[0][0], atol=3e-7, rtol=0.0
        )


@pytest.mark.parametrize("name", ["LinearScaling", "DynamicNTKScaling"])
def test_a_scaled_class_is_a_base_class_and_a_subclass(name: str) -> None:
    base = getattr(importlib.import_module(LLAMA), f"Llama{name}RotaryEmbedding")
    assert issubclass(base, llama())
    assert (base.__module__, base.__name__) == (LLAMA, f"Llama{name}RotaryEmbedding")

    class Mine(base):  # type: ignore[misc]
        def __init__(self, dim: int, factor: float) -> None:
            super().__init__(dim, LENGTH, BASE, scaling_factor=factor)

    assert torch.equal(
        Mine(DIM, 4.0)(x(), seq_len=9)[0], base(DIM, LENGTH, BASE, None, 4.0)(x(), seq_len=9)[0]
    )


class Tables:
    """What a long-context patch of 4.36 does: its own tables in `_set_cos_sin_cache`."""

    def _set_cos_sin_cache(self, seq_len: int, device: Any, dtype: torch.dtype) -> None:
        self.max_seq_len_cached = seq_len
        steps = torch.arange(seq_len, device=device, dtype=torch.float32) / 8
        angles = torch.outer(steps, self.inv_freq)  # type: ignore[attr-defined]
        emb = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos_cached", emb.cos().to(dtype), persistent=False)  # type: ignore[attr-defined]
        self.register_buffer("sin_cached", emb.sin().to(dtype), persistent=False)  # type: ignore[attr-defined]


def test_a_subclass_that_fills_tables_keeps_its_numbers() -> None:
    class Mine(Tables, llama()):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(DIM, LENGTH, BASE)

    module = Mine()
    plain = llama()(DIM, LENGTH, BASE)
    for length in (SHORT, 90):
        cos = module(x(), seq_len=length)[0]
        want = torch.outer(torch.arange(length) / 8, plain.inv_freq).repeat(1, 2).cos()
        torch.testing.assert_close(cos, want, atol=3e-7, rtol=0.0)
        positions = torch.arange(length)[None]
        assert torch.equal(module(x(), positions)[0][0], cos)
    assert torch.equal(module.cos_cached, cos)


def test_a_subclass_may_register_what_the_class_has_as_an_attribute() -> None:
    class Mine(llama()):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(DIM, LENGTH, BASE)
            self.register_buffer("cos_cached", torch.ones(3, DIM), persistent=True)
            self.dim = -1
            self.rope_kwargs = {"a": 1}

    module = Mine()
    assert torch.equal(module.cos_cached, torch.ones(3, DIM))
    assert (module.dim, module.rope_kwargs) == (-1, {"a": 1})
    assert "cos_cached" in module.state_dict()
    assert torch.equal(module.to(torch.float64).cos_cached, torch.ones(3, DIM, dtype=torch.float64))


def test_copies_and_pickles_compute_the_same() -> None:
    module = llama()(DIM, LENGTH, BASE)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    for other in (
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(buffer, weights_only=False),
    ):
        assert type(other) is llama()
        assert torch.equal(other(x(), seq_len=9)[0], module(x(), seq_len=9)[0])
        assert torch.equal(other.cos_cached, module.cos_cached)


@pytest.mark.only(Version("4.42") <= HERE, reason="to 4.41.2 the tables are native, and filled once")
def test_tables_follow_the_frequencies() -> None:
    module = llama()(DIM, LENGTH, BASE)
    assert module.cos_cached.device.type == "cpu"
    assert module(x().double(), seq_len=4)[0].dtype == torch.float64
    module.inv_freq.mul_(2)
    assert torch.equal(module.cos_cached, module(x(), seq_len=LENGTH)[0])


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((x(), 3, 4), {}),
        ((x(), 3, torch.arange(3)[None], 4), {}),
        ((), {"seq_len": 3}),
        ((torch.tensor(1.0),), {}),
    ],
)
def test_other_calls_are_refused(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(CallFormError, match=r"forward of .*modeling_llama was called as"):
        llama()(DIM, LENGTH, BASE)(*args, **kwargs)


def test_other_constructors_are_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'heads'"):
        llama()(DIM, heads=2)
    with pytest.raises(TypeError, match=r"positional arguments|takes"):
        llama()(DIM, LENGTH, BASE, None, 1.0, "default", None, 8, 9)


@pytest.mark.only(
    Version("4.38.2") > HERE or Version("4.48") <= HERE, reason="between, scaling_factor is an argument"
)
def test_a_factor_alone_needs_to_be_explained() -> None:
    with pytest.raises(CallFormError, match=r"scaling_factor=2\.0 without rope_type"):
        llama()(DIM, LENGTH, BASE, scaling_factor=2.0)
    with rope_compat.patched(written_for="4.40", on_problem="ignore"):
        linear = llama()(DIM, LENGTH, BASE, scaling_factor=2.0)
    with rope_compat.patched(written_for="4.44", on_problem="ignore"):
        plain = llama()(DIM, LENGTH, BASE, scaling_factor=2.0)
    explicit = llama()(DIM, LENGTH, BASE, scaling_factor=2.0, rope_type="linear")
    positions = torch.arange(9)[None]
    assert torch.equal(linear(x(), positions)[0], explicit(x(), positions)[0])
    assert torch.equal(plain(x(), positions)[0], llama()(DIM, LENGTH, BASE)(x(), positions)[0])
    assert not torch.equal(plain(x(), positions)[0], linear(x(), positions)[0])


def test_code_of_4_34_gets_its_tables() -> None:
    with rope_compat.patched(written_for="4.34", on_problem="ignore"):
        module = llama()(DIM, LENGTH, BASE)
        assert module(x(), seq_len=5)[0].shape == (1, 1, 5, DIM)
        assert module(x(), torch.arange(5)[None])[0].shape == (1, 5, DIM)


def test_undo_in_any_order_gives_the_class_back(patch: rope_compat.Patch) -> None:
    cls = llama()
    patch.undo()
    before = dict(vars(cls))
    first = rope_compat.patch(on_problem="ignore")
    second = rope_compat.patch(on_problem="ignore", written_for="4.40")
    assert llama() is cls
    assert vars(cls)["forward"] is not before["forward"]
    first.undo()
    assert cls(DIM, LENGTH, BASE)(x(), seq_len=3)[0].shape == (3, DIM)
    assert cls(llama_config()).dim == DIM
    second.undo()
    after = {name: value for name, value in vars(cls).items() if name not in ("__weakref__", "__dict__")}
    for name, value in after.items():
        assert value is before[name], name
    assert before.keys() - {"__weakref__", "__dict__"} == after.keys()


def test_other_classes_are_counted(patch: rope_compat.Patch) -> None:
    module = llama()(llama_config())
    module(x(), torch.arange(SHORT)[None])
    module(x())
    counted = {item.target: item.foreign_calls for item in rope_compat.status().adapted}
    assert sum(counted[f"{LLAMA}:LlamaRotaryEmbedding.forward"].values()) >= 1


PHI3 = "transformers.models.phi3.modeling_phi3"


@pytest.mark.only(has_module(PHI3), reason="Phi-3 came with 4.41.0")
def test_phi3_keeps_its_lengths_apart() -> None:
    """Short after long: each length has its own factors."""
    cls = importlib.import_module(PHI3).Phi3SuScaledRotaryEmbedding
    module, other = cls(DIM, phi3_config()), cls(DIM, phi3_config())
    short = other(x(), torch.arange(SHORT)[None])
    module(x(), torch.arange(100)[None])
    assert torch.equal(module(x(), torch.arange(SHORT)[None])[0], short[0])
    assert not torch.equal(module(x(), torch.arange(100)[None])[0][:, :SHORT], short[0])
    assert torch.equal(copy.deepcopy(module)(x(), torch.arange(SHORT)[None])[0], short[0])


@pytest.mark.only(Version("4.48") <= HERE, reason="the class is transformers' own to 4.47.1")
def test_phi3_says_what_its_config_lacks() -> None:
    cls = importlib.import_module(PHI3).Phi3LongRoPEScaledRotaryEmbedding
    with pytest.raises(
        RopeConfigError, match="needs rope_theta, original_max_position_embeddings, short_factor"
    ):
        cls(DIM, llama_config())


@pytest.mark.only(Version("5.0.0") <= HERE, reason="5.0.0 has one rotary module for layers of two types")
def test_a_module_for_one_type_of_layers_needs_not_be_told_which() -> None:
    from transformers import Gemma3TextConfig
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RotaryEmbedding

    sizes = {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    config = Gemma3TextConfig(num_hidden_layers=2, intermediate_size=32, vocab_size=50, **sizes)
    rotary, hidden, positions = Gemma3RotaryEmbedding(config), torch.ones(1, 5, 32), torch.arange(5)[None]
    kinds = list(rotary.layer_types)
    assert len(set(kinds)) == 1
    found, expected = rotary(hidden, positions), rotary(hidden, positions, kinds[0])
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
