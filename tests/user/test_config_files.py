"""Configurations on 4.x: files that 5.x has saved, and code that was written for 5.x."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from packaging.version import Version
from support.installed import RELEASE, has_module, load
from support.lanes import GENERATION
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM, PretrainedConfig

import rope_compat
from rope_compat import catalog
from rope_compat.configs import RopeSpec
from rope_compat.errors import RopeConfigError

HERE = Version(RELEASE)
IS_4 = HERE.major < 5
pytestmark = pytest.mark.only(IS_4)

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 128,
    "max_position_embeddings": 256,
}
DEFAULT = {"rope_type": "default", "rope_theta": 77777.0}
LINEAR = {"rope_type": "linear", "factor": 4, "rope_theta": 77777.0}
FULL, SLIDING = "full_attention", "sliding_attention"


@pytest.fixture
def patched() -> Iterator[rope_compat.Patch]:
    with rope_compat.patched() as patch:
        yield patch


def from_file(folder: Path, **fields: Any) -> Any:
    """A configuration from a config.json with these fields, by way of `AutoConfig`."""
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **SIZES, **fields}))
    return AutoConfig.from_pretrained(folder)


def logits(config: Any) -> torch.Tensor:
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        found: torch.Tensor = model(torch.arange(64)[None] % 128).logits
    return found


class Five(PretrainedConfig):  # type: ignore[misc]
    """Written for 5.x: it knows `rope_parameters` alone."""

    model_type = "five"

    def __init__(self, rope_parameters: Any = None, **kwargs: Any) -> None:
        for name, value in LlamaConfig(**SIZES).to_dict().items():
            if not name.startswith(("rope", "_", "transformers", "model_type", "torch_dtype", "dtype")):
                setattr(self, name, value)
        self.rope_parameters = rope_parameters
        super().__init__(tie_word_embeddings=False, **kwargs)


class Four(PretrainedConfig):  # type: ignore[misc]
    """Written for 4.x, with a check of its own as InternLM2's."""

    model_type = "four"

    def __init__(self, rope_theta: float = 10000.0, rope_scaling: Any = None, **kwargs: Any) -> None:
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        self._rope_scaling_validation()
        super().__init__(**kwargs)

    def _rope_scaling_validation(self) -> None:
        scaling = self.rope_scaling
        if scaling is None:
            return
        if len(scaling) != 2 or scaling.get("type") not in ("linear", "dynamic") or "factor" not in scaling:
            raise ValueError(f"two fields, not {scaling}")


class Both(PretrainedConfig):  # type: ignore[misc]
    """Takes either style; the older field is set last, whatever the newer one says."""

    model_type = "both"

    def __init__(self, rope_parameters: Any = None, rope_theta: float = 10000.0, **kwargs: Any) -> None:
        self.rope_parameters = rope_parameters
        self.rope_theta = rope_theta
        super().__init__(**kwargs)


# Files that 5.x has saved, read by transformers' own classes.


def test_a_file_of_5_has_its_theta(patched: rope_compat.Patch, tmp_path: Path) -> None:
    config = from_file(tmp_path, rope_parameters=DEFAULT)
    assert (config.rope_theta, config.rope_scaling) == (77777.0, None)
    assert config.rope_parameters == DEFAULT


def test_and_its_scaling_as_the_release_spells_it(patched: rope_compat.Patch, tmp_path: Path) -> None:
    config = from_file(tmp_path, rope_parameters=LINEAR)
    key = "rope_type" if has_module("transformers.modeling_rope_utils") else "type"
    assert config.rope_scaling == {key: "linear", "factor": 4.0}
    assert isinstance(config.rope_scaling["factor"], float)
    assert config.rope_parameters == LINEAR


def test_so_has_a_configuration_that_is_made_from_it(patched: rope_compat.Patch) -> None:
    config = LlamaConfig(**SIZES, rope_parameters=LINEAR)
    assert RopeSpec.of(config) == RopeSpec.of({**SIZES, "rope_parameters": LINEAR})
    assert config.rope_theta == 77777.0


@pytest.mark.parametrize("parameters", [DEFAULT, LINEAR], ids=["default", "linear"])
def test_the_model_computes_what_was_saved(
    parameters: dict[str, Any], patched: rope_compat.Patch, tmp_path: Path
) -> None:
    scaling = None if parameters is DEFAULT else {"type": "linear", "factor": 4.0}
    wanted = logits(LlamaConfig(**SIZES, rope_theta=77777.0, rope_scaling=scaling))
    assert torch.equal(logits(from_file(tmp_path, rope_parameters=parameters)), wanted)
    assert not torch.equal(logits(LlamaConfig(**SIZES)), wanted)


def test_it_is_saved_as_it_would_have_been(tmp_path: Path) -> None:
    def saved() -> dict[str, Any]:
        config = from_file(tmp_path, rope_parameters=LINEAR)
        config.save_pretrained(tmp_path)
        content: dict[str, Any] = json.loads((tmp_path / "config.json").read_text())
        return content

    stock = saved()
    with rope_compat.patched():
        ours = saved()
    assert stock["rope_parameters"] == ours["rope_parameters"] == LINEAR
    assert {k for k in {*stock, *ours} if stock.get(k) != ours.get(k)} == {"rope_theta", "rope_scaling"}


def test_the_dictionary_of_the_caller_is_left_alone(patched: rope_compat.Patch) -> None:
    given = {**SIZES, "rope_parameters": dict(LINEAR), "text_config": None}
    for config_class in (LlamaConfig, Four, Five):
        config = config_class.from_dict(given)
        config.rope_theta = 5.0
        assert given["rope_parameters"] == LINEAR
        assert not {"rope_theta", "rope_scaling"} & set(given)


def test_arguments_of_from_pretrained_come_after_the_file(patched: rope_compat.Patch, tmp_path: Path) -> None:
    from_file(tmp_path, rope_parameters=LINEAR)
    config = LlamaConfig.from_pretrained(tmp_path, rope_theta=5.0)
    assert config.rope_parameters["rope_theta"] == 5.0
    config = LlamaConfig.from_pretrained(tmp_path, rope_parameters={**DEFAULT, "rope_theta": 6.0})
    assert (config.rope_theta, config.rope_scaling) == (6.0, None)


def test_fields_that_contradict_each_other_are_refused(patched: rope_compat.Patch, tmp_path: Path) -> None:
    with pytest.raises(RopeConfigError, match=r"rope_parameters\['rope_theta'\]=77777.0 and rope_theta=5.0"):
        from_file(tmp_path, rope_parameters=DEFAULT, rope_theta=5.0)


def test_a_type_that_nothing_computes_is_refused_with_the_release(
    patched: rope_compat.Patch, tmp_path: Path
) -> None:
    for fields in (
        {"rope_parameters": {**DEFAULT, "rope_type": "axial"}},
        {"rope_scaling": {"rope_type": "axial", "factor": 2.0}},
    ):
        with pytest.raises(RopeConfigError, match="cannot compute rope_type='axial'") as caught:
            from_file(tmp_path, **fields)
        assert RELEASE in str(caught.value)
        assert "no known release" in str(caught.value)


@pytest.mark.only(not has_module("transformers.modeling_rope_utils"))
def test_the_first_release_that_computes_it_is_named(patched: rope_compat.Patch, tmp_path: Path) -> None:
    for fields in ({"rope_parameters": {**LINEAR, "rope_type": "yarn"}}, {"rope_scaling": {"type": "yarn"}}):
        with pytest.raises(RopeConfigError, match=r"rope_type='yarn'.*4\.43\.0 is the first release"):
            from_file(tmp_path, **fields)


def test_scaling_of_a_newer_4_is_read_by_an_older_one(patched: rope_compat.Patch, tmp_path: Path) -> None:
    # 4.57 saves both keys, and older checks want exactly two fields.
    config = from_file(tmp_path, rope_scaling={"type": "linear", "rope_type": "linear", "factor": 4.0})
    assert RopeSpec.of(config).parameters == {"factor": 4.0}


def _classes_with_theta() -> list[tuple[str, str]]:
    """Module and class of every configuration that has a theta to be set in the installed release."""
    fields = ("rope_theta", "rotary_emb_base", "global_rope_theta")
    found = set()
    for module, name in catalog.targets("transformers.models.*", kinds=["field"]):
        owner, _, field = name.rpartition(".")
        default = catalog.signature_at(module, name, RELEASE)
        if field in fields and default not in (None, "<property>", "<computed>"):
            found.add((module, owner))
    return sorted(found)


def test_every_class_takes_theta_and_is_otherwise_as_it_was() -> None:
    classes = [getattr(load(module), name) for module, name in _classes_with_theta() if has_module(module)]
    assert len(classes) >= 9
    stock = {cls: _made(cls) for cls in classes}
    with rope_compat.patched():
        for cls, before in stock.items():
            assert _made(cls) == before, cls
            if before is None or "attn_pdrop" in before:
                continue  # it cannot be made without arguments, or is part of dbrx, see below
            spec = RopeSpec.of(cls(rope_parameters=dict(DEFAULT)))
            layer = spec.for_layer(FULL if spec.layers else None)
            assert (layer.theta, layer.rope_type) == (77777.0, "default"), cls


def _made(cls: Any) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = cls().to_dict()
    except (TypeError, ValueError, AttributeError):
        return None
    return found


@pytest.mark.only(has_module("transformers.models.dbrx"))
def test_dbrx_keeps_theta_in_its_attention(patched: rope_compat.Patch) -> None:
    config = load("transformers.models.dbrx").DbrxConfig(rope_parameters=DEFAULT, attn_config={"clip_qkv": 3})
    assert (config.attn_config.rope_theta, config.attn_config.clip_qkv) == (77777.0, 3)


# Attributes.


def test_rope_parameters_can_be_read(patched: rope_compat.Patch) -> None:
    config = LlamaConfig(**SIZES, rope_theta=5.0)
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": 5.0}
    config.rope_scaling = {"type": "linear", "factor": 2.0}
    assert config.rope_parameters == {"rope_type": "linear", "rope_theta": 5.0, "factor": 2.0}
    assert "rope_parameters" not in vars(config)


def test_probes_of_attributes_answer_as_before(patched: rope_compat.Patch) -> None:
    from transformers import BertConfig, GPTJConfig

    names = ("rope_parameters", "rope_theta", "rope_scaling", "partial_rotary_factor", "rope_local_base_freq")
    assert not any(hasattr(BertConfig(), name) for name in names)
    assert not any(hasattr(GPTJConfig(), name) for name in names)
    config = LlamaConfig(**SIZES)
    assert [hasattr(config, name) for name in names] == [True, True, True, False, False]
    with pytest.raises(AttributeError, match="'LlamaConfig' object has no attribute 'partial_rotary_factor'"):
        _ = config.partial_rotary_factor
    with pytest.raises(AttributeError):
        del BertConfig().rope_theta


def test_instances_are_the_same_with_and_without(tmp_path: Path) -> None:
    before = LlamaConfig(**SIZES, rope_theta=5.0)
    text = before.to_json_string()
    with rope_compat.patched():
        config = LlamaConfig(**SIZES, rope_theta=5.0)
        assert vars(config) == vars(before)
        assert config == before
        assert before.rope_parameters["rope_theta"] == 5.0
        assert config.to_json_string() == text
        for again in (copy.deepcopy(config), pickle.loads(pickle.dumps(config)), copy.copy(config)):
            assert again == config
            assert again.rope_parameters["rope_theta"] == 5.0
        config.save_pretrained(tmp_path)
        assert (
            LlamaConfig.from_pretrained(tmp_path).to_json_string()
            == LlamaConfig(**json.loads((tmp_path / "config.json").read_text())).to_json_string()
        )
    assert not hasattr(before, "rope_parameters")
    assert before.rope_theta == config.rope_theta == 5.0


def test_what_is_written_is_kept_in_step(patched: rope_compat.Patch) -> None:
    config = LlamaConfig(**SIZES, rope_parameters=LINEAR)
    config.rope_theta = 5.0
    assert config.rope_parameters == {**LINEAR, "rope_theta": 5.0}
    config.rope_scaling = None
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": 5.0}
    config.rope_scaling = {"type": "dynamic", "factor": 2.0}
    assert config.rope_parameters == {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 5.0}
    config.rope_parameters = dict(LINEAR)
    assert RopeSpec.of(config) == RopeSpec.of({**SIZES, "rope_parameters": LINEAR})
    del config.rope_parameters
    assert "rope_parameters" not in vars(config)
    assert config.rope_parameters == LINEAR


def test_what_the_class_cannot_hold_is_refused_when_it_is_written(patched: rope_compat.Patch) -> None:
    config = LlamaConfig(**SIZES)
    before = dict(vars(config))
    with pytest.raises(RopeConfigError, match=r"sliding_attention: rope_theta=2\.0"):
        config.rope_parameters = {
            FULL: {"rope_type": "default", "rope_theta": 1.0},
            SLIDING: {"rope_type": "default", "rope_theta": 2.0},
        }
    assert vars(config) == before


@pytest.mark.only(has_module("transformers.models.gemma3"))
def test_two_kinds_of_layers_are_kept_in_step(patched: rope_compat.Patch) -> None:
    nested = {FULL: dict(LINEAR), SLIDING: {"rope_type": "default", "rope_theta": 3.0}}
    config = load("transformers.models.gemma3").Gemma3TextConfig(**SIZES, rope_parameters=nested)
    assert (config.rope_theta, config.rope_local_base_freq) == (77777.0, 3.0)
    assert config.rope_scaling == {"rope_type": "linear", "factor": 4.0}
    config.rope_theta, config.rope_local_base_freq, config.rope_scaling = 5.0, 6.0, None
    assert config.rope_parameters == {
        FULL: {"rope_type": "default", "rope_theta": 5.0},
        SLIDING: {"rope_type": "default", "rope_theta": 6.0},
    }
    config.rope_parameters = nested
    assert (config.rope_theta, config.rope_local_base_freq) == (77777.0, 3.0)


# Classes that were written for 5.x.


def test_a_class_of_5_reads_a_file_of_5(patched: rope_compat.Patch) -> None:
    config = Five.from_dict({"rope_parameters": dict(LINEAR)})
    assert config.rope_parameters == LINEAR
    assert (config.rope_theta, config.rope_scaling["factor"]) == (77777.0, 4)
    assert config.rope_scaling["type"] == config.rope_scaling["rope_type"] == "linear"
    assert not {"rope_theta", "rope_scaling"} & set(vars(config))


def test_a_class_of_5_reads_a_file_of_4(patched: rope_compat.Patch) -> None:
    config = Five.from_dict({"rope_theta": 5.0, "rope_scaling": {"type": "linear", "factor": 2.0}})
    assert config.rope_parameters["rope_theta"] == 5.0
    assert config.rope_parameters["rope_type"] == "linear"
    assert Five(rope_theta=5.0, rope_scaling=None).rope_parameters == {
        "rope_type": "default",
        "rope_theta": 5.0,
    }


def test_a_class_of_5_has_the_theta_that_it_gives(patched: rope_compat.Patch) -> None:
    class Own(Five):
        default_theta = 123.0

    assert Own().rope_parameters == {"rope_type": "default", "rope_theta": 123.0}
    # What 5.0 and later document for a class that gives none.
    assert Five().rope_parameters == {"rope_type": "default", "rope_theta": 10000.0}


@pytest.mark.parametrize("parameters", [DEFAULT, LINEAR], ids=["default", "linear"])
def test_native_modules_compute_with_a_class_of_5(
    parameters: dict[str, Any], patched: rope_compat.Patch
) -> None:
    config = Five(rope_parameters=dict(parameters))
    if hasattr(PretrainedConfig, "_attn_implementation"):
        config._attn_implementation = "eager"
    native = LlamaConfig(**SIZES, rope_parameters=parameters)
    native._attn_implementation = "eager"
    assert torch.equal(logits(config), logits(native))


def test_the_base_constructor_calls_what_5_calls(patched: rope_compat.Patch) -> None:
    class Own(Five):
        calls: ClassVar[list[str]] = []

        def convert_rope_params_to_dict(self, **kwargs: Any) -> dict[str, Any]:
            self.calls.append("convert")
            kwargs.pop("base", None)
            return dict(super().convert_rope_params_to_dict(**kwargs))

        def validate_rope(self) -> None:
            self.calls.append("validate")
            super().validate_rope()

    config = Own(base=3, rope_theta=2.0)
    assert Own.calls == ["convert", "validate"]
    assert config.rope_parameters["rope_theta"] == 2.0
    assert not hasattr(config, "base")


def test_parameters_are_completed_as_5_completes_them(patched: rope_compat.Patch) -> None:
    config = Five(rope_parameters={"type": "yarn", "factor": 2.0}, partial_rotary_factor=0.5)
    assert config.rope_parameters == {
        "type": "yarn",
        "rope_type": "yarn",
        "factor": 2.0,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
        "original_max_position_embeddings": 256,
    }
    assert config.partial_rotary_factor == 0.5
    with pytest.raises(RopeConfigError, match="lack factor"):
        Five(rope_parameters={"rope_type": "linear"})

    class Nested(Five):
        layer_types: ClassVar[list[str]] = [FULL, SLIDING]

    nested = Nested(rope_parameters={FULL: {"rope_theta": 1.0}, SLIDING: {}}, rope_theta=2.0)
    assert nested.rope_parameters == {
        FULL: {"rope_theta": 1.0, "rope_type": "default"},
        SLIDING: {"rope_theta": 2.0, "rope_type": "default"},
    }
    with pytest.raises(RopeConfigError, match="differs by layer type"):
        _ = nested.rope_theta
    assert nested.rope_scaling is None


def test_fields_of_4_can_be_written_on_a_class_of_5(patched: rope_compat.Patch) -> None:
    config = Five(rope_parameters=dict(DEFAULT))
    config.rope_theta = 5.0
    config.rope_scaling = {"rope_type": "linear", "factor": 2.0}
    config.partial_rotary_factor = 0.5
    assert config.rope_parameters == {
        "rope_type": "linear",
        "factor": 2.0,
        "rope_theta": 5.0,
        "partial_rotary_factor": 0.5,
    }
    assert config.rope_parameters == json.loads(config.to_json_string())["rope_parameters"]
    assert "rope_theta" not in config.to_dict()


def test_a_default_of_the_constructor_is_no_write(patched: rope_compat.Patch) -> None:
    assert Both(rope_parameters=dict(DEFAULT)).rope_parameters == DEFAULT
    config = Both.from_dict({"rope_parameters": dict(DEFAULT)})
    assert (config.rope_parameters, config.rope_theta) == (DEFAULT, 77777.0)
    config.rope_theta = 5.0
    assert config.rope_parameters["rope_theta"] == 5.0


# Classes that were written for 4.x and are not transformers' own.


def test_a_class_of_4_reads_a_file_of_5(patched: rope_compat.Patch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"rope_parameters": LINEAR}))
    config = Four.from_pretrained(tmp_path)
    assert (config.rope_theta, config.rope_scaling) == (77777.0, {"type": "linear", "factor": 4})
    assert config.rope_parameters == LINEAR


def test_its_own_code_may_compute_other_types(patched: rope_compat.Patch) -> None:
    class Loose(Four):
        def _rope_scaling_validation(self) -> None:
            pass

    own = {**DEFAULT, "rope_type": "own", "x": 1}
    config = Loose.from_dict({"rope_parameters": own})
    assert config.rope_scaling == {"rope_type": "own", "type": "own", "x": 1}


def test_a_subclass_of_a_native_class(patched: rope_compat.Patch) -> None:
    class Mine(LlamaConfig):  # type: ignore[misc]
        def __init__(self, extra: int = 1, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.extra = extra

    config = Mine.from_dict({**SIZES, "rope_parameters": LINEAR, "extra": 2})
    assert (config.rope_theta, config.extra) == (77777.0, 2)


@pytest.mark.parametrize("declared", [True, False])
def test_a_class_of_4_inside_another(declared: bool, patched: rope_compat.Patch) -> None:
    class Outer(PretrainedConfig):  # type: ignore[misc]
        sub_configs: ClassVar[dict[str, Any]] = {"text_config": Four} if declared else {}

        def __init__(self, text_config: Any = None, **kwargs: Any) -> None:
            self.text_config = Four(**(text_config or {}))
            super().__init__(**kwargs)

    given = {"text_config": {"rope_parameters": DEFAULT}, "other": {"x": 1}}
    before = copy.deepcopy(given)
    assert Outer.from_dict(given).text_config.rope_theta == 77777.0
    assert given["text_config"] == before["text_config"]


def test_a_native_class_inside_another(patched: rope_compat.Patch, tmp_path: Path) -> None:
    config = from_file(
        tmp_path,
        model_type="llava",
        text_config={**SIZES, "model_type": "llama", "rope_parameters": LINEAR},
    )
    assert config.text_config.rope_theta == 77777.0
    assert config.text_config.rope_scaling["factor"] == 4.0


# Names, signatures and undoing.


def test_the_name_of_5_can_be_imported(patched: rope_compat.Patch) -> None:
    import transformers
    from transformers import PreTrainedConfig
    from transformers.configuration_utils import PreTrainedConfig as Same

    assert PreTrainedConfig is Same is PretrainedConfig
    patched.undo()
    assert not hasattr(transformers, "PreTrainedConfig")
    assert not hasattr(transformers.configuration_utils, "PreTrainedConfig")


@pytest.mark.lane(GENERATION)
def test_and_in_a_new_process() -> None:
    code = (
        "import rope_compat; p = rope_compat.patch(); from transformers import PreTrainedConfig as C; "
        "assert C.__name__ == 'PretrainedConfig'; assert C.default_theta == 10000.0; p.undo(); "
        "import transformers; assert not hasattr(transformers, 'PreTrainedConfig')"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_signatures_and_names_are_the_constructors_own() -> None:
    before = [
        inspect.signature(each) for each in (LlamaConfig, LlamaConfig.__init__, PretrainedConfig.from_dict)
    ]
    with rope_compat.patched():
        after = [
            inspect.signature(each)
            for each in (LlamaConfig, LlamaConfig.__init__, PretrainedConfig.from_dict)
        ]
        assert LlamaConfig.__init__.__qualname__ == "LlamaConfig.__init__"
        assert after == before


def test_undoing_puts_everything_back() -> None:
    classes = (PretrainedConfig, LlamaConfig)
    before = [dict(vars(cls)) for cls in classes]
    first = rope_compat.patch()
    second = rope_compat.patch()
    assert vars(LlamaConfig)["__init__"] is not before[1]["__init__"]
    first.undo()
    assert LlamaConfig(**SIZES, rope_parameters=DEFAULT).rope_theta == 77777.0
    second.undo()
    for cls, names in zip(classes, before, strict=True):
        assert dict(vars(cls)) == names
        assert all(vars(cls)[name] is value for name, value in names.items())
    assert LlamaConfig(**SIZES, rope_parameters=DEFAULT).rope_theta == 10000.0


def test_standardizing_keeps_the_scaling_of_an_older_config() -> None:
    with rope_compat.patched():
        config: Any = LlamaConfig(rope_scaling={"type": "linear", "factor": 4.0})
        config.standardize_rope_params()
        assert config.rope_scaling["factor"] == 4.0
        assert config.rope_parameters["factor"] == 4.0
