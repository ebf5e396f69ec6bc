"""The tutorial runs from the first block to the last, and its pictures are what the script draws."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


def script_of(page: Path) -> str:
    """The Python blocks of a page as one script; an error shows the line of the page."""
    text, lines = page.read_text("utf-8"), []
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        start = text.count("\n", 0, block.start(1))
        lines += [""] * (start - len(lines)) + block[1].splitlines()
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["tutorial.md", "rotary.md"])
def test_the_blocks_of_a_page_run_in_order(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As a reader would run them, in one session."""
    exec(compile(script_of(DOCS / name), str(DOCS / name), "exec"), {"__name__": "__main__"})
    if name == "tutorial.md":
        assert "inv_freq" in capsys.readouterr().out


def test_the_tutorial_ends_with_the_readers_model() -> None:
    script = script_of(DOCS / "tutorial.md")
    assert script.count("rope_compat.verify(model)") == 2
    assert script.index("rope_compat.verify(model)") > 0.8 * len(script)


def test_every_picture_is_shown() -> None:
    drawn = {path.name for path in (DOCS / "pictures").glob("tutorial-*.svg")}
    shown = set(re.findall(r"\(pictures/([\w-]+\.svg)\)", (DOCS / "tutorial.md").read_text("utf-8")))
    assert drawn == shown
    assert len(drawn) == 6


@pytest.mark.only(HAS_MATPLOTLIB, "needs the extra plot")
def test_the_pictures_are_what_the_script_draws(tmp_path: Path) -> None:
    script = DOCS / "make_tutorial_pictures.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, capture_output=True, timeout=280)
    drawn = sorted(tmp_path.glob("*.svg"))
    assert len(drawn) == 6
    for path in drawn:
        assert path.read_bytes() == (DOCS / "pictures" / path.name).read_bytes(), path.name
