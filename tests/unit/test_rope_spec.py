"""What a configuration says about its rotary embedding, read from every spelling that it has had."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from configs.cases import BOUNDARIES, CASES
from configs.comparing import not_said

from rope_compat.configs import LegacyNames, RopeSpec, rope_specs
from rope_compat.errors import RopeCompatError, RopeConfigError

FOLDER = Path(__file__).parents[1] / "configs"
HEADS = {"hidden_size": 64, "num_attention_heads": 4}
FULL, SLIDING = "full_attention", "sliding_attention"


class Config:
    """Like a configuration class, in what is read of it."""

    model_type = "small"
    attribute_map: ClassVar[dict[str, str]] = {}

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)

    @property
    def rope_scaling(self) -> Any:
        raise AssertionError("properties are not asked")


def test_a_plain_theta() -> None:
    spec = RopeSpec.of({"rope_theta": 500000.0, "rope_scaling": None, **HEADS})
    assert spec == RopeSpec(theta=500000.0, head_dim=16)
    assert spec.rope_parameters() == {"rope_type": "default", "rope_theta": 500000.0}
    assert spec.legacy() == {"rope_theta": 500000.0, "rope_scaling": None}


@pytest.mark.parametrize(
    "name",
    [
        "rope_theta",
        "global_rope_theta",
        "rotary_emb_base",
        "rotary_embedding_base",
        "rotary_base",
        "rope_base",
    ],
)
def test_theta_has_had_many_names(name: str) -> None:
    assert RopeSpec.of({name: 2e4}).theta == 2e4
    assert RopeSpec.of({name: 2e4}).fields() == {name: 2e4}


@pytest.mark.parametrize("name", ["partial_rotary_factor", "rotary_pct", "rope_pct"])
def test_so_has_the_rotated_part(name: str) -> None:
    spec = RopeSpec.of({name: 0.25, "rope_theta": 1e4})
    assert spec.partial_rotary_factor == 0.25
    assert spec.rope_parameters()["partial_rotary_factor"] == 0.25


def test_theta_in_the_attention_of_dbrx() -> None:
    assert RopeSpec.of({"attn_config": {"rope_theta": 5e5}}).theta == 5e5
    assert RopeSpec.of({"attn_config": Config(rope_theta=5e5)}).theta == 5e5
    assert RopeSpec.of({"attn_config": None}).theta is None


def test_lfm2_prefers_the_name_of_its_first_checkpoints() -> None:
    assert RopeSpec.of({"model_type": "lfm2", "theta": 5.0, "rope_theta": 1e6}).theta == 5.0
    assert RopeSpec.of({"model_type": "other", "theta": 5.0, "rope_theta": 1e6}).theta == 1e6


@pytest.mark.parametrize(
    ("fields", "factor", "head_dim"),
    [
        ({"rotary_dim": 64, "n_embd": 4096, "n_head": 16}, 0.25, 256),
        ({"rotary_dim": 64, "head_dim": 128}, 0.5, 128),
        # A rounded factor means the same dimension.
        ({"rotary_dim": 64, "head_dim": 192, "partial_rotary_factor": 0.3334}, 0.3334, 192),
    ],
)
def test_rotary_dim_is_a_part_of_the_head(fields: dict[str, Any], factor: float, head_dim: int) -> None:
    spec = RopeSpec.of(fields)
    assert (spec.partial_rotary_factor, spec.head_dim) == (factor, head_dim)


def test_rotary_dim_of_an_unknown_head_is_kept() -> None:
    assert RopeSpec.of({"rotary_dim": 64}).parameters == {"rotary_dim": 64}


@pytest.mark.parametrize(
    ("fields", "head_dim"),
    [
        ({**HEADS}, 16),
        ({**HEADS, "head_dim": 32}, 32),
        ({**HEADS, "head_dim": None}, 16),
        ({"d_model": 64, "n_heads": 2}, 32),
        ({**HEADS, "qk_rope_head_dim": 8}, 8),
        ({**HEADS, "head_dim": 24, "qk_rope_head_dim": 8}, 8),
        # The rotated part of a head, said twice.
        ({"head_dim": 24, "qk_rope_head_dim": 6, "partial_rotary_factor": 0.25}, 24),
        ({"hidden_size": 64}, None),
        ({"hidden_size": [64, 32], "num_attention_heads": 4}, None),
    ],
)
def test_head_dim_is_what_the_configuration_says(fields: dict[str, Any], head_dim: int | None) -> None:
    assert RopeSpec.of(fields).head_dim == head_dim


@pytest.mark.parametrize("key", ["type", "rope_type"])
@pytest.mark.parametrize("container", ["rope_scaling", "rope_parameters"])
def test_the_type_has_two_keys(key: str, container: str) -> None:
    spec = RopeSpec.of({container: {key: "linear", "factor": 2.0}})
    assert (spec.rope_type, spec.parameters) == ("linear", {"factor": 2.0})


@pytest.mark.parametrize(
    ("scaling", "rope_type"),
    [
        ({"type": "su", "short_factor": [1.0], "long_factor": [2.0]}, "longrope"),
        ({"type": "su", "rope_type": "longrope"}, "longrope"),
        # Phi-3's yarn of 4.41; no other yarn has these keys.
        ({"type": "yarn", "short_factor": [1.0], "long_factor": [2.0]}, "longrope"),
        ({"type": "yarn", "factor": 2.0}, "yarn"),
        ({"type": "mrope", "mrope_section": [2, 3, 3]}, "default"),
        ({"type": "mrope", "rope_type": "default", "mrope_section": [2, 3, 3]}, "default"),
        ({"rope_type": None, "factor": 2.0}, "default"),
        ({"rope_type": "somebody's own", "x": {"y": 1}}, "somebody's own"),
    ],
)
def test_types_have_one_name(scaling: dict[str, Any], rope_type: str) -> None:
    spec = RopeSpec.of({"rope_scaling": scaling})
    assert spec.rope_type == rope_type
    assert spec.fields() == {"rope_scaling": scaling}
    others = {key: value for key, value in scaling.items() if key not in ("type", "rope_type")}
    assert spec.parameters == others


def test_the_length_beside_the_dictionary_belongs_to_longrope() -> None:
    fields = {"rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}}
    length = {"original_max_position_embeddings": 4096}
    spec = RopeSpec.of({**fields, **length})
    assert spec.parameters["original_max_position_embeddings"] == 4096
    names = LegacyNames(original_max=True, type_key="type")
    assert spec.legacy(names) == {**fields, **length}
    # Phi-3 without scaling has the field as well, where it says nothing.
    assert RopeSpec.of({"rope_theta": 1e4, **length}).parameters == {}


def test_nothing_is_filled_in() -> None:
    spec = RopeSpec.of({"rope_scaling": {"type": "linear", "factor": 2.0}})
    assert spec.theta is None
    assert "rope_theta" not in spec.rope_parameters()
    assert "rope_theta" not in spec.legacy()
    assert RopeSpec.of({}).is_empty
    assert RopeSpec.of({**HEADS}).is_empty
    assert not spec.is_empty


CONTRADICTIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e6}}, "rope_theta=10000.0", "1000000.0"),
    ({"rope_theta": 1e4, "rotary_emb_base": 2e4}, "rope_theta=10000.0", "rotary_emb_base=20000.0"),
    ({"rope_scaling": {"type": "linear", "rope_type": "yarn"}}, "'type'", "'rope_type'"),
    (
        {
            "rope_scaling": {"type": "linear", "factor": 2.0},
            "rope_parameters": {"type": "linear", "factor": 4.0},
        },
        "rope_scaling['factor']=2.0",
        "rope_parameters['factor']=4.0",
    ),
    ({"partial_rotary_factor": 0.5, "rotary_pct": 0.25}, "partial_rotary_factor=0.5", "rotary_pct=0.25"),
    ({"partial_rotary_factor": 0.5, "rotary_dim": 4, "head_dim": 16}, "=0.5", "rotary_dim"),
    (
        {
            "original_max_position_embeddings": 4096,
            "rope_scaling": {"type": "yarn", "original_max_position_embeddings": 8192},
        },
        "=4096",
        "=8192",
    ),
    (
        {"rope_theta": 1e4, "rope_parameters": {FULL: {"rope_theta": 1e6}, SLIDING: {"rope_theta": 1e4}}},
        "rope_theta=10000.0",
        "'full_attention'",
    ),
    (
        {
            "rope_theta": 1e6,
            "rope_local_base_freq": 3.0,
            "rope_parameters": {FULL: {"rope_theta": 1e6}, SLIDING: {"rope_theta": 1e4}},
        },
        "rope_local_base_freq=3.0",
        "'sliding_attention'",
    ),
]


@pytest.mark.parametrize(("fields", "first", "second"), CONTRADICTIONS)
def test_contradictions_are_refused_with_both_names(fields: dict[str, Any], first: str, second: str) -> None:
    with pytest.raises(RopeConfigError) as caught:
        RopeSpec.of(fields)
    assert first in str(caught.value)
    assert second in str(caught.value)
    assert isinstance(caught.value, (RopeCompatError, ValueError))


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"rope_scaling": "linear"}, "rope_scaling='linear'"),
        ({"rope_scaling": {"type": 3}}, "rope_type=3"),
        ({"rope_theta": "1e6"}, "theta='1e6'"),
        ({"rope_theta": True}, "theta=True"),
        ({"partial_rotary_factor": [0.5]}, "partial rotary factor=[0.5]"),
    ],
)
def test_what_is_no_such_thing_is_refused(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(RopeConfigError, match="expected") as caught:
        RopeSpec.of(fields)
    assert word in str(caught.value)


def test_the_default_that_some_releases_save_beside_the_value_does_not_count() -> None:
    fields = {
        "partial_rotary_factor": 0.5,
        "rope_parameters": {"partial_rotary_factor": 0.25, "rope_theta": 1e4, "rope_type": "default"},
    }
    assert RopeSpec.of(fields).partial_rotary_factor == 0.25


GEMMA3 = {
    "rope_theta": 1e6,
    "rope_local_base_freq": 1e4,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
}
NESTED = {
    FULL: {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
    SLIDING: {"rope_type": "default", "rope_theta": 1e4},
}


def test_two_kinds_of_layers_in_both_styles() -> None:
    old, new = RopeSpec.of(GEMMA3), RopeSpec.of({"rope_parameters": NESTED})
    assert old == new
    assert old.is_nested
    assert old.rope_parameters() == NESTED
    assert new.legacy() == GEMMA3
    assert new.legacy(LegacyNames.of(GEMMA3)) == GEMMA3


def test_modernbert_scales_both_kinds() -> None:
    old = {
        "global_rope_theta": 1e6,
        "local_rope_theta": 1e4,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    }
    spec = RopeSpec.of(old)
    assert {name: layer.rope_type for name, layer in spec.layers.items() if layer} == {
        FULL: "linear",
        SLIDING: "linear",
    }
    assert spec.legacy(LegacyNames.of(old)) == old
    assert RopeSpec.of({"global_rope_theta": 1e6, "local_rope_theta": None}).for_layer(SLIDING).theta == 1e6


def test_olmo3_scales_full_attention_alone() -> None:
    old = {"model_type": "olmo3", "rope_theta": 5e5, "rope_scaling": {"rope_type": "yarn", "factor": 8.0}}
    spec = RopeSpec.of(old)
    assert spec.for_layer(FULL).rope_type == "yarn"
    assert spec.for_layer(SLIDING) == RopeSpec(theta=5e5)
    assert {"model_type": "olmo3", **spec.fields()} == old
    changed = replace(
        spec, layers={FULL: replace(spec.for_layer(FULL), theta=7.0), SLIDING: RopeSpec(theta=7.0)}
    )
    assert changed.fields()["rope_theta"] == 7.0


def test_layers_fall_back_on_what_stands_beside_them() -> None:
    spec = RopeSpec.of(
        {"rope_parameters": {FULL: {"rope_type": "default"}, SLIDING: None, "rope_theta": 3e4}}
    )
    assert spec.for_layer(FULL).theta == 3e4
    with pytest.raises(RopeConfigError, match="no rotary embedding"):
        spec.for_layer(SLIDING)


def test_leftovers_beside_layers_say_nothing() -> None:
    # 5.0 to 5.3 save these.
    polluted = {**NESTED, "rope_theta": 10000.0, "rope_type": "default"}
    assert RopeSpec.of({"rope_parameters": polluted}) == RopeSpec.of(GEMMA3)
    assert RopeSpec.of({"rope_parameters": polluted}).fields() == {"rope_parameters": polluted}


def test_layer_types_with_other_names() -> None:
    fields = {
        "layer_types": ["near", "far"],
        "rope_parameters": {"near": {"rope_theta": 1.0}, "far": {"rope_theta": 2.0}},
    }
    assert RopeSpec.of(fields).for_layer("far").theta == 2.0
    labels = {
        "_rope_type_labels": ("main", "compress"),
        "rope_parameters": {"main": {}, "compress": {"rope_theta": 2.0}},
    }
    assert RopeSpec.of(Config(**labels)).for_layer("compress").theta == 2.0


def test_a_layer_has_to_be_named_where_they_differ() -> None:
    nested, flat = RopeSpec.of(GEMMA3), RopeSpec.of({"rope_theta": 1e4})
    assert flat.for_layer(None) is flat
    assert flat.for_layer(FULL) is flat
    for layer_type in (None, "linear_attention"):
        with pytest.raises(RopeConfigError, match="full_attention, sliding_attention"):
            nested.for_layer(layer_type)


LOST: list[tuple[dict[str, Any], LegacyNames, list[str]]] = [
    ({"rope_theta": 2e4}, LegacyNames(theta=None), ["rope_theta=20000.0"]),
    ({"partial_rotary_factor": 0.5}, LegacyNames(partial_rotary_factor=None), ["partial_rotary_factor=0.5"]),
    ({"partial_rotary_factor": 1.0}, LegacyNames(partial_rotary_factor=None), []),
    ({"rope_scaling": {"type": "yarn", "factor": 2.0}}, LegacyNames(scaling=False), ["rope_type='yarn'"]),
    (
        {"rope_scaling": {"type": "yarn", "factor": 2.0}},
        LegacyNames(types=frozenset({"linear"})),
        ["rope_type='yarn'"],
    ),
    (
        {"rope_scaling": {"type": "yarn", "factor": 2.0, "beta_fast": 24.0}},
        LegacyNames(scaling_keys=frozenset({"factor"})),
        ["beta_fast=24.0"],
    ),
    (
        GEMMA3,
        LegacyNames(),
        ["sliding_attention: rope_theta=10000.0", "sliding_attention: rope_type='default'"],
    ),
    (
        {"rope_parameters": {FULL: {"rope_theta": 2.0}, SLIDING: None}},
        LegacyNames(),
        [f"{SLIDING}: no rotary"],
    ),
    (
        {"rope_theta": 2.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
        LegacyNames.of(GEMMA3),
        ["sliding_attention: rope_type='linear'", "sliding_attention: factor=2.0"],
    ),
]


@pytest.mark.parametrize(("fields", "names", "lost"), LOST)
def test_what_cannot_be_expressed_is_named(
    fields: dict[str, Any], names: LegacyNames, lost: list[str]
) -> None:
    spec = RopeSpec.of(fields)
    found = spec.lost(names)
    assert len(found) >= len(lost)
    for each in lost:
        assert any(entry.startswith(each) for entry in found), (each, found)
    if found:
        with pytest.raises(RopeConfigError) as caught:
            spec.legacy(names)
        assert all(entry in str(caught.value) for entry in found)
    else:
        spec.legacy(names)


def test_equal_layers_fit_a_class_with_one_theta() -> None:
    layers = {
        name: {"rope_theta": 2.0, "rope_type": "linear", "factor": 2.0} for name in (FULL, SLIDING, "far")
    }
    spec = RopeSpec.of({"layer_types": ["far"], "rope_parameters": layers})
    assert spec.legacy(LegacyNames.of(("rope_theta", "rope_scaling"))) == {
        "rope_theta": 2.0,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    }


def test_a_class_says_how_it_spells() -> None:
    spec = RopeSpec.of({"rope_parameters": {"rope_type": "longrope", "factor": 2, "rope_theta": 1.0}})
    names = LegacyNames(type_key="both", type_names=(("longrope", "su"),), floats=True)
    scaling = spec.legacy(names)["rope_scaling"]
    assert scaling == {"rope_type": "su", "type": "su", "factor": 2.0}
    assert isinstance(scaling["factor"], float)


def test_what_is_written_is_a_copy() -> None:
    fields = {
        "rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]},
        "rope_theta": 1e4,
    }
    before = copy.deepcopy(fields)
    spec = RopeSpec.of(fields)
    for written in (spec.rope_parameters(), spec.legacy()["rope_scaling"], spec.fields()["rope_scaling"]):
        written["short_factor"].append(5.0)
    fields["rope_scaling"]["short_factor"].append(6.0)  # type: ignore[index]
    assert spec.parameters["short_factor"] == [1.0]
    assert spec == RopeSpec.of(before)


def test_a_changed_specification_is_written_in_its_own_spelling() -> None:
    neox = RopeSpec.of({"rotary_emb_base": 1e4, "rotary_pct": 0.25})
    assert replace(neox, theta=2e4).fields() == {"rotary_emb_base": 2e4, "rotary_pct": 0.25}
    gptj = RopeSpec.of({"rotary_dim": 64, "n_embd": 4096, "n_head": 16})
    assert replace(gptj, partial_rotary_factor=0.5).fields() == {"rotary_dim": 128}
    with pytest.raises(RopeConfigError, match="rope_type='linear'"):
        replace(neox, rope_type="linear").fields()
    new = RopeSpec.of({"rope_parameters": {"rope_theta": 1.0, "type": "default"}})
    assert replace(new, theta=2.0).fields() == {
        "rope_parameters": {"rope_type": "default", "rope_theta": 2.0}
    }
    assert replace(RopeSpec(), theta=2.0).fields()["rope_parameters"]["rope_theta"] == 2.0


def test_objects_are_read_as_they_are_stored() -> None:
    # On 5.x `rope_scaling` is a property, and code may set what transformers does not look at.
    assert RopeSpec.of(Config(rope_parameters={"rope_theta": 2.0})).theta == 2.0

    class Old(Config):
        rope_theta = 5.0
        attribute_map: ClassVar[dict[str, str]] = {"hidden_size": "n_embd", "num_attention_heads": "n_head"}

    old = Old(n_embd=64, n_head=4)
    assert (RopeSpec.of(old).theta, RopeSpec.of(old).head_dim) == (5.0, 16)
    assert RopeSpec.of(SimpleNamespace(rope_theta=3.0)).theta == 3.0
    assert RopeSpec.of(RopeSpec(theta=4.0)) == RopeSpec(theta=4.0)


def test_sub_configurations_are_followed() -> None:
    config = Config(
        text_config=Config(rope_theta=1.0, sub=Config()),
        thinker_config={"text_config": {"rope_theta": 2.0}, "audio_config": {"x": 1}},
        rope_scaling_of_others={"a": {"b": 1}},
        quantization_config={"bits": 4},
    )
    found = rope_specs(config)
    assert {path: spec.theta for path, spec in found.items()} == {
        "text_config": 1.0,
        "thinker_config.text_config": 2.0,
    }
    assert rope_specs({"rope_theta": 1.0})[""].theta == 1.0
    with pytest.raises(RopeConfigError, match=r"^text_config: .*two values"):
        rope_specs({"text_config": {"rope_theta": 1.0, "rotary_emb_base": 2.0}})


def test_a_configuration_that_contains_itself_ends() -> None:
    config = Config(rope_theta=1.0)
    config.again = config  # type: ignore[attr-defined]
    assert set(rope_specs(config)) == {""}


SAVED = [
    (release, name)
    for release in BOUNDARIES
    for name in CASES
    if (FOLDER / release / f"{name}.json").exists()
]


@pytest.mark.parametrize("release", BOUNDARIES)
def test_what_each_release_has_saved_is_what_was_given(release: str) -> None:
    names = [name for saved, name in SAVED if saved == release]
    assert len(names) > 10
    for name in names:
        case = CASES[name]
        found = rope_specs(json.loads((FOLDER / release / f"{name}.json").read_text()))[case.inside]
        wanted = case.new[FULL] if case.is_flat(release) else case.new
        missing = not_said(RopeSpec.of({"rope_parameters": wanted}), found)
        # 5.0.0 to 5.4.0 put 0.25 in place of what rope_parameters say.
        lost = ["partial_rotary_factor=0.5"] if name.startswith("gpt_neox") and release == "5.3.0" else []
        assert missing == lost, (release, name)


def test_no_import_of_torch_or_transformers() -> None:
    code = (
        "import sys; from rope_compat.configs import RopeSpec, rope_specs, LegacyNames; "
        "RopeSpec.of({'rope_theta': 1.0}).legacy(); "
        "assert not {'torch', 'transformers'} & set(sys.modules), 'imported too much'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
