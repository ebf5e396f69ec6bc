"""Whatever a configuration says survives being read and written, in its own style and in the other one."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rope_compat._facts.config_fields import PARTIAL_FACTORS, THETAS
from rope_compat.configs import LegacyNames, RopeSpec
from rope_compat.errors import RopeConfigError

QUICK = settings(deadline=None, max_examples=150, database=None)
FULL, SLIDING = "full_attention", "sliding_attention"

numbers = st.integers(1, 10**9) | st.floats(1e-3, 1e9)
factors = st.floats(0.01, 1.0)
types = st.sampled_from(["default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional", "own"])
#: Keys that only look like parameters are kept as well.
keys = st.sampled_from(
    ["factor", "beta_fast", "mscale", "mrope_section", "original_max_position_embeddings", "alpha", "unknown"]
)
values = numbers | st.none() | st.booleans() | st.lists(numbers, max_size=3) | st.text(max_size=3)
parameters = st.dictionaries(keys, values, max_size=4)


@st.composite
def dictionaries(draw: st.DrawFn) -> dict[str, Any]:
    """One flat dictionary of parameters, spelled in any way."""
    found: dict[str, Any] = draw(parameters)
    spelling = draw(st.sampled_from(["type", "rope_type", "both", "none"]))
    name = draw(types | st.sampled_from(["su", "mrope"]))
    if spelling in ("type", "both"):
        found["type"] = name
    if spelling in ("rope_type", "both"):
        found["rope_type"] = name
    return found


@st.composite
def old_style(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of 4.x."""
    found: dict[str, Any] = {}
    if draw(st.booleans()):
        found[draw(st.sampled_from(THETAS))] = draw(numbers)
    if draw(st.booleans()):
        found[draw(st.sampled_from(PARTIAL_FACTORS))] = draw(factors)
    if draw(st.booleans()):
        found["rope_scaling"] = draw(dictionaries() | st.none())
    return found


@st.composite
def new_style(draw: st.DrawFn) -> dict[str, Any]:
    """`rope_parameters` of 5.x, flat or nested."""

    def one() -> dict[str, Any]:
        found = draw(dictionaries())
        if draw(st.booleans()):
            found["rope_theta"] = draw(numbers)
        if draw(st.booleans()):
            found["partial_rotary_factor"] = draw(factors)
        return found

    if draw(st.booleans()):
        return {"rope_parameters": one()}
    layers = draw(st.lists(st.sampled_from([FULL, SLIDING, "chunked_attention"]), min_size=1, unique=True))
    return {"rope_parameters": {name: one() if draw(st.booleans()) else None for name in layers}}


@st.composite
def specs(draw: st.DrawFn) -> RopeSpec:
    """A specification with nothing left to chance about how it was spelled."""

    def one() -> RopeSpec:
        return RopeSpec(
            theta=draw(st.none() | numbers),
            rope_type=draw(types),
            parameters=draw(parameters),
            partial_rotary_factor=draw(st.none() | factors),
        )

    if draw(st.booleans()):
        return one()
    return RopeSpec(layers={FULL: one(), SLIDING: one()})


def sizes() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from([{}, {"head_dim": 16}, {"hidden_size": 64, "num_attention_heads": 4}])


@QUICK
@given(old_style() | new_style(), sizes())
def test_what_was_read_is_written_as_it_was(fields: dict[str, Any], around: dict[str, Any]) -> None:
    before = copy.deepcopy(fields)
    written = RopeSpec.of({**around, **fields}).fields()
    assert written == before
    assert json.dumps(written) == json.dumps(before)
    assert fields == before


@QUICK
@given(old_style() | new_style(), sizes())
def test_nothing_is_lost_in_the_style_of_5(fields: dict[str, Any], around: dict[str, Any]) -> None:
    spec = RopeSpec.of({**around, **fields})
    assert RopeSpec.of({**around, "rope_parameters": spec.rope_parameters()}) == spec


@QUICK
@given(old_style() | new_style(), sizes(), st.sampled_from(["rope_type", "type", "both"]))
def test_the_style_of_4_loses_nothing_or_says_what(
    fields: dict[str, Any], around: dict[str, Any], type_key: str
) -> None:
    spec = RopeSpec.of({**around, **fields})
    local = "rope_local_base_freq" if spec.layers else None
    scaled = frozenset({FULL} if spec.layers else {FULL, SLIDING})
    names = LegacyNames(type_key=type_key, local_theta=local, scaled_layers=scaled)
    check(spec, names, around)


@QUICK
@given(
    specs(),
    st.builds(
        LegacyNames,
        theta=st.sampled_from([None, "rope_theta", "global_rope_theta"]),
        local_theta=st.sampled_from([None, "rope_local_base_freq"]),
        partial_rotary_factor=st.sampled_from([None, "partial_rotary_factor", "rotary_pct"]),
        scaling=st.booleans(),
        type_key=st.sampled_from(["rope_type", "type", "both"]),
        scaling_keys=st.none() | st.just(frozenset({"factor"})),
        types=st.none() | st.just(frozenset({"linear", "dynamic"})),
    ),
)
def test_so_does_every_class(spec: RopeSpec, names: LegacyNames) -> None:
    if names.local_theta:
        names = replace(names, theta="rope_theta", scaled_layers=frozenset({FULL}))
    check(spec, names, {})


def check(spec: RopeSpec, names: LegacyNames, around: dict[str, Any]) -> None:
    """Either the fields of 4.x say the same as `spec`, or the error has everything that they cannot say."""
    lost = spec.lost(names)
    if lost:
        with pytest.raises(RopeConfigError) as caught:
            spec.legacy(names)
        assert all(each in str(caught.value) for each in lost)
        return
    sliding = spec.layers.get(SLIDING)
    # It is the second theta that tells the layers apart; where nobody gives one, the class has to know.
    assume(not (names.local_theta and sliding is not None and spec.for_layer(SLIDING).theta is None))
    again = RopeSpec.of({**around, **spec.legacy(names)})
    for name in spec.layers or again.layers or {"": None}:
        if spec.layers and spec.layers[name] is None:
            continue
        wanted, given = (said(each.for_layer(name if each.layers else None)) for each in (spec, again))
        assert given == wanted


def said(spec: RopeSpec) -> dict[str, Any]:
    """What a specification says; None says nothing, and a part of 1.0 is the whole head."""
    found = {key: value for key, value in spec.rope_parameters().items() if value is not None}
    return {"partial_rotary_factor": 1.0, **found}


@QUICK
@given(old_style() | new_style())
def test_specifications_are_values(fields: dict[str, Any]) -> None:
    spec = RopeSpec.of(fields)
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert copy.deepcopy(spec) == spec
    assert RopeSpec.of(spec) is spec
