"""Names beside RoPE on the installed release: given where they are gone, explained where they cannot be."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch
from packaging.version import Version
from support.installed import LLAMA, QWEN2_5_VL, RELEASE, has_module

import rope_compat
from rope_compat._adapters.removed_names.lookup import record_of
from rope_compat._cli.doctor_page import lost_names as removed_names_of
from rope_compat._cli.doctor_page import lost_names_section as removed_names_section
from rope_compat._facts.removed_names import TABLE, is_due
from rope_compat._report.page import Row
from rope_compat._rules.removed_names import loses_names
from rope_compat.catalog.store import catalog as store

HERE = Version(RELEASE)
MASKS = "transformers.modeling_attn_mask_utils"
FX = "transformers.utils.fx"
#: Modules of the table, other than models', that have lost something here.
DUE = sorted(
    {
        module
        for record in TABLE
        if record.gone and is_due(record.gone, RELEASE)
        for module in record.modules
        if has_module(module)
    }
)
#: Names of models' modules that their release has lost; a handful of modules stands for all.
MODELS = (
    "llama",
    "mistral",
    "qwen2",
    "qwen2_vl",
    "qwen2_5_vl",
    "gpt_neox",
    "phi3",
    "whisper",
    "bart",
    "bert",
    "clip",
)


def nowhere() -> set[str]:
    """Names that no module has here: their import is explained."""
    return {"check_model_inputs"} if is_due("5.2.0-5.3.0", RELEASE) else set()


def names_lost(model: str) -> list[tuple[str, str]]:
    module = f"transformers.models.{model}.modeling_{model}"
    if not has_module(module):
        return []
    place = store().order[RELEASE]
    ever = {name for first, _, names in store()._name_runs(module) if first < place for name in names}
    lost = ever - store().names_in(module, RELEASE) - nowhere()
    return [
        (module, name)
        for name in sorted(lost)
        if (found := record_of(module, name, RELEASE)) and found.restored
    ]


LOST = [model for model in MODELS if names_lost(model)]


def load(name: str) -> ModuleType:
    return importlib.import_module(name)


def imported(module: str, name: str) -> object:
    """What ``from module import name`` gives: the statement itself, compiled."""
    scope: dict[str, object] = {}
    exec(compile(f"from {module} import {name}", "<user>", "exec"), scope)
    return scope[name]


def error_of(module: str, name: str) -> ImportError:
    """What the import fails with."""
    with pytest.raises(ImportError) as caught:
        imported(module, name)
    return caught.value


@pytest.mark.parametrize("module", DUE)
def test_a_name_is_given_or_explained(module: str) -> None:
    place = load(module)
    records = [each for each in TABLE if module in each.modules and is_due(each.gone, RELEASE)]
    if "__getattr__" in vars(place):
        # 4.54 and 4.55 still give MambaCache that way, which the source does not list.
        records = [each for each in records if not hasattr(place, each.name)]
    native = {record.name: error_of(module, record.name) for record in records}
    assert not any(isinstance(error, rope_compat.RopeCompatError) for error in native.values())
    with rope_compat.patched(on_problem="ignore"):
        for record in records:
            if record.restored:
                assert imported(module, record.name) is getattr(place, record.name), record
                continue
            explained = error_of(module, record.name)
            assert isinstance(explained, rope_compat.RemovedNameError)
            assert str(native[record.name]).split(" (")[0] in str(explained)
            assert "it was removed in" in str(explained)
            assert str(explained).endswith(record.instead)
            assert not hasattr(place, record.name)
    assert not [record.name for record in records if hasattr(place, record.name)]


@pytest.mark.parametrize("model", LOST)
def test_a_name_of_a_model_is_given(model: str) -> None:
    lost = names_lost(model)
    place = load(lost[0][0])
    assert not [name for _, name in lost if hasattr(place, name)]
    with rope_compat.patched(on_problem="ignore"):
        for module, name in lost:
            value = imported(module, name)
            assert getattr(place, name) is value
            assert imported(module, name) is value
    assert not [name for _, name in lost if hasattr(place, name)]


def test_modules_that_have_lost_nothing_are_left_alone() -> None:
    load(LLAMA)
    with rope_compat.patched(on_problem="ignore") as patch:
        touched = [entry.place.partition(":")[0] for entry in patch.journal if entry.rule == "removed-names"]
        assert all(map(loses_names, touched))
        others = [each for each in touched if not each.startswith("transformers.models.")]
        assert {"transformers.utils.generic", "transformers.modeling_utils"} <= set(others)
        assert len(others) <= 70
        assert "__getattr__" not in vars(load("transformers.modeling_outputs"))


@pytest.mark.only(
    Version("4.45.0") <= HERE and has_module("transformers.generation.stopping_criteria"),
    reason="the class is gone from then on",
)
def test_a_name_that_the_table_does_not_have_is_explained() -> None:
    module, name = "transformers.generation.stopping_criteria", "MaxNewTokensCriteria"
    with rope_compat.patched(on_problem="ignore"):
        assert isinstance(error_of(module, name), rope_compat.RemovedNameError)


def test_what_the_release_has_is_left_alone() -> None:
    utils = load("transformers.utils")
    before = {name: utils.__dict__[name] for name in utils.__dict__ if not name.startswith("__")}
    with rope_compat.patched(on_problem="ignore"):
        assert all(utils.__dict__[name] is value for name, value in before.items())


@pytest.mark.parametrize("module", ["transformers", "transformers.utils", LLAMA])
def test_a_name_that_never_was_fails_as_always(module: str) -> None:
    with pytest.raises(ImportError) as native:
        imported(module, "never_was_there")
    with rope_compat.patched(on_problem="ignore"), pytest.raises(ImportError) as patched:
        imported(module, "never_was_there")
    assert type(patched.value) is ImportError
    assert str(patched.value) == str(native.value)


@pytest.mark.parametrize("module", ["transformers", "transformers.cache_utils", LLAMA])
def test_probes_say_what_they_said(module: str) -> None:
    place = load(module)
    names = ("SinkCache", "QuantizedCacheConfig", "_expand_mask", "never_was_there", "__never__")
    before = {name: hasattr(place, name) for name in names}
    with rope_compat.patched(on_problem="ignore"):
        assert {name: hasattr(place, name) for name in names} == before
        assert getattr(place, "never_was_there", 7) == 7
        with pytest.raises(AttributeError, match="never_was_there") as error:
            _ = place.never_was_there
        assert not isinstance(error.value, rope_compat.RopeCompatError)


@pytest.mark.only(Version("5.0.0") <= HERE, reason="the module is gone from 5.0.0 on")
def test_a_module_that_is_gone_is_explained() -> None:
    with rope_compat.patched(on_problem="ignore"):
        assert importlib.util.find_spec(FX) is None
        with pytest.raises(rope_compat.RemovedModuleError, match=r"it was removed in 5\.0\.0") as error:
            importlib.import_module(FX)
        assert isinstance(error.value, ModuleNotFoundError)
        assert error.value.name == FX
        with pytest.raises(ImportError, match=r"it was removed in 5\.0\.0"):
            imported(FX, "symbolic_trace")
    with pytest.raises(ModuleNotFoundError) as native:
        importlib.import_module(FX)
    assert not isinstance(native.value, rope_compat.RopeCompatError)


@pytest.mark.only(Version("5.0.0") > HERE, reason="the class came with 5.0.0")
def test_a_name_that_is_yet_to_come_is_explained() -> None:
    # A development build calls itself by its own version.
    told = rf"it was added in 5\.\d+\.\d+, and transformers {HERE}(\.dev\d+)? is installed"
    with rope_compat.patched(on_problem="ignore"), pytest.raises(ImportError, match=told):
        imported("transformers.utils.generic", "maybe_autocast")


@pytest.mark.only(Version("5.24.0") <= HERE, reason="the module is gone from 5.24.0 on")
def test_the_module_of_masks_is_there_and_gone_again() -> None:
    transformers = load("transformers")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(MASKS)
    with rope_compat.patched(on_problem="ignore"):
        module = importlib.import_module(MASKS)
        assert imported("transformers", "modeling_attn_mask_utils") is module
        assert importlib.util.find_spec(MASKS) is module.__spec__
        assert imported(MASKS, "AttentionMaskConverter") is module.AttentionMaskConverter
        assert not hasattr(module, "torch")
        assert "_prepare_4d_causal_attention_mask" in dir(module)
    assert MASKS not in sys.modules
    assert not hasattr(transformers, "modeling_attn_mask_utils")


@pytest.mark.only(Version("5.0.0") <= HERE, reason="the module is gone from 5.0.0 on")
def test_export_configurations_can_be_derived_and_not_made() -> None:
    with rope_compat.patched(on_problem="ignore"):
        module = importlib.import_module("transformers.onnx")

        class Mine(module.OnnxConfigWithPast):  # type: ignore[name-defined,misc]
            def __init__(self, config: object, specs: list[module.PatchingSpec] | None = None) -> None:
                super().__init__(config, patching_specs=specs)

        with pytest.raises(rope_compat.RopeCompatError, match="Mine cannot be made here"):
            Mine(None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("transformers.onnx")


def test_a_program_that_imports_before_and_after() -> None:
    """In a process of its own: patch first, import later; nothing heavy is imported by patch()."""
    code = (
        "import sys, rope_compat\n"
        "patch = rope_compat.patch(on_problem='ignore')\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "assert not any(m.startswith('rope_compat._facts.removed_names') for m in sys.modules)\n"
        "from transformers.utils import is_torch_fx_available\n"
        "from transformers.utils.import_utils import is_torch_fx_available as other\n"
        "assert is_torch_fx_available() and other()\n"
        "from transformers.modeling_attn_mask_utils import AttentionMaskConverter\n"
        "assert 'rope_compat.catalog.compare' not in sys.modules\n"
        "patch.undo()\n"
        "import transformers.utils as utils\n"
        "print(hasattr(utils, 'is_torch_fx_available'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(rope_compat.__file__).parents[1],
    )
    assert ast.literal_eval(done.stdout.split()[-1]) is (Version("5.0.0") > HERE)


def test_predicates_ask_torch() -> None:
    from rope_compat._adapters.removed_names import restored

    assert restored.is_torch_fx_available()
    assert restored.is_torch_compile_available() is hasattr(torch, "compile")
    assert restored.is_torch_greater_or_equal_than_1_13 is True
    assert restored.is_torch_less_than_1_11 is False
    assert restored.is_torch_tpu_available(check_device=False) is (
        importlib.util.find_spec("torch_xla") is not None
    )
    assert restored.is_safetensors_available()
    assert not restored.is_tf_available()


@pytest.mark.only(not importlib.util.find_spec("flash_attn"), reason="what is done without flash-attn")
def test_without_flash_attn_kernels_say_so_when_they_are_called() -> None:
    from rope_compat._adapters.removed_names import restored

    function = restored.find(QWEN2_5_VL, "flash_attn_varlen_func")
    with pytest.raises(ImportError, match="pip install flash-attn"):
        function(None)
    rows = torch.arange(12.0).view(6, 2).requires_grad_()
    indices = torch.tensor([0, 2, 5])
    packed = restored.find(LLAMA, "index_first_axis")(rows, indices)
    assert torch.equal(packed, rows[indices])
    padded = restored.find(LLAMA, "pad_input")(packed, indices, 2, 3)
    assert padded.shape == (2, 3, 2)
    assert torch.equal(padded.view(6, 2)[indices], packed)
    assert padded.detach().view(6, 2)[[1, 3, 4]].abs().max() == 0
    padded.sum().backward()
    assert torch.equal(rows.grad, torch.tensor([1.0, 0, 1, 0, 0, 1])[:, None].expand(6, 2))


def test_no_warning_is_issued_for_asking() -> None:
    module = load(LLAMA)
    with warnings.catch_warnings(), rope_compat.patched(on_problem="ignore"):
        warnings.simplefilter("error")
        for name in ("LlamaFlashAttention2", "LLAMA_ATTENTION_CLASSES", "LLAMA_START_DOCSTRING"):
            getattr(module, name)


def test_doctor_names_what_is_lost() -> None:
    lost = removed_names_of(RELEASE)
    restored = {name for names in lost["restored"].values() for name in names}
    explained = {name for names in lost["explained"].values() for name in names}
    assert ("is_torch_fx_available" in restored) is (Version("5.0.0") <= HERE)
    assert ("SinkCache" in explained) is (Version("5.0.0") <= HERE)
    lines = [row.text for row in removed_names_section(RELEASE).entries if isinstance(row, Row)]
    assert len(lines) == bool(restored) + bool(explained)
    assert all(f"{kind}: " in lines[0] for kind in lost["restored"])
    assert not removed_names_section(None).entries


@pytest.mark.only(has_module(QWEN2_5_VL), reason="Qwen2.5-VL came with 4.49.0")
def test_outputs_of_qwen2_5_vl_carry_rope_deltas() -> None:
    """VLM-R1's patch imports the class and returns it; models themselves do to 5.22.2."""
    with rope_compat.patched(on_problem="ignore"):
        from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLCausalLMOutputWithPast

        logits, deltas = torch.zeros(1, 2, 3), torch.ones(1, 1)
        found = Qwen2_5_VLCausalLMOutputWithPast(loss=None, logits=logits, rope_deltas=deltas)
    assert found.logits is logits
    assert found["rope_deltas"] is deltas
    assert found.to_tuple() == (logits, deltas)
    assert Qwen2_5_VLCausalLMOutputWithPast(logits=logits).rope_deltas is None


@pytest.mark.only(Version("4.45") <= Version(RELEASE), reason="Llama's configuration imports it from then on")
def test_the_validation_of_configs_where_configurations_imported_it() -> None:
    with rope_compat.patched(on_problem="error"):
        from transformers.modeling_rope_utils import rope_config_validation as there
        from transformers.models.llama.configuration_llama import rope_config_validation as here

        assert callable(here)
        assert here is there
