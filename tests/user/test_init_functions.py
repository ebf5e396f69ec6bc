"""`ROPE_INIT_FUNCTIONS` and its neighbours: every type gives the same bits in every call form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import LLAMA, RELEASE, has_module, load
from support.rope_configs import (
    HEAD,
    IS_5X,
    LENGTH,
    SCALING,
    THETA,
    TYPES,
    UTILS,
    WITH_ORIGINAL,
    Config,
    assert_bits,
    expected,
    native_config,
    nested,
    new_style,
    old_style,
    parameters,
)
from torch import Tensor, nn

import rope_compat
from rope_compat.errors import CallFormError, RopeConfigError
from rope_compat.rotary import frequencies

HERE = Version(RELEASE)
#: Up to 4.53.3 a call with numbers is native, and so are its mistakes.
TAKES_NUMBERS = Version("4.54.0") > HERE

pytestmark = pytest.mark.only(has_module(UTILS), "the module came with 4.43.0")

FORMS: dict[str, Callable[[Any, str], Any]] = {
    "a config of 5.x": lambda f, kind: f(new_style(kind), torch.device("cpu")),
    "a config of 5.x, by keywords": lambda f, kind: f(config=new_style(kind), device=None, seq_len=None),
    "no layer type": lambda f, kind: f(new_style(kind), None, layer_type=None),
    "a layer type": lambda f, kind: f(nested(kind), "cpu", layer_type="full_attention"),
    "a layer type by position": lambda f, kind: f(nested(kind), None, None, "full_attention"),
    "a config of 4.x in a call of 5.x": lambda f, kind: f(old_style(kind), None, layer_type=None),
}
if IS_5X:
    FORMS["a config of 4.x"] = lambda f, kind: f(old_style(kind), None)


@pytest.fixture(scope="module")
def utils() -> Iterator[Any]:
    """The module, patched once for all tests here."""
    module = load(UTILS)
    with rope_compat.patched():
        yield module


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rope_type", TYPES)
def test_a_type_is_the_same_in_every_call_form(utils: Any, rope_type: str, form: str) -> None:
    given = FORMS[form](utils.ROPE_INIT_FUNCTIONS[rope_type], rope_type)
    assert_bits(given, expected(rope_type))


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("length", [100, 3000])
@pytest.mark.parametrize("rope_type", ["dynamic", "longrope"])
def test_the_length_of_the_text(utils: Any, rope_type: str, length: int, as_tensor: bool) -> None:
    seq_len: Any = torch.tensor(length) if as_tensor else length
    given = utils.ROPE_INIT_FUNCTIONS[rope_type](new_style(rope_type), None, seq_len=seq_len, layer_type=None)
    assert_bits(given, expected(rope_type, seq_len))


@pytest.mark.parametrize("rope_type", ["default", "linear", "dynamic"])
def test_numbers_in_place_of_a_config(utils: Any, rope_type: str) -> None:
    """As rotary classes of 4.43 to 4.47 call it: rope_init_fn(config, device, **rope_kwargs)."""
    rope_kwargs = {
        "rope_type": rope_type,
        "factor": SCALING[rope_type].get("factor", 1.0),
        "dim": HEAD,
        "base": THETA,
        "max_position_embeddings": LENGTH,
    }
    function = utils.ROPE_INIT_FUNCTIONS[rope_type]
    assert_bits(function(None, None, **rope_kwargs), expected(rope_type))
    assert_bits(function(device=None, seq_len=3000, **rope_kwargs), expected(rope_type, 3000))
    assert_bits(function(None, None, layer_type=None, **rope_kwargs), expected(rope_type))


@pytest.mark.only(not TAKES_NUMBERS)
@pytest.mark.parametrize("rope_type", TYPES)
def test_what_was_refused_is_refused(utils: Any, rope_type: str) -> None:
    function = utils.ROPE_INIT_FUNCTIONS[rope_type]
    with pytest.raises(CallFormError, match=r"a config and base, dim exclude each other"):
        function(new_style(rope_type), None, dim=HEAD, base=THETA)
    with pytest.raises(CallFormError, match="no release has had the keyword head_size"):
        function(new_style(rope_type), head_size=HEAD)
    if rope_type in ("default", "linear", "dynamic"):
        with pytest.raises(CallFormError, match="there is no config, and no base"):
            function(None, dim=HEAD, factor=1.0, max_position_embeddings=LENGTH)
    else:
        with pytest.raises(CallFormError, match="have always needed a config"):
            function(None, dim=HEAD, base=THETA, factor=1.0)


@pytest.mark.parametrize("rope_type", TYPES)
def test_nothing_is_guessed(utils: Any, rope_type: str) -> None:
    function = utils.ROPE_INIT_FUNCTIONS[rope_type]
    theta_is_missing = Config(rope_parameters={"rope_type": rope_type, **SCALING[rope_type]})
    with pytest.raises(RopeConfigError, match="gives no rope_theta"):
        function(theta_is_missing, None)
    contradicting = new_style(rope_type, rope_theta=10000.0)
    with pytest.raises(RopeConfigError, match=r"rope_theta=10000\.0, and 500000\.0"):
        function(contradicting, None, layer_type=None)
    with pytest.raises(RopeConfigError, match="differs by layer type"):
        function(nested(rope_type), None)
    with pytest.raises(RopeConfigError, match="one rotary embedding for all layers"):
        function(new_style(rope_type), None, layer_type="full_attention")
    size_is_missing = new_style(rope_type)
    del size_is_missing.hidden_size
    with pytest.raises(RopeConfigError, match="gives no hidden_size"):
        function(size_is_missing, None)


def test_layers_of_a_config_of_4x(utils: Any) -> None:
    """Gemma 3 keeps a second theta beside the first; its scaling is for the layers of the first."""
    config = Config(
        rope_theta=THETA,
        rope_local_base_freq=10000.0,
        rope_scaling={"rope_type": "linear", "factor": 4.0},
        layer_types=["sliding_attention", "full_attention"],
    )
    table = utils.ROPE_INIT_FUNCTIONS
    local = table["default"](config, None, layer_type="sliding_attention")
    assert_bits(local, frequencies.default(HEAD, 10000.0))
    full = table["linear"](config, None, layer_type="full_attention")
    assert_bits(full, frequencies.linear(HEAD, THETA, 4.0))


def test_the_head_and_its_part(utils: Any) -> None:
    """As in 4.57.6: `head_dim` if it is there and not None, times `partial_rotary_factor`, rounded down."""
    function = utils._compute_default_rope_parameters
    parameters = {"rope_type": "default", "rope_theta": THETA}
    for fields, dim in [
        ({}, 32),
        ({"head_dim": 24}, 24),
        ({"head_dim": None}, 32),
        ({"partial_rotary_factor": 0.5}, 16),
        ({"head_dim": 10, "partial_rotary_factor": 0.45}, 4),
        ({"qk_rope_head_dim": 64, "rotary_pct": 0.25}, 32),
    ]:
        given = function(Config(rope_parameters=parameters, **fields), None)
        assert_bits(given, frequencies.default(dim, THETA))
    inner = Config(rope_parameters={**parameters, "partial_rotary_factor": 0.5})
    assert_bits(function(inner, None), frequencies.default(16, THETA))


@pytest.mark.parametrize("name", ["meta", "cpu"])
def test_the_device_is_the_one_that_is_given_or_the_context(utils: Any, name: str) -> None:
    function = utils._compute_default_rope_parameters
    assert function(new_style("default"), name)[0].device.type == name
    with torch.device(name):
        assert function(new_style("default"))[0].device.type == name


# --- rotary classes of custom code -------------------------------------------------------------------------


def rotary_class(*, keeps_function: bool, takes_layers: bool) -> type[nn.Module]:
    """A class decorated with `dynamic_rope_update`, as code for 4.51 to 4.57, or for 5.x, writes it."""
    utils = load(UTILS)

    class Rotary(nn.Module):
        def __init__(self, config: Any, rope_type: str) -> None:
            super().__init__()
            self.config = config
            self.max_seq_len_cached = self.original_max_seq_len = config.max_position_embeddings
            layers = {"layer_type": "full_attention"} if takes_layers else {}
            function = utils.ROPE_INIT_FUNCTIONS[rope_type]
            if keeps_function:
                self.rope_init_fn = function
            inv_freq, scaling = function(config, None, **layers)
            prefix = "full_attention_" if takes_layers else ""
            self.rope_type = {"full_attention": rope_type} if takes_layers else rope_type
            setattr(self, f"{prefix}attention_scaling", scaling)
            self.register_buffer(f"{prefix}inv_freq", inv_freq, persistent=False)
            if keeps_function:
                # One tensor under two names: it must not be written to.
                self.original_inv_freq = inv_freq
            else:
                self.register_buffer(f"{prefix}original_inv_freq", inv_freq.clone(), persistent=False)

        if takes_layers:

            @utils.dynamic_rope_update
            def forward(self, x: Tensor, position_ids: Tensor, layer_type: str | None = None) -> Any:
                return getattr(self, f"{layer_type}_inv_freq").clone()

        else:

            @utils.dynamic_rope_update
            def forward(self, x: Tensor, position_ids: Tensor) -> Any:
                return self.inv_freq.clone()

    return Rotary


#: Releases whose own decorator forgets how long the text was, and fails at the second long text where there
#: are layer types: modules of their own kind show that.
STALE = Version("5.0.0") <= HERE < Version("5.13.0")
FAILS_AGAIN = Version("5.0.0") <= HERE < Version("5.23.0")
KINDS = {
    "4.51 to 4.57": {"keeps_function": True, "takes_layers": False},
    "5.x": {"keeps_function": False, "takes_layers": False},
    "5.x with layers": {"keeps_function": False, "takes_layers": True},
}


def config_of(kind: str, rope_type: str) -> Any:
    """A config as code of that time has it; where that is the installed release's, transformers' own."""
    if kind == "5.x with layers":
        if not IS_5X:
            return nested(rope_type)
        fields = {"full_attention": parameters(rope_type)}
        return native_config(rope_type, rope_parameters=fields, layer_types=["full_attention"])
    if kind == "5.x":
        return native_config(rope_type) if IS_5X else new_style(rope_type)
    config = old_style(rope_type)
    # 4.x reads it beside the dictionary, 5.x in it as well.
    config.__dict__.update(WITH_ORIGINAL if rope_type == "longrope" else {})
    return config


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rope_type", ["dynamic", "longrope", "linear"])
def test_frequencies_follow_the_text(utils: Any, rope_type: str, kind: str) -> None:
    takes_layers = KINDS[kind]["takes_layers"]
    module = rotary_class(**KINDS[kind])(config_of(kind, rope_type), rope_type)
    layers = {"layer_type": "full_attention"} if takes_layers else {}
    lengths = [16, 3000] if takes_layers and FAILS_AGAIN else [16, 3000, 4000, 16, 3000]
    longest = 0
    for length in lengths:
        given = module(torch.zeros(1), torch.arange(length)[None], **layers)
        longest = max(longest, length)
        meant = longest if STALE and kind == "5.x" and length == 16 and rope_type == "dynamic" else length
        assert torch.equal(given, expected(rope_type, torch.tensor(meant))[0]), length


# --- names that older releases lack ------------------------------------------------------------------------


@pytest.mark.only(not IS_5X)
def test_rotary_classes_compute_their_default_as_in_5x(utils: Any) -> None:
    compute = load(LLAMA).LlamaRotaryEmbedding.compute_default_rope_parameters
    assert_bits(compute(native_config("default")), expected("default"))
    assert_bits(compute(new_style("default"), device=None), expected("default"))
    assert_bits(compute(nested("default"), layer_type="full_attention"), expected("default"))


@pytest.mark.only(not IS_5X)
def test_rope_parameters_can_stand_in_annotations(utils: Any) -> None:
    class Annotated:
        rope_parameters: utils.RopeParameters | dict[str, utils.RopeParameters] | None = None  # type: ignore[name-defined]

    assert utils.RopeParameters(rope_theta=THETA, rope_type="default") == {
        "rope_theta": THETA,
        "rope_type": "default",
    }
    assert {"rope_theta", "factor", "partial_rotary_factor"} <= utils.RopeParameters.__optional_keys__
    assert Annotated.__annotations__


@pytest.mark.only(not IS_5X)
def test_keys_to_ignore_are_ignored(utils: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(utils.logger, "warning", warned.append)
    config = native_config("linear")
    config.rope_scaling["section"] = [1]
    utils.rope_config_validation(config)
    assert len(warned) == 1
    assert "section" in warned.pop()
    utils.rope_config_validation(config, ignore_keys={"section"})
    assert warned == []
    assert config.rope_scaling["section"] == [1]
