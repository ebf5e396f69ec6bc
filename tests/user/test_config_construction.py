"""Constructors of configs on 5.0 and later: transformers' own are as they were, others take effect."""

from __future__ import annotations

import copy
import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import LLAMA, RELEASE, has_module

import rope_compat

IS_5 = Version(RELEASE) >= Version("5.0.0")
ARE_DATACLASSES = Version(RELEASE) >= Version("5.4.0")
pytestmark = pytest.mark.only(IS_5, "up to 4.57 the fields are where they were")

#: Only the config bridge, since `patch()` for everything takes longer than these tests.
BRIDGE: dict[str, Any] = {
    "load": False,
    "targets": ("transformers.configuration_utils", "transformers.models.*.configuration_*:*"),
}
LINEAR = {"type": "linear", "factor": 2.0}
CLASSES = (
    "afmoe.AfmoeConfig",
    "bert.BertConfig",
    "deepseek_v3.DeepseekV3Config",
    "deepseek_v4.DeepseekV4Config",
    "dinov3_vit.DINOv3ViTConfig",
    "esm.EsmConfig",
    "gemma3.Gemma3TextConfig",
    "glm4v.Glm4vConfig",
    "gpt_neox.GPTNeoXConfig",
    "llama.LlamaConfig",
    "modernbert.ModernBertConfig",
    "nemotron.NemotronConfig",
    "olmo3.Olmo3Config",
    "phi.PhiConfig",
    "phi3.Phi3Config",
    "qwen2_vl.Qwen2VLConfig",
    "sam3.Sam3ViTConfig",
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"rope_theta": 5e5},
    {"rope_theta": 5e5, "rope_scaling": LINEAR},
    {"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}},
    {"partial_rotary_factor": 0.75, "rotary_pct": 0.5, "rotary_emb_base": 777},
    {"rope_local_base_freq": 3e4, "global_rope_theta": 4e4, "local_rope_theta": 5e4},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 4e4, "partial_rotary_factor": 0.5}},
    {
        "rope_parameters": {"rope_type": "default", "rope_theta": 4e4, "partial_rotary_factor": 0.5},
        "partial_rotary_factor": 0.25,
        "rope_theta": 7.0,
    },
    {
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 1e5},
            "sliding_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4},
        }
    },
)


def home(name: str) -> str:
    folder = name.partition(".")[0]
    return f"transformers.models.{folder}.configuration_{folder}"


def what_becomes_of(cls: Any, options: dict[str, Any]) -> Any:
    """Everything that can be seen of a config, or the error that it raises."""
    try:
        config = cls(**copy.deepcopy(options))
        again = cls.from_dict(json.loads(config.to_json_string(use_diff=False)))
    except Exception as error:
        return type(error), str(error)
    texts = [each.to_json_string(use_diff=diff) for each in (config, again) for diff in (True, False)]
    return texts, {name: repr(value) for name, value in vars(config).items()}, copy.deepcopy(config) == config


@pytest.mark.parametrize("name", [name for name in CLASSES if has_module(home(name))])
def test_transformers_own_configs_are_what_they_were(name: str) -> None:
    cls = getattr(importlib.import_module(home(name)), name.partition(".")[2])
    with rope_compat.patched(**BRIDGE):
        bridged = [what_becomes_of(cls, options) for options in OPTIONS]
    assert bridged == [what_becomes_of(cls, options) for options in OPTIONS]
    assert any(isinstance(each[0], list) for each in bridged), "no config could be made at all"


def custom_classes() -> dict[str, Any]:
    """Configs of custom code of 4.x, in the orders that constructors have; a new set for each test."""
    from transformers import LlamaConfig, PretrainedConfig

    class Sized(PretrainedConfig):  # type: ignore[misc]
        def __init__(self, hidden_size: int = 32, **kwargs: Any) -> None:
            self.hidden_size = hidden_size
            self.num_attention_heads = 4
            self.max_position_embeddings = 64
            super().__init__(**kwargs)

    class First(Sized):
        def __init__(self, rope_theta: Any = 1e4, rope_scaling: Any = None, **kwargs: Any) -> None:
            self.rope_theta = rope_theta
            self.rope_scaling = rope_scaling
            self._rope_scaling_validation()
            super().__init__(**kwargs)

        def _rope_scaling_validation(self) -> None:
            if self.rope_scaling is None:
                return
            if not isinstance(self.rope_scaling, dict) or len(self.rope_scaling) != 2:
                raise ValueError(f"two fields, type and factor, not {self.rope_scaling}")
            assert self.rope_scaling.get("type") in ("linear", "dynamic")
            assert self.rope_scaling["factor"] > 1.0

    class Last(Sized):
        def __init__(self, rope_theta: Any = 1e4, rope_scaling: Any = None, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.rope_theta = rope_theta
            self.rope_scaling = rope_scaling

    class LastReversed(Sized):
        def __init__(self, rope_theta: Any = 1e4, rope_scaling: Any = None, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.rope_scaling = rope_scaling
            self.rope_theta = rope_theta

    class OfLlama(LlamaConfig):  # type: ignore[misc]
        def __init__(self, rope_theta: Any = 1e4, rope_scaling: Any = None, **kwargs: Any) -> None:
            sizes = {"hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 64}
            super().__init__(**{**sizes, **kwargs})
            self.rope_theta = rope_theta
            self.rope_scaling = rope_scaling

    return {cls.__name__: cls for cls in (First, Last, LastReversed, OfLlama)}


@pytest.fixture
def bridge() -> Iterator[None]:
    with rope_compat.patched(**BRIDGE):
        yield


@pytest.mark.parametrize("name", ["First", "Last", "LastReversed", "OfLlama"])
@pytest.mark.parametrize("scaling", [None, LINEAR], ids=["unscaled", "linear"])
@pytest.mark.parametrize("defined", ["before", "after"])
class TestCustomConstructors:
    def made(self, name: str, defined: str, options: dict[str, Any]) -> Any:
        """A config whose class was defined before or after `patch()`."""
        if defined == "before":
            cls = custom_classes()[name]
            rope_compat.patch(**BRIDGE)
        else:
            rope_compat.patch(**BRIDGE)
            cls = custom_classes()[name]
        return cls(**copy.deepcopy(options))

    def test_what_they_are_given_takes_effect(
        self, name: str, scaling: dict[str, Any] | None, defined: str
    ) -> None:
        config = self.made(name, defined, {"rope_theta": 5e5, "rope_scaling": scaling})
        assert config.rope_theta == config.rope_parameters["rope_theta"] == 5e5
        expected = None if scaling is None else {"type": "linear", "rope_type": "linear", "factor": 2.0}
        assert config.rope_scaling == expected
        rotary = importlib.import_module(LLAMA).LlamaRotaryEmbedding(config=config)
        powers = torch.arange(0, 8, 2, dtype=torch.int64).float() / 8
        factor = 1.0 if scaling is None else 2.0
        assert torch.equal(rotary.inv_freq, 1.0 / 5e5**powers / factor)

    def test_what_is_saved_comes_back(
        self, name: str, scaling: dict[str, Any] | None, defined: str, tmp_path: Path
    ) -> None:
        config = self.made(name, defined, {"rope_theta": 5e5, "rope_scaling": scaling})
        config.save_pretrained(tmp_path)
        again = type(config).from_pretrained(tmp_path)
        assert again.rope_theta == again.rope_parameters["rope_theta"] == 5e5
        assert again.rope_scaling == config.rope_scaling
        saved = json.loads((tmp_path / "config.json").read_text())
        assert saved["rope_theta"] == 5e5, "4.x reads it there"

    def test_later_writes_take_effect(self, name: str, scaling: dict[str, Any] | None, defined: str) -> None:
        config = self.made(name, defined, {"rope_theta": 5e5, "rope_scaling": scaling})
        config.rope_theta = 7e5
        assert config.rope_theta == config.rope_parameters["rope_theta"] == 7e5
        config.rope_scaling = {"type": "dynamic", "factor": 4.0}
        assert config.rope_parameters["rope_type"] == "dynamic"
        assert config.rope_theta == config.rope_parameters["rope_theta"] == 7e5


@pytest.mark.usefixtures("bridge")
def test_a_config_inside_another_comes_back(tmp_path: Path) -> None:
    from transformers import PretrainedConfig

    inner = custom_classes()["Last"]

    class Outer(PretrainedConfig):  # type: ignore[misc]
        sub_configs = {"text_config": inner}  # noqa: RUF012 - as transformers has it

        def __init__(self, text_config: Any = None, **kwargs: Any) -> None:
            self.text_config = (
                inner(**(text_config or {})) if not hasattr(text_config, "to_dict") else text_config
            )
            super().__init__(**kwargs)

    outer = Outer(text_config={"rope_theta": 5e5, "rope_scaling": dict(LINEAR)})
    outer.save_pretrained(tmp_path)
    again = Outer.from_pretrained(tmp_path).text_config
    assert again.rope_parameters == outer.text_config.rope_parameters
    assert (again.rope_theta, again.rope_scaling["factor"]) == (5e5, 2.0)


@pytest.mark.usefixtures("bridge")
def test_what_is_not_theta_stays_what_it_is() -> None:
    from transformers import LlamaConfig

    class PerLayer(LlamaConfig):  # type: ignore[misc]
        def __init__(self, rope_theta: Any = (1e4, 5e5), **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.rope_theta = rope_theta

    config = PerLayer()
    assert config.rope_theta == (1e4, 5e5)
    assert config.rope_parameters["rope_theta"] == 1e4


@pytest.mark.parametrize("patched_first", [True, False])
def test_a_class_s_own_fields_are_its_own(patched_first: bool) -> None:
    from transformers import PretrainedConfig

    with rope_compat.patched(**BRIDGE) if patched_first else nullcontext():

        class Own(PretrainedConfig):  # type: ignore[misc]
            rope_theta = 5.0

    with rope_compat.patched(**BRIDGE):
        config = Own()
        assert config.rope_theta == Own.rope_theta == 5.0
        config.rope_theta = 6.0
        assert vars(config)["rope_theta"] == 6.0
        del config.rope_theta
        assert config.rope_theta == 5.0


@pytest.mark.only(ARE_DATACLASSES, "configs are dataclasses from 5.4 on")
@pytest.mark.parametrize("patched_first", [True, False])
def test_fields_of_dataclasses_are_fields(patched_first: bool) -> None:
    from transformers import PretrainedConfig

    with rope_compat.patched(**BRIDGE) if patched_first else nullcontext():

        class Fields(PretrainedConfig):  # type: ignore[misc]
            rope_theta: float
            partial_rotary_factor: float = 0.5

    with rope_compat.patched(**BRIDGE):
        config = Fields(rope_theta=3.0)
        assert (config.rope_theta, config.partial_rotary_factor) == (3.0, 0.5)
        with pytest.raises(TypeError, match="Missing required field - 'rope_theta'"):
            Fields()


@pytest.mark.usefixtures("bridge")
def test_the_base_class_looks_as_before() -> None:
    from transformers import PretrainedConfig

    cls: Any = PretrainedConfig
    hook = vars(cls).get("__post_init__") or vars(cls)["__init__"]
    assert hook.__module__ == cls.__module__ == sys.modules[cls.__module__].__name__
    assert hook.__qualname__.startswith("PreTrainedConfig.")
    assert not hasattr(cls, "rope_theta")
    assert list(vars(cls()).values()) == list(vars(cls()).values())


@pytest.mark.usefixtures("bridge")
def test_a_length_that_comes_after_the_base_class() -> None:
    from transformers import PretrainedConfig

    class Late(PretrainedConfig):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.max_position_embeddings = kwargs.get("max_position_embeddings", 64)
            self.rope_theta = kwargs.get("rope_theta", 500.0)
            self.rope_scaling = kwargs.get("rope_scaling")

    scaling = {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}
    config = Late(rope_scaling=dict(scaling), max_position_embeddings=128)
    assert config.max_position_embeddings == 128
    assert config.rope_theta == config.rope_parameters["rope_theta"] == 500.0
    assert config.rope_scaling["original_max_position_embeddings"] == 32


@pytest.mark.xfail(
    strict=True,
    raises=ValueError,
    reason="where the base class comes first nothing tells when the constructor ends: both names are shown",
)
@pytest.mark.usefixtures("bridge")
def test_fields_that_are_counted_after_the_base_class() -> None:
    from transformers import PretrainedConfig

    class Counting(PretrainedConfig):  # type: ignore[misc]
        def __init__(self, rope_theta: float = 1e4, rope_scaling: Any = None, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.rope_theta, self.rope_scaling = rope_theta, rope_scaling
            if len(self.rope_scaling) != 2:
                raise ValueError("two fields")

    Counting(rope_scaling={"type": "linear", "factor": 2.0})
