"""Every shim against every release that the catalog knows, without installing any: is it due there?

When the catalog is updated for a new release, this is what fails first if the release moved something.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from rope_compat import catalog
from rope_compat._adapters.functions.build import FAMILIES
from rope_compat._api import SHIMS
from rope_compat._environment.release import WITH_WARNINGS
from rope_compat._facts import call_forms as forms
from rope_compat._facts.function_names import NAMES
from rope_compat._plan import make_plan
from rope_compat._rules.options import Options
from rope_compat._rules.selection import Selection
from rope_compat._rules.shim import Shim
from rope_compat._rules.transformers import FUNCTIONS_RESTORED

RELEASES = catalog.releases()
SUPPORTED = RELEASES[RELEASES.index(catalog.oldest_supported()) :]
LIBRARY = [shim for shim in SHIMS if shim.targets[0].startswith("transformers.")]
#: Shims of functions; what is restored in many modules has its tests in test_function_records.py.
FUNCTIONS = [
    shim for shim in LIBRARY if shim is not FUNCTIONS_RESTORED and shim.targets[0].partition(":")[2] in NAMES
]
#: Shims of one name that modules have, which the catalog has the history of; methods are tried out on the
#: installed release, in tests/user/test_shims_at_work.py.
NAMED = [
    (shim, *target.split(":"))
    for shim in LIBRARY
    if shim not in FUNCTIONS and shim is not FUNCTIONS_RESTORED
    for target in shim.targets
    if "." not in target.partition(":")[2] and "*" not in target
]
LLAMA = "transformers.models.llama.modeling_llama"
QWEN2_VL = "transformers.models.qwen2_vl.modeling_qwen2_vl"


def place(release: str) -> int:
    return RELEASES.index(catalog.release_for(release))


def due(shim: Shim) -> list[str]:
    """The supported releases on which a shim says that it has something to do."""
    last = place(shim.until) if shim.until else len(RELEASES) - 1
    return [release for release in SUPPORTED if place(shim.since) <= place(release) <= last]


def present(shim: Shim, release: str) -> list[catalog.Target]:
    """The targets of a shim that a release has."""
    found = [target for pattern in shim.targets for target in catalog.targets(pattern, kinds=["function"])]
    return [target for target in found if catalog.signature_at(*target, release) is not None]


@pytest.mark.parametrize("shim", FUNCTIONS, ids=lambda shim: shim.name)
def test_a_shim_is_due_exactly_where_it_has_something_to_do(shim: Shim) -> None:
    releases = due(shim)
    assert releases, "it does nothing on any supported release: take it out"
    for release in SUPPORTED:
        there = bool(present(shim, release))
        expected = there if shim.kind == "adapt" else not there
        if release in releases:
            assert expected, f"{shim.name} says that it is due on {release}, where it does nothing"
        elif shim.kind == "adapt":
            assert not there, f"{shim.name} leaves out {release}, which has its target"


@pytest.mark.parametrize("shim", LIBRARY, ids=lambda shim: shim.name)
def test_a_shim_is_due_somewhere(shim: Shim) -> None:
    assert due(shim), "it does nothing on any supported release: take it out"
    assert shim.until is None or place(shim.since) <= place(shim.until)


@pytest.mark.parametrize(
    ("shim", "module", "name"), NAMED, ids=lambda value: getattr(value, "name", None) or str(value)
)
def test_a_name_is_there_where_it_is_adapted_and_missing_where_it_is_restored(
    shim: Shim, module: str, name: str
) -> None:
    spans = catalog.name_spans(module, name)
    assert spans, f"no release has {module}:{name}"
    there = {release for span in spans for release in RELEASES[place(span.first) : place(span.last) + 1]}
    releases = set(due(shim))
    assert releases.isdisjoint(there) if shim.kind == "restore" else releases <= there


@pytest.mark.parametrize("shim", [s for s in FUNCTIONS if s.kind == "restore"], ids=lambda shim: shim.name)
def test_what_is_restored_was_removed_when_the_shim_says(shim: Shim) -> None:
    (target,) = shim.targets
    assert catalog.removed_in(*target.split(":")) == shim.since
    assert shim.since in shim.why
    assert shim.since in shim.upstream


@pytest.mark.parametrize("release", SUPPORTED)
def test_the_plan_for_a_release_has_a_step_for_each_shim_that_is_due(release: str) -> None:
    shims = [shim for shim in SHIMS if shim.package == "transformers"]
    plan = make_plan(Options(None, release, Selection(None)), shims, ())
    steps = {step.shim for step in plan.steps}
    assert steps == {shim.name for shim in shims if shim not in LIBRARY or release in due(shim)}


SIGNATURES = sorted(
    {
        (target.name, span.signature)
        for target in catalog.functions(NAMES)
        for span in catalog.spans(*target)
        if place(span.last) >= place(SUPPORTED[0])
    }
)


@pytest.mark.parametrize(("name", "signature"), SIGNATURES)
def test_every_signature_of_every_supported_release_is_one_that_adapters_read(
    name: str, signature: str
) -> None:
    space: dict[str, Callable[..., Any]] = {}
    exec(f"def {name}{signature}: ...", space)
    assert FAMILIES[name].read(space[name]) is not None


@pytest.mark.parametrize(
    ("form", "module", "name"),
    [
        (forms.INDEXED, LLAMA, "apply_rotary_pos_emb"),
        (forms.GATHERED, LLAMA, "apply_rotary_pos_emb"),
        (forms.PLAIN, LLAMA, "apply_rotary_pos_emb"),
        (
            forms.OFFSET,
            "transformers.models.gpt_neox_japanese.modeling_gpt_neox_japanese",
            "apply_rotary_pos_emb",
        ),
        (forms.PAIR, QWEN2_VL, "apply_rotary_pos_emb_vision"),
        (forms.FREQS, QWEN2_VL, "apply_rotary_pos_emb_vision"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_releases_that_errors_name_are_those_of_the_sources(
    form: forms.CallForm, module: str, name: str
) -> None:
    (span,) = [span for span in catalog.spans(module, name) if span.signature == form.signature]
    named = re.findall(r"\d+\.\d+\.\d+", form.releases.partition("(")[0].partition(";")[0])
    assert named, form.releases
    assert set(named) <= {span.first, span.last}


def test_releases_that_have_a_name_in_the_code_are_known() -> None:
    assert set(WITH_WARNINGS) <= set(RELEASES)
