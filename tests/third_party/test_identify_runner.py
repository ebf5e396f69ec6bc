"""The runner of other projects' functions, with files that are written here."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from rope_compat import identify
from third_party import identify_run
from third_party.identify_sources import Known, extract, load
from third_party.records.functions import RECORDS
from third_party.sources import MissingSourceError

SOURCE = """
import there_is_no_such_package
from there_is_no_such_package import jit

@jit
def turn(x):
    x1, x2 = x.chunk(2, -1)
    return torch.cat((-x2, x1), -1)

@jit
def apply(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return x * cos + turn(x) * sin
"""


def known(**fields: object) -> Known:
    digest = hashlib.sha256(SOURCE.encode()).hexdigest()
    given = {"pairing": "half", "tables": "concatenated", "layout": "as tables"} | fields
    return Known("me/mine", "0" * 40, "rotary.py", digest, ("turn", "apply"), **given)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "me" / "mine" / ("0" * 40)
    folder.mkdir(parents=True)
    (folder / "rotary.py").write_text(SOURCE)
    return tmp_path


def test_functions_run_without_what_their_file_imports(store: Path) -> None:
    identity = identify(load(known(), store, download=False))
    assert identify_run.differences(known(), identity) == []
    assert identify_run.differences(known(pairing="interleaved"), identity) == [
        "pairing 'half', expected 'interleaved'"
    ]
    assert "| half | as tables | cos, sin | concatenated | yes |" in identify_run.row(known(), identity, [])


def test_a_changed_file_is_not_run(store: Path) -> None:
    path = next(store.rglob("rotary.py"))
    path.write_text(SOURCE + "#")
    with pytest.raises(MissingSourceError, match="not the unmodified file"):
        load(known(), store, download=False)
    path.unlink()
    with pytest.raises(MissingSourceError, match="--download"):
        load(known(), store, download=False)


def test_a_name_that_is_not_there_is_said() -> None:
    with pytest.raises(MissingSourceError, match="does not define gone"):
        extract(SOURCE, ("turn", "gone"))
    assert extract(SOURCE, ("turn",))(torch.arange(4.0)).tolist() == [-2, -3, 0, 1]


def test_there_are_twenty_of_other_projects() -> None:
    assert len(RECORDS) >= 20
    assert len({record.repository for record in RECORDS}) >= 20
    assert len({(record.repository, record.path, record.names) for record in RECORDS}) == len(RECORDS)
