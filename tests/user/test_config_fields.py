"""The config bridge of 5.0 and later: fields of 4.x on configs that have `rope_parameters`."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import LLAMA, RELEASE, has_module
from support.lanes import GENERATION
from torch import Tensor

import rope_compat
from rope_compat.errors import RopeConfigError

HAS_RULE = Version(RELEASE) >= Version("5.0.0")
pytestmark = pytest.mark.only(HAS_RULE, "up to 4.57 the fields are where they were")

#: Only the config bridge, since `patch()` for everything takes longer than these tests.
BRIDGE: dict[str, Any] = {
    "load": False,
    "targets": ("transformers.configuration_utils", "transformers.models.*.configuration_*:*"),
}
LINEAR = {"type": "linear", "factor": 2.0}
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 32,
    "max_position_embeddings": 64,
}


@pytest.fixture(autouse=True)
def patched() -> Iterator[None]:
    with rope_compat.patched(**BRIDGE):
        yield


def config_class(folder: str, name: str) -> Any:
    return getattr(importlib.import_module(f"transformers.models.{folder}.configuration_{folder}"), name)


def llama(**options: Any) -> Any:
    return config_class("llama", "LlamaConfig")(**{**SIZES, **copy.deepcopy(options)})


def gemma3(**options: Any) -> Any:
    sizes = {**SIZES, "head_dim": 8, "layer_types": ["sliding_attention", "full_attention"]}
    return config_class("gemma3", "Gemma3TextConfig")(**{**sizes, **copy.deepcopy(options)})


def frequencies(config: Any) -> Tensor:
    """What transformers' own rotary class computes from a config."""
    rotary = importlib.import_module(LLAMA).LlamaRotaryEmbedding(config=config)
    inverse: Tensor = rotary.inv_freq
    return inverse


def asked_from(module: str, config: Any, name: str) -> Any:
    """`getattr(config, name, "default")` as code of another module does it."""
    code = compile("def ask(config, name): return getattr(config, name, 'default')", module, "exec")
    space: dict[str, Any] = {"__name__": module}
    exec(code, space)
    ask: FunctionType = space["ask"]
    return ask(config, name)


def base() -> Any:
    return importlib.import_module("transformers.configuration_utils").PreTrainedConfig


class TestReading:
    def test_theta_is_found_where_it_was(self) -> None:
        config = llama(rope_theta=5e5)
        assert config.rope_theta == 5e5
        assert getattr(config, "rope_theta", 10000.0) == 5e5
        assert hasattr(config, "rope_theta")

    def test_the_rotated_part_of_a_head_is_found_where_it_was(self) -> None:
        phi = config_class("phi", "PhiConfig")(**SIZES, partial_rotary_factor=0.25)
        assert phi.partial_rotary_factor == phi.rope_parameters["partial_rotary_factor"] == 0.25

    def test_what_a_config_does_not_say_is_not_there(self) -> None:
        bert = config_class("bert", "BertConfig")()
        with pytest.raises(AttributeError, match="'BertConfig' object has no attribute 'rope_theta'"):
            bert.rope_theta  # noqa: B018 - the read is the test
        assert not hasattr(bert, "rope_scaling")
        assert not hasattr(llama(), "partial_rotary_factor")
        assert not hasattr(llama(), "rotary_pct"), "a field that this class never had"
        assert not hasattr(type(bert), "rope_theta"), "the class itself never had it"

    def test_names_that_single_models_had(self) -> None:
        neox = config_class("gpt_neox", "GPTNeoXConfig")(rotary_pct=0.5, rotary_emb_base=777)
        assert (neox.rotary_pct, neox.rotary_emb_base, neox.rope_theta) == (0.5, 777, 777)
        neox.rotary_pct = 1.0
        neox.rotary_emb_base = 888.0
        assert neox.rope_parameters["partial_rotary_factor"] == 1.0
        assert neox.rope_parameters["rope_theta"] == 888.0

    def test_a_config_that_was_made_before_patch(self) -> None:
        rope_compat.unpatch()
        config = llama(rope_theta=5e5)
        assert not hasattr(config, "rope_theta")
        with rope_compat.patched(**BRIDGE):
            assert config.rope_theta == 5e5
            assert config.rope_scaling is None


class TestWriting:
    def test_theta_takes_effect(self) -> None:
        config = llama()
        config.rope_theta = 5e5
        assert config.rope_theta == config.rope_parameters["rope_theta"] == 5e5
        assert torch.equal(frequencies(config), frequencies(llama(rope_theta=5e5)))

    def test_it_is_saved_as_if_it_had_been_given_at_first(self, tmp_path: Path) -> None:
        config = llama()
        config.rope_theta = 5e5
        config.rope_scaling = {"rope_type": "linear", "factor": 2.0}
        expected = llama(rope_theta=5e5, rope_scaling={"rope_type": "linear", "factor": 2.0})
        assert config == expected
        assert json.loads(config.to_json_string()) == json.loads(expected.to_json_string())
        config.save_pretrained(tmp_path)
        assert type(config).from_pretrained(tmp_path).rope_parameters == expected.rope_parameters

    def test_a_copy_has_its_own(self) -> None:
        config = llama(rope_theta=1e4)
        for made in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
            made.rope_theta = 5e5
            made.rope_scaling = {"rope_type": "linear", "factor": 2.0}
            made.rope_scaling["factor"] = 4.0
            assert made.rope_parameters == {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}
            assert config.rope_parameters == {"rope_type": "default", "rope_theta": 1e4}

    @pytest.mark.parametrize("value", [None, "10000", [1e4]], ids=repr)
    def test_what_is_no_number_is_refused(self, value: Any) -> None:
        config = llama()
        with pytest.raises(RopeConfigError, match=r"LlamaConfig\.rope_theta = .*expected a number"):
            config.rope_theta = value

    def test_overrides_of_from_pretrained_take_effect(self, tmp_path: Path) -> None:
        llama(rope_theta=1e4).save_pretrained(tmp_path)
        load = config_class("llama", "LlamaConfig").from_pretrained
        assert load(tmp_path, rope_theta=5e5).rope_parameters["rope_theta"] == 5e5
        scaled = load(tmp_path, rope_scaling=dict(LINEAR)).rope_parameters
        assert (scaled["rope_type"], scaled["factor"], scaled["rope_theta"]) == ("linear", 2.0, 1e4)

    def test_a_field_can_be_deleted_only_where_it_is_stored(self) -> None:
        config = llama()
        with pytest.raises(AttributeError, match="rope_theta"):
            del config.rope_theta


class TestScaling:
    def test_an_unscaled_model_has_none(self) -> None:
        assert llama().rope_scaling is None
        assert config_class("phi", "PhiConfig")().rope_scaling is None

    def test_a_scaled_one_has_both_spellings_of_the_type(self) -> None:
        for given in (LINEAR, {"rope_type": "linear", "factor": 2.0}):
            scaling = llama(rope_scaling=given).rope_scaling
            assert scaling == {"type": "linear", "rope_type": "linear", "factor": 2.0}
            assert scaling["type"] == scaling.get("rope_type", scaling.get("type")) == "linear"
            assert isinstance(scaling, dict)
            assert dict(**scaling) == scaling

    def test_theta_is_no_item_but_is_given_when_asked_for(self) -> None:
        scaling = llama(rope_scaling=LINEAR, rope_theta=5e5).rope_scaling
        assert "rope_theta" not in list(scaling)
        assert len(scaling) == 3
        assert scaling["rope_theta"] == scaling.get("rope_theta", 10000.0) == 5e5
        assert "rope_theta" in scaling
        assert scaling.get("partial_rotary_factor") is None
        with pytest.raises(KeyError):
            scaling["partial_rotary_factor"]

    def test_copies_are_plain(self) -> None:
        scaling = llama(rope_scaling=LINEAR).rope_scaling
        copies = [copy.copy(scaling), copy.deepcopy(scaling), scaling.copy(), scaling | {}]
        for made in (*copies, pickle.loads(pickle.dumps(scaling)), json.loads(json.dumps(scaling))):
            assert type(made) is dict
            assert made == scaling

    def test_multimodal_sections_are_kept(self) -> None:
        given = {"type": "mrope", "mrope_section": [1, 1, 2]}
        qwen = config_class("qwen2_vl", "Qwen2VLTextConfig")(**SIZES, rope_scaling=given)
        assert qwen.rope_scaling["mrope_section"] == [1, 1, 2]
        assert qwen.rope_scaling["rope_type"] == "default"

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda view: view.__setitem__("factor", 8.0), {"rope_type": "linear", "factor": 8.0}),
            (lambda view: view.update(type="dynamic", factor=3.0), {"rope_type": "dynamic", "factor": 3.0}),
            (lambda view: view.__ior__({"rope_type": "dynamic"}), {"rope_type": "dynamic", "factor": 2.0}),
            (lambda view: view.setdefault("alpha", 5), {"rope_type": "linear", "factor": 2.0, "alpha": 5}),
            (lambda view: view.setdefault("factor", 5.0), {"rope_type": "linear", "factor": 2.0}),
            (lambda view: view.pop("factor"), {"rope_type": "linear"}),
            (lambda view: view.pop("rope_theta", None), {"rope_type": "linear", "factor": 2.0}),
            (lambda view: view.__delitem__("factor"), {"rope_type": "linear"}),
            (lambda view: view.clear(), {"rope_type": "default"}),
        ],
    )
    def test_changing_it_changes_the_config(
        self, change: Callable[[Any], object], expected: dict[str, Any]
    ) -> None:
        config = llama(rope_scaling={"rope_type": "linear", "factor": 2.0}, rope_theta=5e5)
        change(config.rope_scaling)
        assert config.rope_parameters == {**expected, "rope_theta": 5e5}

    def test_theta_can_be_written_through_it(self) -> None:
        config = llama(rope_scaling=LINEAR)
        config.rope_scaling["rope_theta"] = 5e5
        assert config.rope_theta == 5e5

    def test_a_type_gets_what_transformers_needs_for_it(self) -> None:
        config = llama(rope_scaling=LINEAR)
        config.rope_scaling["type"] = "yarn"
        assert config.rope_parameters["original_max_position_embeddings"] == 64
        assert torch.equal(
            frequencies(config), frequencies(llama(rope_scaling={"rope_type": "yarn", "factor": 2.0}))
        )

    def test_one_that_is_kept_writes_as_long_as_the_config_says_the_same(self) -> None:
        config = llama(rope_scaling=LINEAR)
        held = config.rope_scaling
        config.rope_theta = 5e5
        held["factor"] = 4.0
        assert (config.rope_parameters["factor"], config.rope_theta) == (4.0, 5e5)
        config.rope_scaling = None
        held["factor"] = 16.0
        assert held["factor"] == 16.0
        assert config.rope_scaling is None


class TestAssigningScaling:
    @pytest.mark.parametrize("given", [LINEAR, {"rope_type": "linear", "factor": 2.0}], ids=repr)
    def test_theta_and_partial_factor_stay(self, given: dict[str, Any]) -> None:
        phi = config_class("phi", "PhiConfig")(**SIZES, rope_theta=5e5, partial_rotary_factor=0.25)
        phi.rope_scaling = given
        assert phi.rope_scaling == {"type": "linear", "rope_type": "linear", "factor": 2.0}
        assert (phi.rope_theta, phi.partial_rotary_factor) == (5e5, 0.25)
        assert torch.equal(
            frequencies(phi),
            frequencies(type(phi)(**SIZES, **phi.rope_parameters, rope_scaling=dict(LINEAR))),
        )
        phi.rope_scaling = None
        assert phi.rope_scaling is None
        assert phi.rope_parameters == {
            "rope_type": "default",
            "rope_theta": 5e5,
            "partial_rotary_factor": 0.25,
        }

    def test_the_native_form_says_theta_itself(self) -> None:
        config = llama(rope_theta=1e4)
        config.rope_scaling = {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}
        assert config.rope_parameters == {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}

    def test_older_names_of_types(self) -> None:
        config = llama()
        config.rope_scaling = {"type": "su", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
        assert config.rope_parameters["rope_type"] == "longrope"
        assert config.rope_scaling["type"] == "su"

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (2.0, "expected a dictionary or None"),
            ({"type": "linear", "rope_type": "yarn", "factor": 2.0}, "type='linear' and rope_type='yarn'"),
            ({"factor": 2.0}, "no rope_type"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, value: Any, message: str) -> None:
        config = llama(rope_scaling=LINEAR)
        before = dict(config.rope_parameters)
        with pytest.raises(RopeConfigError, match=message):
            config.rope_scaling = value
        assert config.rope_parameters == before

    def test_one_config_s_scaling_given_to_another(self) -> None:
        first = llama(rope_scaling=LINEAR, rope_theta=5e5)
        for second in (
            llama(rope_scaling=first.rope_scaling, rope_theta=7e5),
            type(first)(**SIZES, rope_scaling=first.rope_scaling, rope_theta=7e5),
        ):
            assert second.rope_theta == 7e5
            second.rope_scaling["factor"] = 8.0
            assert (first.rope_theta, first.rope_scaling["factor"]) == (5e5, 2.0)
        # Without a theta of its own, it is the other's, as without the bridge.
        for name in ("rope_scaling", "rope_parameters"):
            third = type(first)(**SIZES, **{name: first.rope_scaling})
            assert type(third.rope_parameters) is dict
            assert third.rope_parameters["rope_theta"] == 5e5
        fourth = llama(rope_theta=7e5)
        fourth.rope_scaling = first.rope_scaling
        assert (fourth.rope_theta, fourth.rope_scaling) == (7e5, first.rope_scaling)


class TestNested:
    def test_theta_is_an_error_that_names_the_layers(self) -> None:
        with pytest.raises(RopeConfigError) as caught:
            getattr(gemma3(), "rope_theta", 10000.0)
        assert not isinstance(caught.value, AttributeError)
        for part in ("sliding_attention: 10000.0", "full_attention: 1000000.0", "rope_local_base_freq"):
            assert part in str(caught.value)

    @pytest.mark.parametrize(
        "module", ["transformers.trainer", "accelerate.utils", "peft.peft_model", "copy"]
    )
    def test_libraries_that_try_attributes_out_get_their_default(self, module: str) -> None:
        assert asked_from(module, gemma3(), "rope_theta") == "default"

    @pytest.mark.parametrize("module", ["transformers_modules.x", "vllm.model_executor.x", "__main__"])
    def test_code_that_would_compute_with_it_does_not(self, module: str) -> None:
        with pytest.raises(RopeConfigError):
            asked_from(module, gemma3(), "rope_theta")

    def test_looking_at_everything_is_no_error(self) -> None:
        assert inspect.getmembers(gemma3())
        assert repr(gemma3())

    def test_writing_theta_is_an_error_too(self) -> None:
        config = gemma3()
        before = copy.deepcopy(config.rope_parameters)
        with pytest.raises(RopeConfigError, match="differs by layer type"):
            config.rope_theta = 5e5
        assert config.rope_parameters == before

    def test_where_all_layers_agree_there_is_one_theta(self) -> None:
        config = gemma3(rope_theta=1e4, rope_local_base_freq=1e4)
        assert config.rope_theta == 1e4
        config.rope_theta = 5e5
        assert {layer["rope_theta"] for layer in config.rope_parameters.values()} == {5e5}

    def test_names_that_say_which_layers_are_meant(self) -> None:
        config = gemma3(rope_local_base_freq=3e4)
        assert config.rope_local_base_freq == 3e4
        config.rope_local_base_freq = 4e4
        assert config.rope_parameters["sliding_attention"]["rope_theta"] == 4e4
        assert config.rope_parameters["full_attention"]["rope_theta"] == 1e6
        bert = config_class("modernbert", "ModernBertConfig")(global_rope_theta=2e5, local_rope_theta=3e4)
        assert (bert.global_rope_theta, bert.local_rope_theta) == (2e5, 3e4)
        bert.global_rope_theta = 9e5
        assert bert.rope_parameters["full_attention"]["rope_theta"] == 9e5

    def test_scaling_means_full_attention_where_it_did(self) -> None:
        config = gemma3()
        assert config.rope_scaling is None
        config.rope_scaling = dict(LINEAR)
        assert config.rope_parameters["full_attention"]["factor"] == 2.0
        assert config.rope_parameters["full_attention"]["rope_theta"] == 1e6
        assert config.rope_parameters["sliding_attention"] == {"rope_type": "default", "rope_theta": 1e4}
        config.rope_scaling["factor"] = 8.0
        assert config.rope_parameters["full_attention"]["factor"] == 8.0
        config.rope_scaling = None
        assert config.rope_parameters["full_attention"] == {"rope_type": "default", "rope_theta": 1e6}

    def test_scaling_that_differs_otherwise_is_an_error(self) -> None:
        parameters = {
            "full_attention": {"rope_type": "default", "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4},
        }
        config = gemma3(rope_parameters=parameters)
        with pytest.raises(RopeConfigError, match="rope_scaling is not one dictionary"):
            config.rope_scaling  # noqa: B018 - the read is the test
        assert asked_from("accelerate.utils", config, "rope_scaling") is config.rope_parameters
        with pytest.raises(RopeConfigError, match="rope_scaling is not one dictionary"):
            config.rope_scaling = dict(LINEAR)

    def test_the_native_form_is_taken(self) -> None:
        config = gemma3()
        config.rope_scaling = {"full_attention": dict(LINEAR), "sliding_attention": {"rope_type": "default"}}
        assert config.rope_parameters["full_attention"]["rope_type"] == "linear"
        assert config.rope_parameters["full_attention"]["rope_theta"] == 1e6
        assert config.rope_parameters["sliding_attention"]["rope_theta"] == 1e4


@pytest.mark.lane(GENERATION)
def test_tracing_reads_them_without_a_break() -> None:
    scaled, plain = llama(rope_scaling=LINEAR, rope_theta=3.0), llama(rope_theta=3.0)

    def scaled_by(value: Tensor) -> Tensor:
        if scaled.rope_scaling["type"] != "linear" or plain.rope_scaling is not None:
            return value
        factor = scaled.rope_scaling.get("factor", 1.0) * getattr(scaled, "partial_rotary_factor", 1.0)
        scaled_value: Tensor = value * getattr(plain, "rope_theta", 10000.0) * factor
        return scaled_value

    compiled: Any = torch.compile(scaled_by, fullgraph=True, backend="eager")
    assert compiled(torch.ones(1)).item() == scaled_by(torch.ones(1)).item() == 6.0
    plain.rope_theta = 5.0
    assert compiled(torch.ones(1)).item() == 10.0


@pytest.mark.only(has_module("transformers.integrations.heterogeneity"), "layers with configs of their own")
def test_theta_of_a_single_layer() -> None:
    config = llama(rope_theta=1e4)
    config.per_layer_config = {1: {"rope_theta": 5e5}}
    thetas = [each.rope_parameters["rope_theta"] for each in config.per_layer_config]
    assert thetas == [1e4, 5e5]
    assert config.rope_parameters["rope_theta"] == 1e4


def test_undoing_leaves_the_classes_as_they_were() -> None:
    rope_compat.unpatch()
    neox = config_class("gpt_neox", "GPTNeoXConfig")
    before = [dict(vars(cls)) for cls in (base(), neox)]
    first = rope_compat.patch()
    second = rope_compat.patch(load=False, written_for="4.48")
    config = llama(rope_theta=5e5)
    first.undo()
    assert config.rope_theta == 5e5
    second.undo()
    for cls, was in zip((base(), neox), before, strict=True):
        assert dict(vars(cls)) == was
    assert not hasattr(config, "rope_theta")
    assert config.rope_scaling is config.rope_parameters
