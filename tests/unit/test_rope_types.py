"""The table of rope types against the functions that compute them, and against the catalog."""

from __future__ import annotations

import inspect

import pytest

from rope_compat import catalog
from rope_compat._facts.rope_types import ALIASES, ROPE_TYPES, TABLE, UTILS
from rope_compat.rotary import exact, frequencies


@pytest.mark.parametrize("name", ROPE_TYPES)
def test_functions_take_what_the_table_says(name: str) -> None:
    said = {*ROPE_TYPES[name].takes, *ROPE_TYPES[name].optional}
    assert inspect.signature(getattr(exact, name)).parameters.keys() == said
    assert inspect.signature(getattr(frequencies, name)).parameters.keys() == said | {"device"}


def test_both_modules_know_no_other_type() -> None:
    for module in (exact, frequencies):
        annotated = {name: getattr(getattr(module, name), "__annotations__", {}) for name in module.__all__}
        found = {name for name, types in annotated.items() if types.get("return") == "Frequencies"}
        assert found == ROPE_TYPES.keys()


@pytest.mark.parametrize("name", ROPE_TYPES)
def test_releases_are_those_of_the_catalog(name: str) -> None:
    having = [each for each in catalog.generations(UTILS, TABLE) if f"'{name}'" in each.signature]
    assert having[0].first == ROPE_TYPES[name].since
    last = catalog.releases()[-1] if ROPE_TYPES[name].until is None else ROPE_TYPES[name].until
    assert having[-1].last == last
    assert catalog.spans(UTILS, ROPE_TYPES[name].function)[0].first == ROPE_TYPES[name].since


def test_aliases_are_no_types() -> None:
    assert not ALIASES.keys() & ROPE_TYPES.keys()
