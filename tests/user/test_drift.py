"""``patch(written_for=..., numbers="written_for")``: the logits of the other release, where asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.drift_cases import CASES, RELEASES, goldens, has_case, logits, make
from support.installed import LLAMA, QWEN2_VL, RELEASE, has_module, load
from support.lanes import CONTRACT
from support.rope_configs import UTILS
from torch import Tensor

import rope_compat
from rope_compat._rules import other_numbers
from rope_compat._rules.options import Options
from rope_compat._rules.selection import Selection
from rope_compat.errors import IncompatibleVersionError, SkippedTargetWarning

HERE = Version(RELEASE)
GOLDENS = goldens()
#: As in test_custom_models.py: sums are taken in another order on another CPU.
ULPS = {"bfloat16": 4}
only_5x = pytest.mark.only(Version("5.0.0") <= HERE, "rope_parameters came with 5.0.0")
has_utils = pytest.mark.only(has_module(UTILS), "the module came with 4.43.0")


def can_be_had(name: str, release: str) -> bool:
    """Whether the installed release can be made to give the numbers of `release`."""
    if not has_case(name, RELEASE) or release not in GOLDENS[name]:
        return False
    if name == "bfloat16":
        return (Version("4.38.0") <= HERE) >= (Version(release) >= Version("4.38.0"))
    if Version("4.43.0") <= HERE:
        return True
    # Up to 4.42 dynamic NTK cannot be moved: the releases that compute as the installed one does are left.
    there = Version(release)
    if Version("4.38.0") > HERE:
        return there < Version("4.38.0")
    return any(Version(first) <= there < Version(end) for first, end in STALE)


#: Releases in which dynamic NTK keeps the frequencies of the last long text.
STALE = (("4.38.0", "4.43.0"), ("5.0.0", "5.13.0"))


@pytest.fixture(scope="module")
def native() -> dict[str, list[Tensor]]:
    """What the release gives without rope_compat."""
    load(LLAMA)
    assert not rope_compat.status().active
    return {name: logits(make(name, RELEASE)) for name in CASES if has_case(name, RELEASE)}


def assert_golden(found: list[Tensor], name: str, release: str) -> None:
    for row, (value, stored) in enumerate(zip(found, GOLDENS[name][release], strict=True)):
        expected = torch.tensor(stored)
        eps = torch.finfo(torch.bfloat16 if name in ULPS else torch.float32).eps
        allowed = ULPS.get(name, 64) * eps * float(expected.abs().max())
        difference = float((value - expected).abs().max())
        assert difference <= allowed, f"{name}, text {row}: {release} computed other logits, by {difference}"


#: Those of 4.55 differ in one case, which is held against 4.53 and 4.57 as well.
@pytest.mark.parametrize("release", [release for release in RELEASES if release != "4.55.4"])
def test_the_numbers_of_the_release_that_was_asked_for(release: str) -> None:
    names = [name for name in CASES if can_be_had(name, release)]
    assert names or (Version("4.43.0") > HERE)
    load(LLAMA)
    with rope_compat.patched(written_for=release, numbers="written_for", on_problem="ignore"):
        for name in names:
            assert_golden(logits(make(name, RELEASE)), name, release)


@pytest.mark.parametrize("release", ["4.49.0", "5.0.0"])
def test_native_to_the_bit_where_they_were_not_asked_for(
    release: str, native: dict[str, list[Tensor]]
) -> None:
    with rope_compat.patched(written_for=release, on_problem="ignore") as patch:
        for name, expected in native.items():
            assert all(map(torch.equal, logits(make(name, RELEASE)), expected)), name
        assert not any(entry.rule.startswith("numbers-") for entry in patch.journal)


@has_utils
def test_goldens_tell_releases_apart(native: dict[str, list[Tensor]]) -> None:
    # Or giving the installed release's numbers would pass for giving the other's.
    for release in RELEASES:
        near = [name for name in native if release in GOLDENS[name] and name != "bfloat16"]
        differing = [
            name
            for name in near
            if max(
                float((value - torch.tensor(stored)).abs().max())
                for value, stored in zip(native[name], GOLDENS[name][release], strict=True)
            )
            > 0.05
        ]
        options = Options(Version(release), RELEASE, Selection(None), numbers="written_for")
        shims = {shim.name for shim in other_numbers.chosen(options)}
        due = {kind for shim, kind in MEASURED.items() if shim in shims} & kinds(near)
        # Yarn of 5.0.0 differs where the original length stands beside the dictionary, which no golden has.
        assert kinds(differing) <= due, (release, differing)
        assert due - {"yarn"} <= kinds(differing), (release, differing)


MEASURED = {"numbers-yarn": "yarn", "numbers-longrope": "longrope", "numbers-dynamic-ntk-state": "dynamic"}


def kinds(names: list[str]) -> set[str]:
    return {name.partition("_")[0] for name in names}


@pytest.mark.parametrize("release", ["4.36.2", "5.0.0"])
def test_undoing_puts_everything_back(release: str, native: dict[str, list[Tensor]]) -> None:
    module = load(LLAMA)
    held = dict(vars(module.LlamaRotaryEmbedding))
    table = dict(load(UTILS).ROPE_INIT_FUNCTIONS) if has_module(UTILS) else {}
    with rope_compat.patched(written_for=release, numbers="written_for", on_problem="ignore"):
        pass
    assert dict(vars(module.LlamaRotaryEmbedding)) == held
    if table:
        assert table == load(UTILS).ROPE_INIT_FUNCTIONS
    for name in ("dynamic", "yarn_factor"):
        if name in native:
            assert all(map(torch.equal, logits(make(name, RELEASE)), native[name]))


@has_utils
def test_the_default_type_keeps_its_bits() -> None:
    load(LLAMA)
    inputs = torch.zeros(1, 4, 8), torch.arange(4)[None]
    from transformers import LlamaConfig

    config = LlamaConfig(hidden_size=32, num_attention_heads=2, num_key_value_heads=2)

    def cos() -> Tensor:
        cls = load(LLAMA).LlamaRotaryEmbedding
        found: Tensor = cls(config=config)(*inputs)[0]
        return found

    expected = cos()
    other = "4.49.0" if Version("5.0.0") <= HERE else "5.0.0"
    with rope_compat.patched(written_for=other, numbers="written_for", on_problem="ignore"):
        assert torch.equal(cos(), expected)


@pytest.mark.only(Version("4.51.0") <= HERE, "Phi-3 has the decorator from 4.51.0 on")
def test_phi3_chose_by_the_text_in_every_release() -> None:
    modeling = load("transformers.models.phi3.modeling_phi3")
    from transformers import Phi3Config

    factors = {"short_factor": [1.0, 1.5, 2.0, 2.5], "long_factor": [3.0, 4.0, 5.0, 6.0]}
    config = Phi3Config(
        hidden_size=16,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        original_max_position_embeddings=16,
        rope_scaling={"type": "longrope", **factors},
        pad_token_id=0,
    )

    def tables() -> list[Tensor]:
        rotary = modeling.Phi3RotaryEmbedding(config=config)
        return [rotary(torch.zeros(1), torch.arange(length)[None])[0] for length in (8, 40)]

    expected = tables()
    for release in ("4.47.1", "4.49.0"):
        with rope_compat.patched(written_for=release, numbers="written_for", on_problem="ignore"):
            assert all(map(torch.equal, tables(), expected))


@only_5x
@pytest.mark.parametrize(("release", "part"), [("5.3.0", 0.25), ("5.23.0", 0.5)])
def test_the_rotated_part_of_gpt_neox(release: str, part: float) -> None:
    make_config = load("transformers.models.gpt_neox.configuration_gpt_neox").GPTNeoXConfig
    given = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    with rope_compat.patched(written_for=release, numbers="written_for", on_problem="ignore"):
        for name in ("rope_parameters", "rope_scaling"):
            config = make_config(hidden_size=32, num_attention_heads=2, **{name: dict(given)})
            assert config.rope_parameters["partial_rotary_factor"] == part
        stated = make_config(hidden_size=32, num_attention_heads=2, rotary_pct=0.75)
        assert stated.rope_parameters["partial_rotary_factor"] == 0.75
    assert given == {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}


@pytest.fixture
def refusals() -> Iterator[Callable[[str], str]]:
    """What is warned of when Qwen2-VL's numbers of a release are asked for."""
    load(QWEN2_VL)

    def told(release: str) -> str:
        with pytest.warns(SkippedTargetWarning) as warned:  # noqa: SIM117 - one after the other
            with rope_compat.patched(written_for=release, numbers="written_for"):
                pass
        return "\n".join(str(each.message) for each in warned)

    return told


@pytest.mark.only(Version("4.57.0") <= HERE and has_module(QWEN2_VL), "both differences lie before")
def test_what_cannot_be_given_is_refused_by_name(refusals: Callable[[str], str]) -> None:
    text = refusals("4.46.3")
    assert "Qwen2VLModel.get_rope_index" in text
    assert "pass position_ids" in text
    assert "Qwen2VLModel.forward" not in text
    assert "temporal positions for packing marks" in refusals("4.55.4")
    with pytest.raises(IncompatibleVersionError, match="get_rope_index"):
        rope_compat.patch(written_for="4.46.3", numbers="written_for", on_problem="error")


@pytest.mark.lane(CONTRACT)
@pytest.mark.only(Version("4.38.0") <= HERE < Version("4.43.0"), "classes of their own, up to 4.42.4")
def test_the_state_of_early_classes_is_refused() -> None:
    load(LLAMA)
    with (
        pytest.warns(SkippedTargetWarning, match="LlamaDynamicNTKScalingRotaryEmbedding is left alone"),
        rope_compat.patched(written_for="4.49.0", numbers="written_for"),
    ):
        pass


def test_a_plan_tells_whose_numbers() -> None:
    plans = [rope_compat.plan(written_for="4.49.0", numbers=whose) for whose in ("installed", "written_for")]
    assert plans[0].digest != plans[1].digest
    assert ("numbers", "written_for") in plans[1].options
    assert "numbers" not in dict(plans[0].options)
    there: dict[str, Any] = json.loads(json.dumps(plans[1].to_dict()))
    assert any(shim["name"] == "numbers-refused" for shim in there["shims"])
