"""The records of what drifts between releases: whom they touch, how far, and that the releases are right."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest

import rope_compat
from rope_compat import catalog
from rope_compat._facts import regimes
from rope_compat._facts.drift import DRIFTS
from rope_compat._rules import other_numbers
from rope_compat._verify.drift import known_drift
from rope_compat.configs.spec import RopeSpec
from rope_compat.errors import ArgumentError, RopeConfigError

UTILS = "transformers.modeling_rope_utils"
SIZES = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "max_position_embeddings": 4096,
    "rope_theta": 10000.0,
    "model_type": "llama",
}
INSIDE = {"original_max_position_embeddings": 1024}
FACTORS = {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8}


def scaled(rope_type: str, **more: Any) -> dict[str, Any]:
    return {"rope_scaling": {"rope_type": rope_type, **more}}


YARN = scaled("yarn", factor=4.0)
GPT_NEOX = {"model_type": "gpt_neox"}
#: What a record touches, and what is next to it and is not touched.
TOUCHED: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "yarn-original-length": (scaled("yarn", factor=4.0, **INSIDE), [YARN, {**YARN, **INSIDE}, {}]),
    "yarn-factor": (scaled("yarn", factor=8.0, **INSIDE), [scaled("yarn", factor=4.0, **INSIDE), YARN]),
    "yarn-mscale": (
        scaled("yarn", factor=4.0, mscale=1.0, mscale_all_dim=0.5),
        [
            YARN,
            scaled("yarn", factor=4.0, mscale=1.0),
            scaled("yarn", factor=4.0, mscale=1.0, mscale_all_dim=0.5, attention_factor=1.0),
        ],
    ),
    "yarn-truncate": (
        scaled("yarn", factor=4.0, truncate=False),
        [YARN, scaled("yarn", factor=4.0, truncate=True)],
    ),
    "longrope-choice": (
        scaled("longrope", factor=4.0, **FACTORS),
        [YARN, {**scaled("longrope", **FACTORS), **INSIDE, "model_type": "phi3"}],
    ),
    "longrope-original-length": (
        scaled("longrope", factor=4.0, **FACTORS, **INSIDE),
        [scaled("longrope", factor=4.0, **FACTORS), {**scaled("longrope", factor=4.0, **FACTORS), **INSIDE}],
    ),
    "longrope-factor": (
        {**scaled("longrope", factor=8.0, **FACTORS), **INSIDE},
        [
            {**scaled("longrope", factor=4.0, **FACTORS), **INSIDE},
            {**scaled("longrope", factor=8.0, attention_factor=1.1, **FACTORS), **INSIDE},
            scaled("longrope", factor=8.0, **FACTORS),
        ],
    ),
    "dynamic-ntk-state": (scaled("dynamic", factor=2.0), [scaled("linear", factor=2.0)]),
    "gpt-neox-partial-factor": (
        {**GPT_NEOX, "rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        [
            {**GPT_NEOX, "rotary_pct": 0.5},
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        ],
    ),
    "half-precision-frequencies": (
        {"torch_dtype": "bfloat16"},
        [{}, {"dtype": "float32"}, {"model_type": "gptj", "dtype": "float16"}],
    ),
    "qwen-vl-positions": ({"model_type": "qwen2_vl"}, [{"model_type": "qwen2_5_vl"}]),
    "qwen-vl-masks": ({"model_type": "qwen2_5_vl"}, [{"model_type": "qwen2"}]),
    "qwen-vl-3d-positions": ({"model_type": "qwen2_vl"}, [{"model_type": "qwen2"}]),
    "glm4v-cos-layout": ({"model_type": "glm4v"}, [{"model_type": "glm4"}]),
}
RECORDS = {drift.name: drift for drift in DRIFTS}


def faults(config: Any, release: str, model_type: str | None = None) -> list[str]:
    return [item.fault for item in known_drift(config, model_type, release)]


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_touches_what_it_is_about_and_nothing_else(name: str) -> None:
    touched, others = TOUCHED[name]
    last = RECORDS[name].spans[-1].first.format(first="4.38.0")
    assert name in faults({**SIZES, **touched}, last)
    for other in others:
        assert name not in faults({**SIZES, **other}, last), other
    assert set(TOUCHED) == set(RECORDS)


@pytest.mark.parametrize("name", [name for name in RECORDS if name != "half-precision-frequencies"])
def test_spans_are_releases_next_to_one_another(name: str) -> None:
    releases = catalog.releases()
    spans = RECORDS[name].spans
    for before, after in pairwise(spans):
        assert before.last is not None
        assert releases.index(after.first) == releases.index(before.last) + 1
        assert before.does != after.does
    assert spans[-1].last is None
    assert spans[0].first in releases


@pytest.mark.parametrize(
    ("firsts", "name"),
    [
        (regimes.YARN, "_compute_yarn_parameters"),
        (tuple(first for first in regimes.LONGROPE if first != "4.51.0"), "_compute_longrope_parameters"),
        (("4.51.0", *regimes.DYNAMIC[3:]), "dynamic_rope_update"),
    ],
)
def test_numbers_changed_where_the_code_did(firsts: tuple[str, ...], name: str) -> None:
    changed = {generation.first for generation in catalog.generations(UTILS, name)}
    assert changed.issuperset(firsts)


@pytest.mark.parametrize("model_type", regimes.TABLED)
def test_tables_went_when_the_records_say(model_type: str) -> None:
    module = f"transformers.models.{model_type}.modeling_{model_type}"
    names = {
        target.name for target in catalog.targets(f"{module}:*RotaryEmbedding.forward", kinds=["method"])
    }
    # The class has a short name in releases that are older than these.
    name = max((name for name in names if "Linear" not in name and "Dynamic" not in name), key=len)
    first = regimes.TABLED[model_type]
    tables = catalog.spans(module, name)
    before = [span for span in tables if span.signature == "(self, x, seq_len=None)"][-1]
    assert catalog.releases().index(before.last) + 1 == catalog.releases().index(first)
    assert faults({**SIZES, "model_type": model_type, "dtype": "bfloat16"}, first) == [
        "half-precision-frequencies"
    ]


def item_of(config: dict[str, Any], release: str, fault: str) -> rope_compat.Item:
    (item,) = [item for item in known_drift({**SIZES, **config}, None, release) if item.fault == fault]
    return item


def test_an_item_names_the_releases_the_size_and_the_way() -> None:
    item = item_of(scaled("yarn", factor=4.0, **INSIDE), "4.49.0", "yarn-original-length")
    assert (item.kind, item.status, item.position) == ("known drift", "note", 4095)
    assert "4.43.0 to 4.50.3" in item.reason
    assert "4.51.0 and later" in item.reason
    assert "src/transformers/modeling_rope_utils.py" in item.reason
    assert 'written_for="4.51.0", numbers="written_for"' in item.advice


def test_the_size_is_of_this_config() -> None:
    # Linear in the length, all else being equal: the whole ramp lies by the original length in both.
    sizes = [
        item_of(
            {**scaled("yarn", factor=8.0, **INSIDE), "max_position_embeddings": longest},
            "5.23.0",
            "yarn-factor",
        )
        for longest in (2048, 4096)
    ]
    assert all(size.max_error is not None and size.max_error > 1 for size in sizes)
    assert [size.position for size in sizes] == [2047, 4095]
    # 4.51 to 4.55 took a factor of 2 or 4: the slowest channels are divided by 8 here, and by those there.
    slowest = 10000.0 ** (-14 / 16)
    for size, factor in zip(sizes, (2, 4), strict=True):
        position = size.position or 0
        assert (size.max_error or 0) >= position * slowest * (1 / factor - 1 / 8) * 0.99


def test_longrope_is_sized_by_its_factors() -> None:
    item = item_of({**scaled("longrope", **FACTORS), **INSIDE}, "5.23.0", "longrope-choice")
    # The first channel turns by one radian a position, and by half of it with the long factors.
    assert item.max_error == pytest.approx(4095 / 2)


def test_a_stale_state_is_sized_by_the_longest_text() -> None:
    item = item_of(scaled("dynamic", factor=2.0), "5.0.0", "dynamic-ntk-state")
    theta = [10000.0 * stretch ** (16 / 14) for stretch in (1, 3)]
    expected = max(abs(theta[0] ** (-n / 8) - theta[1] ** (-n / 8)) for n in range(8)) * 4095
    assert item.max_error == pytest.approx(expected, rel=1e-4)
    assert 'written_for="5.13.0"' in item.advice


def test_what_frequencies_do_not_show_is_said_in_words() -> None:
    item = item_of(TOUCHED["yarn-mscale"][0], "5.23.0", "yarn-mscale")
    assert item.max_error == 0.0
    assert "cos and sin are scaled by 1.065 here and 1.139 there" in item.reason
    vision = item_of({"model_type": "qwen2_vl"}, "4.55.0", "qwen-vl-masks")
    assert vision.max_error is None
    assert "logits of a tiny model: 4.5" in vision.reason
    assert vision.advice == "pass attention_mask"


def test_configs_inside_configs_and_layer_types() -> None:
    inner = {**SIZES, **scaled("yarn", factor=4.0, **INSIDE), "model_type": "qwen2_vl_text"}
    outer = {"model_type": "qwen2_vl", "text_config": inner}
    found = {item.name for item in known_drift(outer, None, "4.55.0")}
    assert {"text_config: yarn-original-length", "qwen-vl-masks"} <= found
    layered = {
        **{key: value for key, value in SIZES.items() if key != "rope_theta"},
        "layer_types": ["full_attention", "sliding_attention"],
        "rope_parameters": {
            "full_attention": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, **INSIDE},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    }
    assert [item.name for item in known_drift(layered, None, "5.23.0")] == [
        "full_attention: yarn-original-length"
    ]


def test_a_spec_alone_gives_no_length_and_no_size() -> None:
    spec = RopeSpec.of({**SIZES, **scaled("yarn", factor=4.0, **INSIDE)})
    (item,) = known_drift(spec, "llama", "4.49.0")
    assert (item.fault, item.max_error, item.position) == ("yarn-original-length", None, None)


def test_releases_that_have_no_such_type_do_not_drift() -> None:
    for touched, _ in (TOUCHED["yarn-factor"], TOUCHED["longrope-choice"]):
        assert faults({**SIZES, **touched}, "4.42.4") == []
    # Nothing is known against the plain type anywhere.
    for release in catalog.releases():
        assert faults(SIZES, release) == []


def test_what_cannot_be_read() -> None:
    with pytest.raises(ArgumentError, match="version='abc' is not a version"):
        known_drift(SIZES, None, "abc")
    with pytest.raises(RopeConfigError):
        known_drift({**SIZES, "rope_parameters": {"rope_theta": 1.0}}, None, "5.0.0")


def test_asking_imports_no_transformers() -> None:
    code = (
        "import sys; from rope_compat._verify.drift import known_drift; "
        "known_drift({'model_type': 'qwen2_vl'}, None, '4.55.0'); "
        "sys.exit('transformers' in sys.modules or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numbers": "written_for"}, "pass written_for as well"),
        ({"numbers": "4.49", "written_for": "4.49"}, "expected 'installed' or 'written_for'"),
    ],
)
def test_whose_numbers_has_to_be_clear(
    options: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROPE_COMPAT_WRITTEN_FOR", raising=False)
    for function in (rope_compat.patch, rope_compat.plan):
        with pytest.raises(ArgumentError, match=message):
            function(**options)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("folder", "release", "written_for", "names"),
    [
        ("qwen2_vl", "5.23.0", "4.46.3", ["Qwen2VLModel.get_rope_index"]),
        ("qwen2_vl", "4.55.4", "4.46.3", ["Qwen2VLModel.get_rope_index", "Qwen2VLModel.forward"]),
        ("qwen2_5_vl", "4.57.0", "4.56.2", ["Qwen2_5_VLModel.forward"]),
        ("qwen2_vl", "5.23.0", "4.49.0", []),
        ("qwen2_vl", "5.23.0", "4.44.0", []),
        ("llama", "4.38.2", "4.49.0", ["LlamaDynamicNTKScalingRotaryEmbedding"]),
        ("llama", "4.38.2", "5.0.0", ["LlamaDynamicNTKScalingRotaryEmbedding"]),
        ("llama", "4.38.2", "4.40.0", []),
        ("llama", "5.23.0", "4.38.2", []),
    ],
)
def test_what_is_refused(folder: str, release: str, written_for: str, names: list[str]) -> None:
    assert [name for name, _ in other_numbers.refused(folder, release, written_for)] == names
