"""What the catalog says of the installed release, against its files and against what imports of them give."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
from support.lanes import ONCE
from support.reading import functions_in, is_read, live_names, methods_in, modules_in

import rope_compat
from rope_compat import catalog
from rope_compat.catalog.format import unpack
from rope_compat.catalog.harvest import harvest
from rope_compat.catalog.history import decode
from rope_compat.catalog.store import data_path

INSTALLED = rope_compat.detect().transformers
VERSION = str(INSTALLED.version)
#: A development build is not in the catalog.
known = pytest.mark.only(VERSION in catalog.releases(), reason="needs a release that the catalog knows")
NAMES = re.compile("rotary|rotate_half|rotate_every_two|_rope|rope_|multidimensional_rope")


def package() -> Path:
    assert INSTALLED.location is not None
    return Path(INSTALLED.location)


@pytest.mark.lane(ONCE)
@known
@pytest.mark.slow
def test_its_files_read_as_the_catalog_says() -> None:
    history = decode(unpack(Path(data_path()).read_bytes(), data_path()))
    said, read = history.at(VERSION), harvest(package())
    assert read.version == VERSION
    for kind in ("targets", "uses", "names"):
        catalogued, found = getattr(said, kind), getattr(read, kind)
        assert set(catalogued) == set(found)
        differing = [module for module in found if found[module] != catalogued[module]]
        assert differing == [], kind


@pytest.mark.lane(ONCE)
@known
def test_another_reading_of_its_files_finds_the_same_functions_and_methods() -> None:
    functions: dict[tuple[str, str], str] = {}
    methods: dict[tuple[str, str], str] = {}
    for module, path in modules_in(package()):
        source = path.read_bytes()
        if is_read(path) and re.search(rb"rotary|rope|rotate_half", source, re.IGNORECASE):
            tree = ast.parse(source)
            functions.update({(module, name): text for name, text in functions_in(tree).items()})
            for owner, found in methods_in(tree).items():
                methods.update({(module, f"{owner}.{name}"): text for name, text in found.items()})

    def said(kind: str) -> dict[tuple[str, str], str]:
        targets = catalog.targets(kinds=[kind])
        signatures = {tuple(target): catalog.signature_at(*target, VERSION) for target in targets}
        return {target: text for target, text in signatures.items() if text is not None}  # type: ignore[misc]

    catalogued = said("function")
    # What the catalog has is there, with that signature; and it has all that goes by such a name.
    assert {target: functions.get(target) for target in catalogued} == catalogued
    assert {target for target in functions if NAMES.search(target[1])} <= set(catalogued)
    catalogued = said("method")
    assert {target: methods.get(target) for target in catalogued} == catalogued
    rotary = {
        target for target in methods if re.search("Rotary|R[Oo][Pp]E|Rope", target[1].partition(".")[0])
    }
    assert {target for target in rotary if "Config" not in target[1]} <= set(catalogued)
    assert len(rotary) > 10


MODULES = [
    "transformers.utils",
    "transformers.utils.import_utils",
    "transformers.models.llama",
    "transformers.models.llama.modeling_llama",
    "transformers.models.llama.configuration_llama",
    "transformers.models.gpt_neox.modeling_gpt_neox",
    "transformers.generation.utils",
    "transformers.modeling_utils",
    "transformers.pipelines",
    "transformers.cache_utils",
]


@known
@pytest.mark.parametrize("name", MODULES)
def test_imports_work_exactly_for_the_names_that_the_catalog_has(name: str) -> None:
    module = importlib.import_module(name)
    spans = {each: catalog.name_spans(name, each) for each in live_names(module)}
    order = {release: place for place, release in enumerate(catalog.builds())}

    def here(found: tuple[catalog.NameSpan, ...]) -> list[catalog.NameSpan]:
        return [span for span in found if order[span.first] <= order[VERSION] <= order[span.last]]

    # torch.compile puts names of its own into the modules whose functions it has compiled.
    spans = {each: found for each, found in spans.items() if not each.startswith("__import_")}
    assert [each for each, found in spans.items() if not here(found)] == []
    from rope_compat.catalog.store import catalog as opened

    promised = [
        each
        for run in opened()._name_runs(name)
        if run[0] <= order[VERSION] <= run[1]
        for each, (_, condition) in run[2].items()
        if not condition
    ]
    assert promised
    # What a lazy package cannot give fails for want of other packages, and says so.
    assert [each for each in promised if not _is_had(module, each)] == []


def _is_had(module: object, name: str) -> bool:
    try:
        getattr(module, name)
    except AttributeError:
        return False
    except (ImportError, RuntimeError):
        return type(module).__name__ == "_LazyModule"
    return True
