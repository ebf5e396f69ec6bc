"""The catalog as it ships: what it says, how it is asked, and what opening it costs."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from rope_compat import catalog
from rope_compat._adapters.functions.build import FAMILIES
from rope_compat._facts.function_names import NAMES
from rope_compat.catalog.store import open_catalog

LLAMA = "transformers.models.llama.modeling_llama"
QWEN2_VL = "transformers.models.qwen2_vl.modeling_qwen2_vl"
QWEN2_5_VL = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"
ROPE_UTILS = "transformers.modeling_rope_utils"
PLAIN = "apply_rotary_pos_emb"
VISION = "apply_rotary_pos_emb_vision"
FLASHATT = "apply_rotary_pos_emb_flashatt"

KINDS = ("function", "class", "method", "mapping", "field", "carrier", "reexport")
TARGETS = catalog.targets(kinds=KINDS)


def test_releases_are_sorted_final_and_reach_from_4_28_0_on() -> None:
    versions = [Version(release) for release in catalog.releases()]
    assert versions == sorted(set(versions))
    assert not any(version.is_prerelease for version in versions)
    assert catalog.releases()[0] == "4.28.0"
    assert catalog.newest_known() == catalog.releases()[-1]
    assert versions[-1] >= Version("5.24.0")
    assert catalog.oldest_supported() == "4.36.0"
    assert catalog.oldest_supported() in catalog.releases()
    # To be raised when the matrix has passed with a release that `catalog update` has brought.
    assert catalog.newest_supported() == catalog.newest_known()
    # Withdrawn from the index.
    assert not {"4.46.0", "5.10.0"} & set(catalog.releases())


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
        (
            ROPE_UTILS,
            "ROPE_INIT_FUNCTIONS",
            [
                ("4.43.0", "4.57.6", "{'default', 'linear', 'dynamic', 'yarn', 'longrope', 'llama3'}"),
                ("5.0.0", "5.4.0", "{'linear', 'dynamic', 'yarn', 'longrope', 'llama3'}"),
                ("5.5.0", None, "{'linear', 'dynamic', 'yarn', 'longrope', 'llama3', 'proportional'}"),
            ],
        ),
        (
            LLAMA,
            "LlamaRotaryEmbedding",
            [
                ("4.28.0", "4.38.1", "(dim, max_position_embeddings=2048, base=10000, device=None)"),
                (
                    "4.38.2",
                    "4.42.4",
                    "(dim, max_position_embeddings=2048, base=10000, device=None, scaling_factor=1.0)",
                ),
                (
                    "4.43.0",
                    "4.47.1",
                    "(dim=None, max_position_embeddings=2048, base=10000, device=None, scaling_factor=1.0, "
                    "rope_type='default', config=None)",
                ),
                ("4.48.0", "5.18.0", "(config, device=None)"),
                ("5.19.0", None, "(config)"),
            ],
        ),
        (
            LLAMA,
            "LlamaRotaryEmbedding.forward",
            [
                ("4.28.0", "4.37.2", "(self, x, seq_len=None)"),
                ("4.38.0", "4.38.2", "(self, x, position_ids, seq_len=None)"),
                ("4.39.0", None, "(self, x, position_ids)"),
            ],
        ),
        # Its constructor is inherited, from LlamaRotaryEmbedding.
        (
            LLAMA,
            "LlamaLinearScalingRotaryEmbedding",
            [
                (
                    "4.31.0",
                    "4.38.1",
                    "(dim, max_position_embeddings=2048, base=10000, device=None, scaling_factor=1.0)",
                ),
                (
                    "4.38.2",
                    "4.42.4",
                    "(dim, max_position_embeddings=2048, base=10000, device=None, scaling_factor=1.0)",
                ),
                ("4.43.0", "4.47.1", "(*args, **kwargs)"),
            ],
        ),
        (
            "transformers.models.llama.configuration_llama",
            "LlamaConfig.rope_theta",
            [("4.33.0", "4.57.6", "10000.0")],
        ),
    ],
)
def test_spans_are_those_that_are_known(
    module: str, name: str, expected: list[tuple[str, str | None, str]]
) -> None:
    newest = catalog.newest_known()
    wanted = [(first, last or newest, signature) for first, last, signature in expected]
    joined: list[tuple[str, str, str]] = []
    for first, last, signature in wanted:
        if joined and joined[-1][2] == signature:
            joined[-1] = (joined[-1][0], last, signature)
        else:
            joined.append((first, last, signature))
    found = catalog.spans(module, name)
    if Version(newest) > Version("5.24.0"):  # what releases to come change is not known here
        joined, found = joined[:-1], found[: len(joined) - 1]
    assert [tuple(span) for span in found] == joined


def test_a_body_that_changed_under_one_signature_is_seen() -> None:
    first, second = catalog.generations(QWEN2_5_VL, FLASHATT)
    assert (first.last, second.first) == ("4.49.0", "4.50.0")
    assert first.signature == second.signature
    assert first.body != second.body


def test_spans_of_every_target_follow_one_another_without_overlap() -> None:
    order = {build: index for index, build in enumerate(catalog.builds())}
    for target in TARGETS:
        generations = catalog.generations(*target)
        assert generations, target
        for before, after in itertools.pairwise(generations):
            assert order[before.first] <= order[before.last] < order[after.first], target
            same = before[2:] == after[2:]
            assert not (same and order[before.last] + 1 == order[after.first]), f"{target}: to be joined"
        for before, after in itertools.pairwise(catalog.spans(*target)):
            same = before.signature == after.signature
            assert not (same and order[before.last] + 1 == order[after.first]), f"{target}: to be joined"


def test_signatures_of_functions_classes_and_methods_are_python() -> None:
    for target in catalog.targets(kinds=("function", "class", "method")):
        for span in catalog.spans(*target):
            assert catalog.normalize(span.signature) == span.signature, target


@given(st.data())
def test_signature_at_agrees_with_spans(data: st.DataObject) -> None:
    module, name = data.draw(st.sampled_from(TARGETS))
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


def test_patterns() -> None:
    llama = catalog.Target(LLAMA, PLAIN)
    for pattern in (PLAIN, f"{LLAMA}:{PLAIN}", "*.modeling_llama:apply_*", LLAMA, "apply_rotary_*"):
        assert llama in catalog.targets(pattern), pattern
    forwards = catalog.targets("LlamaRotaryEmbedding.forward")
    assert {target.name for target in forwards} == {"LlamaRotaryEmbedding.forward"}
    assert catalog.Target(LLAMA, "LlamaRotaryEmbedding.forward") in catalog.targets(
        "forward", kinds=["method"]
    )
    assert catalog.targets("no_such_target") == ()
    assert catalog.targets(PLAIN, kinds=["class"]) == ()


def test_the_adapted_functions_are_those_of_the_adapters() -> None:
    assert tuple(FAMILIES) == NAMES
    assert {target.name for target in catalog.functions(NAMES)} == set(NAMES)
    assert len(catalog.functions(NAMES)) > 200


@pytest.mark.parametrize(
    ("module", "name", "expected"),
    [
        ("transformers.utils", "is_torch_fx_available", [("4.28.0", "4.57.6", "import", "")]),
        ("transformers.utils.import_utils", "is_torch_fx_available", [("4.28.0", "4.57.6", "function", "")]),
        (LLAMA, "LlamaFlashAttention2", [("4.34.0", "4.47.1", "class", "")]),
        (LLAMA, "StaticCache", [("4.38.0", "4.51.3", "import", "")]),
        ("transformers", "AdamW", [("4.28.0", "4.49.0", "class", "")]),
        # Optional: bound to None where flash-attn is missing up to 4.50.3, and not at all after that.
        (
            QWEN2_5_VL,
            "flash_attn_varlen_func",
            [("4.49.0", "4.50.3", "import", ""), ("4.51.0", "4.52.4", "import", "is_flash_attn_available()")],
        ),
        ("transformers.deepspeed", "", [("4.28.0", "4.45.2", "module", "")]),
        (LLAMA, "no_such_name", []),
        ("transformers.no_such_module", "x", []),
    ],
)
def test_names_that_can_be_imported(
    module: str, name: str, expected: list[tuple[str, str, str, str]]
) -> None:
    assert [tuple(span) for span in catalog.name_spans(module, name)] == expected


def test_names_that_are_still_there() -> None:
    for module, name in [
        ("transformers", "LlamaForCausalLM"),
        ("transformers.models.llama", "LlamaConfig"),
        ("transformers.models", "llama"),
        ("transformers.models.llama", "modeling_llama"),
        (LLAMA, "LlamaForCausalLM"),
    ]:
        spans = catalog.name_spans(module, name)
        assert spans, (module, name)
        assert spans[-1].last == catalog.newest_known(), (module, name)


def test_callers() -> None:
    (call,) = catalog.callers(LLAMA, PLAIN, "4.37.2")
    assert call == (LLAMA, "call 5 - 2", 3)  # eager, flash and SDPA attention, before they were one
    (call,) = catalog.callers(LLAMA, PLAIN, "5.0.0")
    assert call == (LLAMA, "call 4 - 2", 1)
    reads = catalog.callers("?", "rotary_emb", "4.37.2")
    assert all(read.places > 0 for read in reads)
    with pytest.raises(ValueError, match="not a release"):
        catalog.callers(LLAMA, PLAIN, "4.46.0")


def test_nearest_releases_of_a_live_signature() -> None:
    # A development build of 4.49.0 had the vision function of 4.48.3.
    (span,) = catalog.nearest_releases(QWEN2_VL, VISION, "(tensor, freqs)", "4.49.0")
    assert span == ("4.45.0", "4.48.3", "(tensor, freqs)")
    near = catalog.nearest_releases(LLAMA, PLAIN, "(q, k, cos, sin, unsqueeze_dim=1)", "4.57.6")
    assert near[0].first == "5.0.0"
    assert catalog.nearest_releases(LLAMA, PLAIN, "(nothing)", "4.57.6") == ()


@pytest.mark.parametrize(
    ("module", "name", "version", "said"),
    [
        (LLAMA, "LlamaFlashAttention2", None, "removed in 4.48.0 (was there from 4.34.0 to 4.47.1)"),
        (LLAMA, "LlamaFlashAttention2", "4.30.2", "added in 4.34.0"),
        (LLAMA, "LlamaFlashAttention2", "4.40.0", "there from 4.34.0 to 4.47.1"),
        (QWEN2_5_VL, FLASHATT, "5.0.0", "removed in 4.53.0 (was there from 4.49.0 to 4.52.4)"),
        (
            "transformers.utils",
            "is_torch_fx_available",
            "5.0.0",
            "removed in 5.0.0 (was there from 4.28.0 to 4.57.6)",
        ),
        (
            QWEN2_5_VL,
            "flash_attn_varlen_func",
            "4.52.0",
            "there from 4.49.0 to 4.52.4, only if is_flash_attn_available()",
        ),
        (
            LLAMA,
            "StaticCache",
            None,
            "removed in 4.52.1 (was there from 4.38.0 to 4.51.3); StaticCache is in transformers",
        ),
        (LLAMA, "LlamaRotaryEmbedding", None, "there since 4.28.0"),
        (LLAMA, "no_such_name", None, ""),
    ],
)
def test_explain(module: str, name: str, version: str | None, said: str) -> None:
    assert catalog.explain(module, name, version) == said


def test_opening_the_catalog_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, rope_compat.catalog as c; assert c.spans(*c.targets('apply_rotary_pos_emb')[0]); "
        "assert c.name_spans('transformers', 'AutoModel'); "
        "assert not {'torch', 'transformers', 'numpy', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_patch_asks_for_releases_alone_without_reading_facts() -> None:
    code = (
        "import sys, rope_compat; rope_compat.catalog.releases(); "
        "import rope_compat.catalog.store as s; "
        "assert not {'_section', '_uses', '_names'} & set(vars(s.catalog())); "
        "assert 'bz2' not in sys.modules and 'rope_compat.catalog.reading.facts' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("content", [None, b"no catalog"])
def test_a_file_that_the_environment_names_is_named_in_the_error(
    content: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / "my.catalog"
    if content is not None:
        file.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "rope_compat", "history", "rotate_half"],
        env={**os.environ, "ROPE_COMPAT_CATALOG": str(file)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert str(file) in done.stderr
    assert "ROPE_COMPAT_CATALOG names this file" in done.stderr


def test_one_module_is_read_without_the_others_and_says_the_same() -> None:
    path = str(resources.files("rope_compat.catalog") / "data" / "transformers.catalog")
    alone, whole = open_catalog(path), open_catalog(path)
    everything = dict.fromkeys(target.module for target, _ in whole.targets())
    for module in everything:
        assert alone.names(module) == whole.names(module)
    assert alone.names("transformers.models.llama") == ()


def test_the_data_is_as_small_as_it_is_said_to_be() -> None:
    path = resources.files("rope_compat.catalog") / "data" / "transformers.catalog"
    assert len(path.read_bytes()) < 1_500_000


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
