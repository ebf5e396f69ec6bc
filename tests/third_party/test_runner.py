"""The runner of third-party patches, with patches that are written here."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from support.installed import RELEASE

from third_party import table

#: It starts many processes.
SCRIPT = Path(__file__).with_name("run.py")
COMMIT = "0" * 40

#: Written for 4.37: tables, and positions that index them.
TABLES = """
import torch
from transformers.models.llama import modeling_llama

def rotate(position_ids):
    angles = torch.outer(torch.arange(24.0), torch.ones(4))
    table = torch.cat((angles, angles), dim=-1)
    q = torch.ones(2, 4, 24, 8)
    return modeling_llama.apply_rotary_pos_emb(q, q, table.cos(), table.sin(), position_ids)[0]

def apply(model):
    own = model.forward
    def forward(input_ids, **rest):
        found = rotate(torch.arange(24).expand(2, 24))
        assert found.shape == (2, 4, 24, 8)
        return own(input_ids, **rest)
    model.forward = forward
"""
UNUSED = """
from transformers.models.llama import modeling_llama

def apply_rotary_pos_emb_of_old(q, k, cos, sin):
    raise AssertionError

def apply():
    modeling_llama.apply_rotary_pos_emb_of_old = apply_rotary_pos_emb_of_old
"""
OTHER = """
from transformers.models.llama import modeling_llama

def rotate_half(x):
    return -x

def apply():
    modeling_llama.rotate_half = rotate_half
"""
BROKEN = "from transformers.models.llama.modeling_llama import there_never_was_such_a_name\n"
CHANGED = "1\n"
SOURCES = {"tables": TABLES, "unused": UNUSED, "other": OTHER, "broken": BROKEN, "changed": CHANGED}

RECORDS = """
from third_party.record import Record

def _record(name, digest, **rest):
    return Record(name=name, repository="me/mine", commit="{commit}", files={{f"{{name}}.py": digest}},
                  module=name, does="", model="llama", written_for="4.37.2", **rest)

RECORDS = (
    _record("tables", "{tables}", after=lambda patch, model: patch.apply(model)),
    _record("unused", "{unused}", before=lambda patch: patch.apply()),
    _record("other", "{other}", before=lambda patch: patch.apply()),
    _record("broken", "{broken}"),
    _record("changed", "{unused}"),
)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the script says of the patches above."""
    store = tmp_path_factory.mktemp("store")
    folder = store / "me" / "mine" / COMMIT
    folder.mkdir(parents=True)
    for name, source in SOURCES.items():
        (folder / f"{name}.py").write_text(source)
    digests = {name: hashlib.sha256(source.encode()).hexdigest() for name, source in SOURCES.items()}
    records = store / "records.py"
    records.write_text(RECORDS.format(commit=COMMIT, **digests))
    command = [sys.executable, str(SCRIPT), "--store", str(store), "--records", str(records), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return {**json.loads(done.stdout), "stderr": done.stderr}


def verdicts(found: Any, name: str) -> dict[str, str]:
    return {one["mode"]: one["verdict"] for one in found["patches"][name]}


def test_what_patch_makes_possible(found: Any) -> None:
    told = verdicts(found, "tables")
    native = Version(RELEASE) < Version("4.38")
    assert told.pop("without") == ("works" if native else "fails: run")
    assert set(told.values()) == {"works"}
    used = {tuple(one["used"]) for one in found["patches"]["tables"] if one["verdict"] == "works"}
    assert used == {("forward", "rotate")}


def test_what_nothing_calls_is_not_said_to_work(found: Any) -> None:
    assert set(verdicts(found, "unused").values()) == {"not used"}


def test_other_numbers_are_noticed(found: Any) -> None:
    assert set(verdicts(found, "other").values()) == {"other numbers"}


def test_the_reason_is_given_with_its_place(found: Any) -> None:
    assert set(verdicts(found, "broken").values()) == {"fails: import"}
    for one in found["patches"]["broken"]:
        assert "there_never_was_such_a_name" in one["error"]
        assert one["error"].endswith("(broken.py:1)")


def test_a_changed_file_is_not_run(found: Any) -> None:
    assert "changed" not in found["patches"]
    assert "not the unmodified file" in found["stderr"]


def test_the_table_shows_what_patch_makes_possible(found: Any) -> None:
    made = table.table([found])
    lines = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in made.splitlines()}
    assert lines["patch"] == found["transformers"]
    assert lines["tables"] == ("ok" if Version(RELEASE) < Version("4.38") else "no, ok")
    assert (lines["unused"], lines["other"], lines["broken"]) == ("unused", "other", "no")
