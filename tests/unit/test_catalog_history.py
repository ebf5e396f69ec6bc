"""Runs of builds: adding and removing in any order, and the file that a history becomes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rope_compat.catalog.format import FORMAT, CatalogError, pack, unpack
from rope_compat.catalog.history import History, decode, encode
from rope_compat.catalog.model import Definition, Name, ReleaseFacts, Target, Use
from rope_compat.catalog.store import Catalog

VERSIONS = ["4.9.0", "4.28.0", "4.28.1", "4.100.0", "5.0.0.dev0+g1", "5.0.0", "5.0.1"]

signatures = st.sampled_from(["(q)", "(q, k)", '(q, mode="a, b")', "()"])
definitions = st.builds(
    Definition,
    st.sampled_from(["function", "class", "method", "mapping", "field", "carrier", "reexport"]),
    signatures,
    st.sampled_from(["", "abcdefgh", "ABCDEFGH"]),
    st.sampled_from([(), ("no_grad()",)]),
    st.sampled_from([(), ("nn.Module", "Mixin")]),
    st.sampled_from(["", "is_torch_available()", "a() or b()"]),
)
kinds = st.sampled_from(["function", "class", "mapping", "value", "module", "import"])
modules = st.sampled_from(["transformers", "transformers.a", "transformers.a.b"])
identifiers = st.sampled_from(["f", "g", "C.forward", "é"])


def tables(values: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, tuple[object, ...]]]:
    by_name = st.dictionaries(identifiers, values, min_size=1, max_size=3)
    return st.dictionaries(modules, by_name.map(lambda found: tuple(sorted(found.items()))), max_size=3)


@st.composite
def facts_of(draw: st.DrawFn, version: str) -> ReleaseFacts:
    targets = draw(tables(definitions))
    named = draw(tables(st.tuples(kinds, st.sampled_from(["", "ok()"]))))
    names = {module: tuple(Name(name, *rest) for name, rest in each) for module, each in named.items()}  # type: ignore[misc]
    shapes = st.sampled_from(["call 4 - 2", "read inv_freq"])
    used = draw(tables(st.tuples(shapes, st.integers(1, 3))))
    uses = {
        module: tuple(sorted(Use(f"{module}:{name}", *rest) for name, rest in each))  # type: ignore[misc]
        for module, each in used.items()
    }
    return ReleaseFacts(version, names, targets, uses)  # type: ignore[arg-type]


histories = st.permutations(VERSIONS).flatmap(
    lambda order: st.tuples(*(facts_of(version) for version in order)).map(list)
)


def history_of(facts: list[ReleaseFacts]) -> History:
    history = History()
    for each in facts:
        history.add(each)
    return history


@given(histories)
@settings(max_examples=30, deadline=None)
def test_the_order_in_which_builds_are_added_leaves_no_trace(facts: list[ReleaseFacts]) -> None:
    history = history_of(facts)
    assert history.builds == VERSIONS
    by_version = {each.version: each for each in facts}
    for version in VERSIONS:
        assert history.at(version) == by_version[version]
    assert encode(history) == encode(history_of([by_version[version] for version in VERSIONS]))


@given(histories, st.sampled_from(VERSIONS))
@settings(max_examples=20, deadline=None)
def test_taking_a_build_out_is_as_if_it_had_never_been_there(facts: list[ReleaseFacts], version: str) -> None:
    history = history_of(facts)
    history.remove(version)
    assert encode(history) == encode(history_of([each for each in facts if each.version != version]))
    history.add(next(each for each in facts if each.version == version))
    history.add(next(each for each in facts if each.version == version))  # a second time changes nothing
    assert encode(history) == encode(history_of(facts))


@given(histories)
@settings(max_examples=20, deadline=None)
def test_what_is_written_is_read_again(facts: list[ReleaseFacts]) -> None:
    history = history_of(facts)
    data = encode(history)
    again = decode(unpack(data, "test"))
    assert encode(again) == data
    by_version = {each.version: each for each in facts}
    assert all(again.at(version) == by_version[version] for version in VERSIONS)


@given(histories)
@settings(max_examples=20, deadline=None)
def test_queries_say_what_the_facts_say(facts: list[ReleaseFacts]) -> None:
    known = Catalog(unpack(encode(history_of(facts)), "test"))
    assert known.builds == tuple(VERSIONS)
    assert known.releases == tuple(version for version in VERSIONS if "dev" not in version)
    for each in facts:
        place = known.order[each.version]
        for module, entries in each.targets.items():
            for name, definition in entries:
                (here,) = [
                    found
                    for found in known.generations(module, name)
                    if known.order[found.first] <= place <= known.order[found.last]
                ]
                assert Definition(*here[2:]) == definition
        for module, names in each.names.items():
            for entry in names:
                (span,) = [
                    found
                    for found in known.name_spans(module, entry.name)
                    if known.order[found.first] <= place <= known.order[found.last]
                ]
                assert (span.kind, span.condition) == (entry.kind, entry.condition)
        for module, uses in each.uses.items():
            for use in uses:
                found_uses = known.callers(_target(use.target), each.version)
                assert (module, use.shape, use.places) in found_uses


def _target(text: str) -> Target:
    return Target(*text.split(":"))


DATA = encode(
    history_of(
        [
            ReleaseFacts(
                "4.28.0",
                {"transformers": (Name("f", "function", ""),)},
                {"transformers": (("f", Definition("function", "(q)", "abcdefgh")),)},
                {"transformers": (Use("transformers:f", "call 1 - 1", 1),)},
            )
        ]
    )
)
HEADER = json.loads(DATA.partition(b"\n")[0])


def test_the_header_says_what_the_file_is() -> None:
    assert list(HEADER) == ["kind", "format", "builds", "sections"]
    assert (HEADER["kind"], HEADER["format"]) == ("rope_compat catalog", FORMAT)
    assert Catalog(unpack(DATA, "test")).generations("transformers", "f")[0].signature == "(q)"


def test_every_damaged_byte_is_noticed() -> None:
    sound = [read(DATA, section) for section in HEADER["sections"]]
    for place in range(len(DATA)):
        damaged = bytearray(DATA)
        damaged[place] ^= 1
        try:
            # A changed version number is a catalog of another release: only sections have checksums.
            if place <= DATA.index(b"\n"):
                unpack(bytes(damaged), "x")
                continue
            found = [read(bytes(damaged), section) for section in HEADER["sections"]]
        except CatalogError:
            continue
        assert found == sound, f"byte {place} may be anything"
        pytest.fail(f"byte {place} is not looked at")


def read(data: bytes, section: str) -> bytes:
    return unpack(data, "x").section(section)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not a catalog"),
        (b"[]\n", "is not a catalog"),
        (b"PK\x03\x04" + bytes(100), "is not a catalog"),
        (DATA[:-1], "truncated"),
        (DATA + b"x", "truncated or has been appended to"),
        (DATA[:40], "is not a catalog"),
        (DATA.replace(b'"format":2', b'"format":1'), "has format 1; this rope_compat reads format 2"),
        (DATA.replace(b'"format":2', b'"format":3'), "pip install --upgrade rope_compat"),
        (pack([], {}), "holds no release"),
    ],
)
def test_what_is_no_catalog_is_refused_with_the_reason(data: bytes, said: str) -> None:
    with pytest.raises(CatalogError, match=said) as caught:
        unpack(data, "/some/where")
    assert "/some/where" in str(caught.value)
    with pytest.raises(CatalogError, match="has no section 'more'"):
        unpack(DATA, "x").section("more")
