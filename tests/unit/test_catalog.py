"""The catalog: what is shipped, what it says of the installed release, and how it is made from wheels."""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from rope_compat import catalog
from rope_compat.catalog import harvest, store
from rope_compat.environment import detect

LLAMA = "transformers.models.llama.modeling_llama"
QWEN2_VL = "transformers.models.qwen2_vl.modeling_qwen2_vl"
QWEN2_5_VL = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"
PLAIN = "apply_rotary_pos_emb"
VISION = "apply_rotary_pos_emb_vision"
FLASHATT = "apply_rotary_pos_emb_flashatt"


def shipped_text() -> str:
    return (resources.files("rope_compat.catalog") / "data" / "functions.json").read_text(encoding="utf-8")


def test_releases_are_sorted_final_and_reach_from_4_28_0_on() -> None:
    versions = [Version(release) for release in catalog.releases()]
    assert versions == sorted(set(versions))
    assert not any(version.is_prerelease for version in versions)
    assert catalog.releases()[0] == "4.28.0"
    assert catalog.newest_known() == catalog.releases()[-1]
    assert versions[-1] >= Version("5.23.0")
    assert catalog.oldest_supported() == "4.36.0"
    assert catalog.oldest_supported() in catalog.releases()


@pytest.mark.parametrize(
    ("module", "name", "expected"),
    [
        (
            LLAMA,
            PLAIN,
            [
                ("4.28.0", "4.34.1", "(q, k, cos, sin, position_ids)"),
                ("4.35.0", "4.37.2", "(q, k, cos, sin, position_ids, unsqueeze_dim=1)"),
                ("4.38.0", "4.57.6", "(q, k, cos, sin, position_ids=None, unsqueeze_dim=1)"),
                ("5.0.0", None, "(q, k, cos, sin, unsqueeze_dim=1)"),
            ],
        ),
        (
            QWEN2_VL,
            VISION,
            [("4.45.0", "4.48.3", "(tensor, freqs)"), ("4.49.0", None, "(q, k, cos, sin)")],
        ),
        (QWEN2_5_VL, FLASHATT, [("4.49.0", "4.52.4", "(q, k, cos, sin)")]),
    ],
)
def test_spans_are_those_that_are_known(
    module: str, name: str, expected: list[tuple[str, str | None, str]]
) -> None:
    spans = catalog.spans(module, name)
    for span, (first, last, signature) in zip(spans, expected, strict=False):
        assert (span.first, span.signature) == (first, signature)
        assert last is None or span.last == last
    if expected[-1][1] is not None:
        assert len(spans) == len(expected)


def test_spans_of_every_target_follow_one_another_without_overlap() -> None:
    order = {release: index for index, release in enumerate(catalog.releases())}
    for target in catalog.targets():
        spans = catalog.spans(*target)
        assert spans, target
        for span in spans:
            assert order[span.first] <= order[span.last], target
            assert catalog.normalize(span.signature) == span.signature, target
        for before, after in itertools.pairwise(spans):
            assert order[before.last] < order[after.first], target
            adjacent = order[before.last] + 1 == order[after.first]
            assert not (adjacent and before.signature == after.signature), f"{target}: spans to be joined"


@given(st.data())
def test_signature_at_agrees_with_spans(data: st.DataObject) -> None:
    module, name = data.draw(st.sampled_from(catalog.targets()))
    release = data.draw(st.sampled_from(catalog.releases()))
    here = [s for s in catalog.spans(module, name) if Version(s.first) <= Version(release) <= Version(s.last)]
    assert catalog.signature_at(module, name, release) == (here[0].signature if here else None)


def test_removed_in() -> None:
    assert catalog.removed_in(QWEN2_5_VL, FLASHATT) == "4.53.0"
    assert catalog.removed_in(LLAMA, PLAIN) is None
    assert catalog.removed_in("transformers.models.no_such", PLAIN) is None
    # Moved to models/deprecated in 4.32.0: the old name ends and the new one begins there.
    assert catalog.removed_in("transformers.models.open_llama.modeling_open_llama", PLAIN) == "4.32.0"
    moved = catalog.spans("transformers.models.deprecated.open_llama.modeling_open_llama", PLAIN)
    assert moved[0].first == "4.32.0"


def test_an_unknown_function_or_release_has_no_signature() -> None:
    assert catalog.spans(LLAMA, "no_such_function") == ()
    assert catalog.signature_at(LLAMA, "no_such_function", "4.49.0") is None
    for release in ("4.46.0", "4.49.0.dev0", "999", "no version"):
        assert catalog.signature_at(LLAMA, PLAIN, release) is None
    assert (
        catalog.signature_at(LLAMA, PLAIN, "4.37") == catalog.signature_at(LLAMA, PLAIN, "4.37.0") is not None
    )


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("4.49.0", "4.49.0"),
        ("4.37", "4.37.0"),
        ("4.49.0.dev0", "4.49.0"),
        ("5.0.0rc1", "5.0.0"),
        ("4.46", "4.46.1"),
        ("4.49.0+cu126", "4.49.0"),
        ("1.0", "4.28.0"),
        ("999.0.dev0", catalog.newest_known()),
    ],
)
def test_release_for(version: str, release: str) -> None:
    assert catalog.release_for(version) == release
    with pytest.raises(ValueError, match="no version"):
        catalog.release_for("no version")


def test_the_catalog_says_of_the_installed_release_what_its_source_says() -> None:
    spec = importlib.util.find_spec("transformers")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    live = {}
    for path in sorted(root.glob("models/**/modeling_*.py")):
        source = path.read_bytes()
        if b"def apply_rotary_pos_emb" in source and not path.name.startswith(harvest.FOREIGN_FILES):
            module = ".".join(("transformers", *path.relative_to(root).with_suffix("").parts))
            live.update({(module, name): text for name, text in harvest.functions_in(source).items()})
    assert (LLAMA, PLAIN) in live

    version = str(detect().transformers.version)
    if version in catalog.releases():
        known = {target: catalog.signature_at(*target, version) for target in catalog.targets()}
        assert live == {target: text for target, text in known.items() if text is not None}
    else:  # a development build or a release to come: most of it is as in the releases around it
        seen = [text in {span.signature for span in catalog.spans(*target)} for target, text in live.items()]
        assert sum(seen) >= len(seen) / 2


def test_opening_the_catalog_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, rope_compat.catalog as c; assert c.spans(*c.targets()[0]); "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"releases"', '"release"'),
        lambda text: text.replace('"format":1', '"format":2'),
        lambda text: text.replace("[[", "[[9999,", 1),
        lambda text: '{"format":1,"releases":[],"signatures":[],"functions":{}}',
        lambda text: "[]",
        lambda text: "",
    ],
)
def test_damaged_data_is_an_error_that_says_what_to_do(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(store.CatalogError, match="pip install --force-reinstall"):
        store.parse(damage(shipped_text()))


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        ("(q, k, cos, sin, unsqueeze_dim=1)", "(q, k, cos, sin, unsqueeze_dim=1)"),
        ("(q:torch.Tensor,k , *, cos: 'X' = None, **kw) -> tuple[a, b]", "(q, k, *, cos=None, **kw)"),
        ("(a, /, b, *args, c=1)", "(a, /, b, *args, c=1)"),
        ("()", "()"),
        (" (x=<object object at 0x1>) ", "(x=<object object at 0x1>)"),
        ("(x", "(x"),
        ("(x\0)", "(x\0)"),
    ],
)
def test_normalize(live: str, expected: str) -> None:
    assert catalog.normalize(live) == expected
    assert catalog.normalize(expected) == expected


names = st.lists(st.from_regex(r"[a-z]{2,6}_", fullmatch=True), min_size=1, max_size=6, unique=True)


@given(names, st.sampled_from(["int", "'torch.Tensor'", "Optional[int]", "int | None"]))
def test_normalize_drops_annotations_and_nothing_else(parameters: list[str], annotation: str) -> None:
    annotated = f"({', '.join(f'{each}: {annotation} = 1' for each in parameters)}) -> {annotation}"
    assert catalog.normalize(annotated) == f"({', '.join(f'{each}=1' for each in parameters)})"


def make_wheel(directory: Path, release: str, files: dict[str, str]) -> None:
    with zipfile.ZipFile(directory / f"transformers-{release}-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    llama, moved = "transformers/models/llama/modeling_llama.py", "transformers/models/late/modeling_late.py"
    old, new = f"def {PLAIN}(q, k): ...\n", f"def {PLAIN}(q: 'T', k, dim: int = 1) -> 'T': ...\n"
    nested = f"if True:\n    def {PLAIN}(x): ...\nclass C:\n    def {VISION}(self): ...\n"
    make_wheel(tmp_path, "4.9.0", {llama: old})
    make_wheel(tmp_path, "4.28.0", {llama: old, "transformers/models/llama/modeling_tf_llama.py": old})
    make_wheel(tmp_path, "4.30.0", {llama: old, "transformers/models/llama/modular_llama.py": new})
    make_wheel(tmp_path, "4.100.0", {llama: new, moved: nested, "elsewhere/modeling_llama.py": old})
    make_wheel(tmp_path, "5.0.0", {moved: nested})
    make_wheel(tmp_path, "5.1.0", {llama: new})
    make_wheel(tmp_path, "5.2.0rc1", {llama: old})
    (tmp_path / "transformers-not-a-wheel.whl").write_text("")
    (tmp_path / "other-1.0-py3-none-any.whl").write_text("")
    return tmp_path


def test_harvest_reads_releases_in_their_order_and_joins_equal_signatures(wheels: Path) -> None:
    found = store.parse(harvest.to_json(harvest.harvest(wheels)))
    assert found.releases == ("4.28.0", "4.30.0", "4.100.0", "5.0.0", "5.1.0")
    assert found.functions == {
        (LLAMA, PLAIN): (
            store.Span("4.28.0", "4.30.0", "(q, k)"),
            store.Span("4.100.0", "4.100.0", "(q, k, dim=1)"),
            store.Span("5.1.0", "5.1.0", "(q, k, dim=1)"),
        ),
        ("transformers.models.late.modeling_late", PLAIN): (store.Span("4.100.0", "5.0.0", "(x)"),),
    }


def test_harvest_command_writes_the_same_bytes_each_time(wheels: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / "first.json", tmp_path / "second.json"]
    for output in outputs:
        assert harvest.main([str(wheels), "-o", str(output)]) == 0
    first, second = (output.read_bytes() for output in outputs)
    assert first == second
    assert json.loads(first)["format"] == 1


@pytest.mark.parametrize("contents", [{}, {"transformers-4.40.0-py3-none-any.whl": b"no zip"}])
def test_harvest_command_says_why_it_could_not_run(
    contents: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    assert harvest.main([str(tmp_path), "-o", str(tmp_path / "out.json")]) == 2
    assert capsys.readouterr().err.startswith("harvest: ")
    assert not (tmp_path / "out.json").exists()


def test_the_shipped_file_is_what_harvest_writes() -> None:
    text = shipped_text()
    assert harvest.to_json(json.loads(text)) == text


def test_functions_in_takes_the_definition_that_stands() -> None:
    source = f"try:\n    import a\nexcept ImportError:\n    def {PLAIN}(q): ...\ndef {PLAIN}(x, y): ...\n"
    assert harvest.functions_in(source) == {PLAIN: "(x, y)"}
    with pytest.raises(SyntaxError):
        harvest.functions_in("def f(:")
