"""Each shim does something on the installed release exactly where it says so."""

from __future__ import annotations

import importlib

import accelerate.utils.modeling
import pytest
from packaging.version import Version
from support.installed import LLAMA, QWEN2_5_VL, QWEN2_VL, RELEASE, has_module, lacks_a_peer, load
from support.replacements import in_pairs

import rope_compat
from rope_compat import _api as api
from rope_compat._rules import rooms
from rope_compat._rules.shim import Shim

HERE = Version(RELEASE)
SAM3 = "transformers.models.sam3.modeling_sam3"
MODULES = (
    "accelerate.utils.modeling",
    "transformers",
    "transformers.cache_utils",
    "transformers.configuration_utils",
    "transformers.dynamic_module_utils",
    "transformers.modeling_rope_utils",
    "transformers.modeling_utils",
    "transformers.models.deepseek_v3.modeling_deepseek_v3",
    "transformers.models.evolla.modeling_evolla",
    "transformers.models.glm4v.modeling_glm4v",
    "transformers.models.gpt_neox.configuration_gpt_neox",
    "transformers.models.gpt_neox.modeling_gpt_neox",
    "transformers.models.granite.modeling_granite",
    "transformers.models.idefics.modeling_idefics",
    "transformers.models.jamba.modeling_jamba",
    SAM3,
    LLAMA,
    QWEN2_VL,
    QWEN2_5_VL,
)


#: Whatever is installed, one of these computed other numbers, by any of the shims for that.
OTHER_NUMBERS = ("4.37.2", "4.49.0", "5.3.0", "5.23.0")


def is_due(since: str, until: str | None) -> bool:
    return Version(Version(since).base_version) <= HERE and (until is None or Version(until) >= HERE)


@pytest.fixture(scope="module")
def at_work() -> set[str]:
    for module in MODULES:
        if has_module(module) and not lacks_a_peer(module):
            importlib.import_module(module)
    attention = load(LLAMA).LlamaAttention
    native = vars(attention)["forward"]
    # A user's function, for the shim of such.
    attention.forward = in_pairs
    try:
        with rope_compat.patched(on_problem="ignore") as patch:
            found = {entry.rule for entry in patch.journal}
        for release in OTHER_NUMBERS:
            with rope_compat.patched(
                written_for=release, targets="transformers", numbers="written_for", on_problem="ignore"
            ) as patch:
                found |= {entry.rule for entry in patch.journal}
        return found
    finally:
        attention.forward = native


@pytest.mark.parametrize(
    "shim",
    [
        shim
        for shim in api.SHIMS
        # What is refused is done nowhere: tests/user/test_drift.py has it.
        if shim.package == "transformers"
        and not shim.targets[0].startswith("transformers_modules")
        and shim.name != "numbers-refused"
    ],
    ids=lambda shim: shim.name,
)
def test_a_shim_is_at_work_where_it_is_due(shim: Shim, at_work: set[str]) -> None:
    is_due_here = is_due(shim.since, shim.until)
    if shim.targets[0].startswith("transformers.models.sam3."):
        is_due_here = is_due_here and not lacks_a_peer(SAM3)
    assert (shim.name in at_work) == is_due_here


def test_arguments_choose_what_is_at_work() -> None:
    load = {shim.name for shim in rooms.loading.SHIMS}
    config = {shim.name for room in rooms._ROOMS["config"] for shim in room.SHIMS}
    numbers = {shim.name for shim in rooms.other_numbers.SHIMS}
    with rope_compat.patched(written_for="4.49.0", on_problem="ignore") as patch:
        assert not numbers & {entry.rule for entry in patch.journal}
        assert not numbers & {shim.name for shim in patch.plan.shims}
    with rope_compat.patched(config=False, on_problem="ignore") as patch:
        assert not config & {entry.rule for entry in patch.journal}
        assert not config & {step.shim for step in patch.plan.steps}
    with rope_compat.patched(load=False, on_problem="ignore") as patch:
        assert not load & {entry.rule for entry in patch.journal}
    with rope_compat.patched(targets="*:apply_rotary_pos_emb", on_problem="ignore") as patch:
        assert not (load | config) & {entry.rule for entry in patch.journal}
    with rope_compat.patched(targets="transformers", on_problem="ignore") as patch:
        assert (load | config) & {entry.rule for entry in patch.journal}


def test_what_is_off_changes_the_digest() -> None:
    digests = [rope_compat.plan(**options).digest for options in ({}, {"load": False}, {"config": False})]
    assert len(set(digests)) == 3


def test_undoing_leaves_accelerate_as_it_was() -> None:
    before = accelerate.utils.modeling.load_checkpoint_in_model
    with rope_compat.patched(on_problem="ignore"):
        assert accelerate.utils.modeling.load_checkpoint_in_model is not before
        assert accelerate.load_checkpoint_in_model is not before
    assert accelerate.utils.modeling.load_checkpoint_in_model is before
    assert accelerate.load_checkpoint_in_model is before
