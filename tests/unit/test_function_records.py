"""The records of function families against the catalog: nothing that any release had is left out."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase

import pytest

import rope_compat
from rope_compat import catalog
from rope_compat._adapters.functions.build import FAMILIES as BUILDERS
from rope_compat._adapters.functions.restoring import OPERATIONS
from rope_compat._facts.function_names import NAMES, RESTORED_TARGETS
from rope_compat._facts.functions import FAMILIES, LEFT_ALONE, RESTORED, places
from rope_compat._plan import make_plan
from rope_compat._rules.options import Options
from rope_compat._rules.restored import has_name
from rope_compat._rules.selection import Selection
from rope_compat._rules.transformers import ADAPTED, FLASHATT_RESTORED, FUNCTIONS_RESTORED, SHIMS

RELEASES = catalog.releases()
SUPPORTED = RELEASES[RELEASES.index(catalog.oldest_supported()) :]
RECORDS = {family.name: family for family in FAMILIES}
TARGETS = catalog.targets(kinds=["function"])
RESTORED_SOMEHOW = {*RESTORED_TARGETS, *(tuple(t.split(":")) for t in FLASHATT_RESTORED.targets)}


def is_left_alone(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in LEFT_ALONE)


def uncovered() -> list[str]:
    """Every function target and generation that has neither a record nor a reason to have none."""
    return [
        f"{module}:{name}{span.signature}"
        for module, name in catalog.targets(kinds=["function"])
        for span in catalog.spans(module, name)
        if not is_left_alone(name) and span.signature not in getattr(RECORDS.get(name), "signatures", ())
    ]


def test_every_target_and_generation_of_every_release_has_a_record() -> None:
    assert len(catalog.targets(kinds=["function"])) > 500
    assert uncovered() == []


def test_no_record_and_no_exception_is_about_nothing() -> None:
    names = {target.name for target in catalog.targets(kinds=["function"])}
    assert set(RECORDS) <= names
    assert all(any(fnmatchcase(name, pattern) for name in names) for pattern in LEFT_ALONE)
    assert not [name for name in RECORDS if is_left_alone(name)]
    had = {(name, span.signature) for m, name in TARGETS for span in catalog.spans(m, name)}
    assert {(family.name, signature) for family in FAMILIES for signature in family.signatures} <= had


def test_records_are_one_a_name_and_say_why() -> None:
    assert max(Counter(family.name for family in FAMILIES).values()) == 1
    assert all(family.note and family.signatures for family in FAMILIES)
    assert all(LEFT_ALONE.values())


def test_what_is_adapted_has_an_adapter_and_a_shim() -> None:
    assert set(NAMES) == set(BUILDERS) == {shim.targets[0].partition(":")[2] for shim in ADAPTED}


def test_what_has_had_more_than_one_signature_is_adapted() -> None:
    assert {family.name for family in FAMILIES if len(family.signatures) > 1} <= set(NAMES)


def missing_somewhere() -> set[tuple[str, str]]:
    """Targets that some supported release lacks in a module that it has."""
    return {
        (module, name)
        for module, name in catalog.targets(kinds=["function"])
        if not is_left_alone(name)
        and any(has_name(module, "", each) and not has_name(module, name, each) for each in SUPPORTED)
    }


def test_what_a_release_lacks_in_a_module_that_it_has_is_restored() -> None:
    assert missing_somewhere() == RESTORED_SOMEHOW


def test_records_of_restored_names_are_sound() -> None:
    assert {record.operation for record in RESTORED} == set(OPERATIONS) - {"pairwise 2d"}
    for record in RESTORED:
        for module in places(record):
            assert catalog.spans(module, record.name)
    for module, name in RESTORED_TARGETS:
        known = [record for record in RESTORED if record.name == name and module in places(record)]
        meanings = [record.first for record in known]
        assert len(known) == 1 or meanings == sorted(meanings, key=RELEASES.index)


def test_the_restoring_shim_has_something_to_do_on_every_release_that_it_names() -> None:
    since = RELEASES.index(FUNCTIONS_RESTORED.since)
    assert FUNCTIONS_RESTORED.until is None
    for release in SUPPORTED:
        steps = make_plan(Options(None, release, Selection(None)), SHIMS, ()).steps
        planned = [step.target for step in steps if step.shim == FUNCTIONS_RESTORED.name]
        assert bool(planned) == (RELEASES.index(release) >= since), release


@pytest.mark.parametrize("pattern", ["rotate_half", "*.modeling_jamba:*", "apply_rotary_unpadded", *NAMES])
def test_restored_and_adapted_names_can_be_selected(pattern: str) -> None:
    assert Selection(pattern).patterns == (pattern,)


def test_a_family_that_is_not_adapted_is_refused_with_the_reason() -> None:
    with pytest.raises(rope_compat.ArgumentError, match=r"one form in all releases"):
        Selection("rotate_every_two")
