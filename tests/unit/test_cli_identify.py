"""rope-compat identify, on functions in a file of the reader's."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rope_compat._cli.main import main

SOURCE = """
import torch

def turn(x):
    x1, x2 = x.chunk(2, -1)
    return torch.cat((-x2, x1), -1)

def apply(q, k, cos, sin):
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return q * cos + turn(q) * sin, k * cos + turn(k) * sin

def wrong(x):
    return torch.cat((-x[..., 1::2], x[..., ::2]), -1)

class Home:
    apply = staticmethod(apply)
"""


@pytest.fixture(autouse=True)
def _mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_rotary.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine_rotary", raising=False)


def test_a_rotation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["identify", "mine_rotary:apply"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("mine_rotary:apply: rotation, half pairing.\n")
    assert max(map(len, text.splitlines())) <= 100


def test_a_mistake_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["identify", "mine_rotary:wrong", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["example"]["output"]) == ("not a rotation", [-2.0, -4.0, 1.0, 3.0])


def test_dotted_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["identify", "mine_rotary:Home.apply", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"] == "concatenated"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("mine_rotary", "expected MODULE:NAME"),
        ("there_is_no_such_module:f", "cannot be imported"),
        ("mine_rotary:nothing", "has no nothing"),
        ("mine_rotary:Home", "construct it first"),
    ],
)
def test_what_cannot_be_found(target: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["identify", target]) == 2
    assert said in capsys.readouterr().err
