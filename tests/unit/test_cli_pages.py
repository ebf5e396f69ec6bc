"""How pages look: plain text everywhere, rich on a terminal where rich is installed; both fit 100 columns."""

from __future__ import annotations

import importlib.util
import io
import logging
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_compat._cli import installed_functions as importing
from rope_compat._report.page import Item, Page, Row, Section, page_text
from rope_compat._report.terminal import show
from rope_compat._status import Adapted, Status
from rope_compat._status import page as status_page

PAGE = Page(
    "TAKE CARE: [red]this is no markup[/red].",
    (
        Section("Table", (Row("short", "one"), Row("a longer label", "transformers[torch] " + "word " * 40))),
        Section("Empty", ()),
        Section("List", (Item("what is wrong", "bad", ("-> pip install --no-deps x",)),)),
    ),
    "warn",
    "The end.",
)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


Shown = Callable[..., str]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What `show` writes to a terminal."""

    def shown(page: Page, columns: int = 120) -> str:
        stream = Terminal()
        with monkeypatch.context() as patch:
            # In the test rather than before it: pytest has its own standard output for each phase.
            patch.setattr(sys, "stdout", stream)
            patch.setenv("COLUMNS", str(columns))
            patch.setenv("TERM", "xterm")
            show(page)
        return stream.getvalue()

    monkeypatch.delenv("NO_COLOR", raising=False)
    return shown


def test_plain_text() -> None:
    text = page_text(PAGE)
    assert text.startswith("TAKE CARE: [red]this is no markup[/red].\n\nTable\n  short           one\n")
    assert "  X what is wrong\n      -> pip install --no-deps x\n\nThe end." in text
    assert "Empty" not in text


words = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=150)
sentences = st.lists(words, max_size=12).map(" ".join)


@given(
    st.lists(st.one_of(st.builds(Row, words.map(lambda s: s[:20]), sentences), st.builds(Item, sentences)))
)
def test_every_page_fits_and_loses_nothing(entries: list[Row | Item]) -> None:
    page = Page("First.", (Section("Title", tuple(entries)),))
    text = page_text(page)
    assert max(map(len, text.splitlines())) <= 100
    squeezed = "".join(text.split())
    for entry in entries:
        assert "".join(entry.text.split()) in squeezed


def test_without_rich_a_terminal_gets_plain_text(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert shown(PAGE) == page_text(PAGE) + "\n"


def test_no_terminal_gets_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    show(PAGE)
    assert capsys.readouterr().out == page_text(PAGE) + "\n"


# Not collected where rich, which is an extra, is not installed: there is nothing to test then.
if importlib.util.find_spec("rich") is not None:

    def test_rich_says_the_same_on_100_columns(shown: Shown) -> None:
        coloured = shown(PAGE)
        assert ESCAPES.search(coloured)
        plain = ESCAPES.sub("", coloured)
        assert max(map(len, plain.splitlines())) <= 100
        squeezed = "".join(plain.split())
        for said in (
            "[red]thisisnomarkup[/red].",
            "transformers[torch]word",
            "pipinstall--no-depsx",
            "Theend.",
        ):
            assert said in squeezed

    def test_no_color_is_respected(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
        assert _colours(shown(PAGE))
        monkeypatch.setenv("NO_COLOR", "1")
        text = shown(PAGE)
        assert "what is wrong" in text
        assert not _colours(text)

    def test_a_narrow_terminal_is_not_overrun(shown: Shown) -> None:
        lines = ESCAPES.sub("", shown(PAGE, columns=50)).splitlines()
        assert 40 < max(map(len, lines)) <= 50


def _colours(text: str) -> set[str]:
    """The colours (30 to 37, 90 to 97) that escape sequences in a text switch on."""
    codes = {part for code in re.findall(r"\x1b\[([0-9;]*)m", text) for part in code.split(";")}
    return {code for code in codes if re.fullmatch("[39][0-7]", code)}


def test_status_page() -> None:
    adapted = (Adapted("m:f", "x: y", {"(q, k)": 2}), Adapted("m:g", "x: y", {}))
    text = page_text(status_page(Status(True, 1, adapted, (("m:h", "odd"),), ("no effect",))))
    assert text == (
        "rope_compat is on: 2 targets adapted by 1 patch() call.\n\n"
        "Calls in foreign forms:\n  - m:f: 2 (q, k)\n\nLeft alone:\n  ! m:h: odd\n\n"
        "Without effect:\n  - no effect"
    )
    off = page_text(status_page(Status(False, 0, (), (), ())))
    assert off == "rope_compat is off: nothing is patched."


@pytest.mark.parametrize("kind", ["rich", "counter", "line"])
def test_importing_goes_on_after_a_failure_and_stays_quiet(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [f"rope_compat_test_{kind}_{number}" for number in range(3)]
    noise = "import logging, warnings\nprint('noise')\nwarnings.warn('noise')\nlogging.error('noise')\n"
    for name, end in zip(
        names, ("", "raise ValueError('first\\nsecond')\n", "raise SystemExit\n"), strict=True
    ):
        (tmp_path / f"{name}.py").write_text(noise + end)
    monkeypatch.syspath_prepend(str(tmp_path))
    # A stand-in, so that the failures are those of modules of a package that could be imported.
    monkeypatch.setitem(sys.modules, "transformers", sys.modules.get("transformers", sys))
    stream = Terminal() if kind != "line" else sys.stderr
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    if kind == "counter":
        monkeypatch.setitem(sys.modules, "rich.progress", None)
    level = logging.root.manager.disable
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        imported = importing.import_modules(names, "something")
    for name in names:
        sys.modules.pop(name, None)
    assert list(imported.modules) == names[:1]
    assert imported.failed == ((names[1], "ValueError: first"), (names[2], "SystemExit: (no message)"))
    assert (warned, logging.root.manager.disable) == ([], level)
    captured = capsys.readouterr()
    shown = captured.err + (stream.getvalue() if isinstance(stream, Terminal) else "")
    assert "noise" not in captured.out + shown
    assert "importing 3 modules of something" in ESCAPES.sub("", shown)
