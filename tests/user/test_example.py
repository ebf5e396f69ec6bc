"""The example runs on the installed release: the README's first command, as a user would type it."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from support.lanes import ONCE

SCRIPT = Path(__file__).parents[2] / "examples" / "qwen2_5_vl_flashatt.py"
INSTALLED = importlib.metadata.version("transformers")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    # By its path, so that the rope_compat that is installed for these tests is the one that runs.
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=280)


def last_line(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert result.stdout, result.stderr
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def expected_model() -> tuple[str, str]:
    """The model that the example takes, and the function that its attention calls."""
    release = Version(INSTALLED)
    if release >= Version("4.49.0.dev0"):
        return "Qwen2.5-VL", "apply_rotary_pos_emb_flashatt"
    if release >= Version("4.45.0"):
        return "Qwen2-VL", "apply_rotary_pos_emb_vision"
    return "Llama", "apply_rotary_pos_emb"


def expected_how() -> str:
    """What rope_compat has to do there, for code that was written for another range of releases."""
    release = Version(INSTALLED)
    if release >= Version("4.53.0"):
        return "restored"
    if release >= Version("4.49.0"):
        return "native form"
    return "native form" if release < Version("4.38.0") else "adapted"


def test_example_agrees_with_the_unmodified_model() -> None:
    result = run("--json")
    assert result.returncode == 0, result.stdout + result.stderr
    told = last_line(result)
    assert told["transformers"] == INSTALLED
    assert (told["model"], told["function"]) == expected_model()
    assert told["how"].startswith(expected_how())
    assert "logits" in told["difference"]
    assert ("vision features" in told["difference"]) == (told["model"] != "Llama")
    for name, difference in told["difference"].items():
        # A rotation left out, reversed or shifted by a row changes them by 0.5 or more.
        assert difference <= 1e-5
        assert told["size"][name] > 0.5


@pytest.mark.lane(ONCE)
def test_example_prints_the_version_and_the_difference() -> None:
    result = run()
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"transformers {INSTALLED}, torch " in result.stdout
    assert f"how it ran: {expected_how()}" in result.stdout
    assert "logits: at most " in result.stdout


def test_example_fails_without_rope_compat() -> None:
    """It would show nothing if it worked anyway."""
    result = run("--without", "--json")
    if Version(INSTALLED) < Version("4.38.0"):
        # Written for 4.37 and earlier: nothing to do there.
        assert result.returncode == 0, result.stdout + result.stderr
        return
    assert result.returncode == 1, result.stdout + result.stderr
    told = last_line(result)
    assert "difference" not in told
    assert told["failed"].partition(":")[0] in ("ImportError", "NameError", "RuntimeError", "TypeError")
