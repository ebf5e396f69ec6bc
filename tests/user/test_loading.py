"""Models of custom code hold what their constructors computed, however they are loaded."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
import transformers
from packaging.version import Version
from support.custom import files_of
from support.installed import RELEASE
from support.poison import poisoned_memory
from support.unsaved import UnsavedConfig, UnsavedModel, constructed, save
from torch import Tensor, nn

import rope_compat

INPUT = torch.arange(12)[None]
HAS_META_LOADER = Version(RELEASE) >= Version("5.0.0")
LOSES_WEIGHTS = Version("5.0.0") <= Version(RELEASE) < Version("5.3.0")
on_5 = pytest.mark.only(HAS_META_LOADER, reason="from 5.0.0 on models are constructed on the meta device")
DTYPE = "dtype" if Version(RELEASE) >= Version("4.56.0") else "torch_dtype"


@pytest.fixture(autouse=True)
def _poison() -> Iterator[None]:
    with poisoned_memory():
        yield


@pytest.fixture
def expected() -> UnsavedModel:
    return constructed()


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """All tensors of a model: parameters, buffers, and those in plain attributes."""
    found = dict(model.named_parameters()) | dict(model.named_buffers())
    for path, module in model.named_modules():
        found |= {f"{path}.{n}": v for n, v in vars(module).items() if isinstance(v, Tensor)}
    return found


def differences(model: nn.Module, expected: nn.Module) -> list[str]:
    found, wanted = state_of(model), state_of(expected)
    return [
        name
        for name in sorted(found.keys() | wanted.keys())
        if name not in found
        or name not in wanted
        or (found[name].dtype, found[name].device) != (wanted[name].dtype, wanted[name].device)
        or not torch.equal(found[name], wanted[name])
    ]


def load(folder: Path, **kwargs: Any) -> UnsavedModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: UnsavedModel = UnsavedModel.from_pretrained(folder, **kwargs)
    return model


@on_5
def test_without_patch_the_buffers_are_lost(expected: UnsavedModel, tmp_path: Path) -> None:
    """What this is all about: if it passes no longer, transformers has mended it."""
    model = load(save(expected, tmp_path / "model"))
    assert {"rotary_emb.inv_freq", "rotary_emb.cos_cached", "table", "mask"} <= set(
        differences(model, expected)
    )


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "auto-map": {"device_map": "auto"},
    "cpu-map": {"device_map": "cpu"},
    "low-memory": {"low_cpu_mem_usage": True},
    "dtype": {DTYPE: torch.bfloat16},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shards", [1, 2])
def test_from_pretrained(variant: str, shards: int, tmp_path: Path) -> None:
    arguments = VARIANTS[variant]
    expected = constructed(arguments.get(DTYPE, torch.float32), reads=True)
    folder = save(expected, tmp_path / "model", shards=shards)
    before = files_of(folder)
    rope_compat.patch(on_problem="ignore")
    torch.manual_seed(3)
    model = load(folder, **arguments)
    assert differences(model, expected) == []
    assert model.rotary_emb.original_inv_freq is model.rotary_emb.inv_freq
    assert model.slopes == expected.slopes
    with torch.no_grad():
        assert torch.equal(model(INPUT), expected(INPUT))
    assert files_of(folder) == before


def test_saved_buffers_that_the_checkpoint_lacks(expected: UnsavedModel, tmp_path: Path) -> None:
    folder = save(expected, tmp_path / "model", leave_out=("offset",))
    rope_compat.patch(on_problem="ignore")
    assert differences(load(folder), expected) == []


def test_parameters_that_the_checkpoint_lacks_are_initialised(expected: UnsavedModel, tmp_path: Path) -> None:
    folder = save(expected, tmp_path / "model", leave_out=("linear.weight",))
    rope_compat.patch(on_problem="ignore")
    model = load(folder)
    assert differences(model, expected) == ["linear.weight"]
    assert model.linear.weight.isfinite().all()
    assert 0.5 < float(model.linear.weight.detach().std()) < 2.0


def test_from_config_and_the_constructor(expected: UnsavedModel) -> None:
    rope_compat.patch(on_problem="ignore")
    for model in (UnsavedModel(UnsavedConfig()), UnsavedModel._from_config(UnsavedConfig())):
        wrong = differences(model, expected)
        assert set(wrong) <= {"embed.weight", "linear.weight", "linear.bias", "scale"}
        assert model.embed.weight.isfinite().all()


def test_a_native_class_with_a_module_of_somebody_else(tmp_path: Path) -> None:
    from support.models import ALL
    from transformers.models.llama import modeling_llama

    class Rotary(nn.Module):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__()
            self.register_buffer("inv_freq", 0.5 ** torch.arange(4.0), persistent=False)

    native = modeling_llama.LlamaRotaryEmbedding
    modeling_llama.LlamaRotaryEmbedding = Rotary
    try:
        model = ALL["llama"]()
        save(model, tmp_path / "model")
        rope_compat.patch(on_problem="ignore")
        loaded = type(model).from_pretrained(tmp_path / "model")
    finally:
        modeling_llama.LlamaRotaryEmbedding = native
    found = [module.inv_freq for module in loaded.modules() if isinstance(module, Rotary)]
    assert found
    assert all(torch.equal(inv_freq, 0.5 ** torch.arange(4.0)) for inv_freq in found)


def test_accelerate_with_buffers_on_meta(expected: UnsavedModel, tmp_path: Path) -> None:
    folder = save(expected, tmp_path / "model")
    rope_compat.patch(on_problem="ignore")
    with accelerate.init_empty_weights(include_buffers=True):
        model = UnsavedModel(UnsavedConfig())
    assert model.rotary_emb.inv_freq.is_meta
    loaded = accelerate.load_checkpoint_and_dispatch(model, str(folder), device_map={"": "cpu"})
    assert differences(loaded, expected) == []


def test_what_was_put_back_is_reported_by_name(
    expected: UnsavedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rope_compat.patch(on_problem="ignore")
    with caplog.at_level(logging.INFO, logger="rope_compat"):
        load(save(expected, tmp_path / "model"))
    if not HAS_META_LOADER:
        assert not caplog.records
        return
    assert "rotary_emb.inv_freq" in caplog.text
    model, buffers = rope_compat.status().loaded[-1]
    assert model == "UnsavedModel"
    assert {"rotary_emb.inv_freq", "rotary_emb.cos_cached", "table", "mask"} == set(buffers)
    assert "Buffers put back after loading" in str(rope_compat.status())


@on_5
def test_load_false_and_undo_leave_the_loader_alone(expected: UnsavedModel, tmp_path: Path) -> None:
    folder = save(expected, tmp_path / "model")
    before = dict(vars(transformers.PreTrainedModel))
    with rope_compat.patched(load=False, on_problem="ignore"):
        assert "rotary_emb.inv_freq" in differences(load(folder), expected)
    with rope_compat.patched(on_problem="ignore"):
        assert dict(vars(transformers.PreTrainedModel)) != before
    assert dict(vars(transformers.PreTrainedModel)) == before
    assert "rotary_emb.inv_freq" in differences(load(folder), expected)


@pytest.mark.only(LOSES_WEIGHTS, reason="5.0.0 to 5.2.0 lose weights")
def test_releases_that_lose_weights_are_refused_or_warned_of(expected: UnsavedModel, tmp_path: Path) -> None:
    folder = save(expected, tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rope_compat.patch(on_problem="error")
    with pytest.raises(rope_compat.IncompatibleVersionError, match=r"UnsavedModel may hold random"):
        UnsavedModel.from_pretrained(folder)
    rope_compat.unpatch()
    rope_compat.patch()
    with pytest.warns(rope_compat.IncompatibleVersionWarning, match=r"UnsavedModel may hold random"):
        model = UnsavedModel.from_pretrained(folder)
    assert differences(model, expected) == []


def test_impossible_values_that_the_constructor_does_not_give_are_an_error(
    expected: UnsavedModel, tmp_path: Path
) -> None:
    folder = save(expected, tmp_path / "model")
    rope_compat.patch(on_problem="ignore")
    model = load(folder)
    model.rotary_emb.inv_freq = None
    model.rotary_emb.register_buffer("inv_freq_2", torch.full((2,), 1e22), persistent=False)
    with pytest.raises(rope_compat.RopeBufferError, match=r"inv_freq_2.*as large as 1e\+22"):
        rope_compat.repair(model)


def test_repair(expected: UnsavedModel) -> None:
    model = copy.deepcopy(expected)
    model.rotary_emb.inv_freq = torch.full_like(model.rotary_emb.inv_freq, 1e22)
    model.table = torch.full_like(model.table, 7.0)
    report = rope_compat.repair(model)
    assert [item.name for item in report.repaired] == ["table", "rotary_emb.inv_freq"]
    assert report.ok
    assert "as large as 1e+22" in str(report)
    assert not differences(model, expected)
    assert rope_compat.repair(model).repaired == ()


@on_5
def test_repair_after_loading_without_patch(expected: UnsavedModel, tmp_path: Path) -> None:
    model = load(save(expected, tmp_path / "model"))
    wrapped = nn.Sequential(model)
    report = rope_compat.repair(wrapped)
    assert {"0.rotary_emb.inv_freq", "0.rotary_emb.freqs_cis"} <= {item.name for item in report.repaired}
    weights = {"embed.weight", "linear.weight"} if Version(RELEASE) < Version("5.16.0") else set()
    assert set(differences(model, expected)) <= weights


def test_repair_leaves_alone_what_has_moved_on(expected: UnsavedModel) -> None:
    model = copy.deepcopy(expected)
    model.rotary_emb.grow(64)
    assert {item.status for item in rope_compat.repair(model)} == {"ok", "skipped"}
    assert model.rotary_emb.cos_cached.shape[0] == 64
    model.rotary_emb.inv_freq = torch.rand(8)
    model.rotary_emb.grow(128)
    assert len(rope_compat.repair(model).repaired) == 2
    assert not differences(model, expected)
    assert model.rotary_emb.max_seq_len_cached == 32


def test_repair_of_a_native_model_changes_nothing() -> None:
    from support.models import ALL

    model = ALL["llama"]()
    before = {name: value.clone() for name, value in model.named_buffers()}
    report = rope_compat.repair(model)
    assert report.repaired == ()
    assert any(item.status == "ok" for item in report)
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_repair_says_what_it_takes() -> None:
    with pytest.raises(rope_compat.ArgumentError, match="not Linear"):
        rope_compat.repair(nn.Linear(2, 2))
    with pytest.raises(rope_compat.ArgumentError, match="not str"):
        rope_compat.repair("model")  # type: ignore[arg-type]


def test_repair_needs_a_constructor_that_takes_the_config(expected: UnsavedModel) -> None:
    class Demanding(UnsavedModel):
        def __init__(self, config: UnsavedConfig, more: int) -> None:
            super().__init__(config)

    model = Demanding(UnsavedConfig(), 1)
    (item,) = rope_compat.repair(model)
    assert item.status == "skipped"
    assert "more" in item.reason
    model.rotary_emb.inv_freq = torch.full((8,), float("nan"))
    with pytest.raises(rope_compat.RopeBufferError, match=r"rotary_emb.inv_freq: .*not finite.*more"):
        rope_compat.repair(model)
