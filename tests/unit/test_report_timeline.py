"""The timeline and its pictures: what is drawn, where, and in which colour."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from rope_compat import catalog
from rope_compat._report.html import document
from rope_compat._report.svg import picture
from rope_compat._report.timeline import (
    BODY,
    Event,
    History,
    Stretch,
    Timeline,
    differences,
    families,
    grouped,
    labeller,
    noun,
    of_name,
    of_target,
)
from rope_compat.catalog.model import DEFAULT_KINDS, Target

SVG = "{http://www.w3.org/2000/svg}"
MODELS = "transformers.models"
LLAMA = Target(f"{MODELS}.llama.modeling_llama", "apply_rotary_pos_emb")


def timeline(pattern: str, first: str | None = None, last: str | None = None) -> Timeline:
    builds = catalog.builds()
    found = tuple(of_target(each) for each in catalog.targets(pattern, kinds=DEFAULT_KINDS))
    start = builds.index(first) if first else 0
    end = builds.index(last) if last else len(builds) - 1
    return Timeline(pattern, found, builds, start, end)


def made_up(*rows: tuple[str, list[tuple[int, int, str]]]) -> Timeline:
    """A timeline of ten releases from 1.0.0 to 1.9.0."""
    found = tuple(
        History(
            Target(module, "f"),
            "function",
            tuple(
                Stretch(first, last, signature, signature, "function") for first, last, signature in stretches
            ),
        )
        for module, stretches in rows
    )
    return Timeline("f", found, tuple(f"1.{number}.0" for number in range(10)), 0, 9)


def bars(svg: str) -> list[tuple[str, float, float, str]]:
    """Class, left, width and tooltip of each bar."""
    return [
        (each.get("class", ""), float(each.attrib["x"]), float(each.attrib["width"]), title.text or "")
        for each in ElementTree.fromstring(svg).iter(f"{SVG}rect")
        if (title := each.find(f"{SVG}title")) is not None and each.get("class")
    ]


def test_a_target_s_stretches_are_its_spans() -> None:
    found = of_target(LLAMA)
    builds = catalog.builds()
    assert [(builds[each.first], builds[each.last], each.signature) for each in found.stretches] == [
        tuple(span) for span in catalog.spans(*LLAMA)
    ]
    column = builds.index("4.29.0")
    assert found.stretches[0].events == (Event(column, BODY),)
    assert found.body_changes() == (column,)
    with pytest.raises(ValueError, match="m:f is not a target"):
        of_target(Target("m", "f"))


def test_names_that_never_were() -> None:
    assert of_name(Target(LLAMA.module, "no_such_name")) is None


def test_narrowing_cuts_stretches_and_events() -> None:
    whole = History(
        Target("m", "f"),
        "function",
        (
            Stretch(0, 4, "(a)", "(a)", "function", events=(Event(2, BODY), Event(3, BODY))),
            Stretch(6, 9, "(b)", "(b)", "function"),
        ),
    )
    cut = whole.narrowed(2, 5)
    # What changed in column 2 changed against column 1, which is not shown.
    assert [(each.first, each.last, each.events) for each in cut.stretches] == [(2, 4, (Event(3, BODY),))]
    assert whole.narrowed(5, 5).stretches == ()


def test_groups_and_families() -> None:
    rows = made_up(
        ("m.a", [(0, 4, "(a)"), (5, 9, "(b)")]),
        ("m.b", [(2, 4, "(a)"), (5, 9, "(b)")]),
        ("m.c", [(2, 4, "(a)"), (5, 9, "(b)")]),
        ("m.d", [(2, 5, "(a)"), (6, 9, "(b)")]),
    ).histories()

    exact = [[member.target.module for member in group.members] for group in grouped(rows)]
    assert exact == [["m.b", "m.c"], ["m.a"], ["m.d"]]
    loose = grouped(rows, by_start=False)
    assert [[member.target.module for member in group.members] for group in loose] == [
        ["m.a", "m.b", "m.c"],
        ["m.d"],
    ]
    assert loose[0].starts() == (0, 2)
    assert [[len(group.members) for group in family] for family in families(rows)] == [[1, 2], [1]]


@pytest.mark.parametrize(
    ("targets", "labels", "counted"),
    [
        (
            [
                (f"{MODELS}.llama.modeling_llama", "f"),
                (f"{MODELS}.llama.configuration_llama", "f"),
                (f"{MODELS}.deprecated.mega.modeling_mega", "f"),
                (f"{MODELS}.llama", "f"),
                ("transformers.modeling_rope_utils", "f"),
            ],
            ["llama", "llama (configuration)", "deprecated.mega", "llama (package)", "modeling_rope_utils"],
            "module",
        ),
        ([("m.a", "A.forward"), ("m.b", "B.forward")], ["A", "B"], "class"),
        (
            [("m.a", "A.forward"), ("m.b", "A.forward"), ("m.b", "g")],
            ["m.a:A.forward", "m.b:A.forward", "g"],
            "target",
        ),
    ],
)
def test_labels_say_what_is_different(
    targets: list[tuple[str, str]], labels: list[str], counted: str
) -> None:
    histories = [History(Target(*each), "function", ()) for each in targets]
    label = labeller(histories)
    assert [label(each.target) for each in histories] == labels
    assert noun(histories) == counted


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("(q, k)", "(q, k, unsqueeze_dim=1)", "adds unsqueeze_dim=1"),
        ("(q, k, position_ids)", "(q, k, position_ids=None)", "position_ids becomes position_ids=None"),
        ("(q, cos, sin)", "(q, sin, cos)", "in another order"),
        ("(a, x=(1, ', '))", "(a, *, b, **kw)", "adds *, b, **kw; drops x"),
        ("(a, /, b)", "(a, b)", "drops /"),
        ("{'default', 'linear'}", "{'linear'}", "drops 'default'"),
        ("(a, b, c, d, e, f, g, h)", "(z)", "adds z; drops a, b, c, d, e, f and 2 more"),
        ("10000.0", "1000000.0", ""),
    ],
)
def test_differences(before: str, after: str, said: str) -> None:
    assert differences(*(Stretch(0, 0, each, each, "function") for each in (before, after))) == said


def test_a_bar_for_each_span() -> None:
    drawn = bars(picture(timeline(str(LLAMA))))
    spans = catalog.spans(*LLAMA)
    assert len(drawn) == len(spans)
    assert len({style for style, *_ in drawn}) == len(spans)
    for (_, _, _, tip), span in zip(drawn, spans, strict=True):
        assert tip == f"{span.first} - {span.last}\n{span.signature}"
    for (_, left, width, _), (_, following, *_) in pairwise(drawn):
        assert left + width < following <= left + width + 1.2


def test_one_colour_for_one_signature() -> None:
    svg = picture(timeline("apply_rotary_pos_emb"))
    styles: dict[str, set[str]] = {}
    for style, _, _, tip in bars(svg):
        styles.setdefault(tip.split("\n")[1], set()).add(style)
    assert len(styles) > 10
    assert all(len(each) == 1 for each in styles.values())
    legend = [each.text for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert set(styles) <= set(legend)


def test_a_row_for_each_history_and_a_mark_where_only_bodies_changed() -> None:
    found = timeline("apply_rotary_pos_emb")
    root = ElementTree.fromstring(picture(found))
    rows = [each for each in root.findall(f"{SVG}g") if each.find(f"{SVG}text") is not None]
    assert len(rows) == len(grouped(found.histories()))
    tips = [each.findtext(f"{SVG}title") for each in root.iter(f"{SVG}circle")]
    assert "4.29.0: body changed" in tips
    assert any(re.fullmatch(r"[\d.]+: body changed in \d+ of \d+", tip or "") for tip in tips)


def test_many_signatures_are_told_apart_by_patterns_and_then_grey() -> None:
    root = picture(made_up(*((f"m.m{n:02}", [(0, 9, f"(a{n})")]) for n in range(40))))
    styles = [style for style, *_ in bars(root)]
    assert styles.count("c0") == 4
    assert styles.count("cx") == 12
    assert 'fill="url(#rc-p3)"' in root
    assert "12 more signatures" in root


def test_rows_that_are_not_drawn_are_counted() -> None:
    svg = picture(made_up(*((f"m.m{n:03}", [(0, 9, f"(a{n})")]) for n in range(305))))
    assert len(bars(svg)) == 300
    assert "5 more histories are not drawn." in svg


@pytest.mark.parametrize(
    ("first", "last"), [(None, None), ("5.0.0", None), ("4.57.1", "4.57.6"), ("5.0.0", "5.0.0")]
)
def test_labels_do_not_touch_and_nothing_leaves_the_picture(first: str | None, last: str | None) -> None:
    root = ElementTree.fromstring(picture(timeline("apply_rotary_pos_emb", first, last)))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    ticks: dict[str, list[float]] = {}
    for each in root.iter(f"{SVG}text"):
        moved = re.match(r"translate\(([\d.]+) ([\d.]+)\)", each.get("transform", ""))
        if moved:
            ticks.setdefault(moved[2], []).append(float(moved[1]))
        else:
            right = float(each.attrib["x"]) + (
                6.65 * len(each.text or "") if "m" in each.get("class", "") else 0
            )
            assert right < width
            assert float(each.attrib["y"]) < height
    assert ticks
    for places in ticks.values():
        assert all(after - before >= 12 for before, after in pairwise(places))
    for _, left, wide, _ in bars(ElementTree.tostring(root, encoding="unicode").replace("ns0:", "")):
        assert left + wide <= width


def test_labels_of_rows_fit_their_place() -> None:
    for pattern in ("apply_rotary_pos_emb", "FalconH1*", "*RotaryEmbedding"):
        for group in ElementTree.fromstring(picture(timeline(pattern))).findall(f"{SVG}g"):
            label = group.find(f"{SVG}text")
            assert label is not None
            text = "".join(label.itertext()).removeprefix(label.findtext(f"{SVG}title") or "")
            assert 0 < len(text) * 6.65 <= 250


def test_text_is_escaped() -> None:
    signature = "(x='<&>', y=\"</title>\", z='\u2581')"
    found = made_up(("m.<a>", [(0, 9, signature)]))
    svg = picture(found)
    assert svg.isascii()
    assert [tip for *_, tip in bars(svg)] == [f"1.0.0 - 1.9.0\n{signature}"]
    page = document(found)
    assert page.isascii()
    assert "<a>" not in page
    assert "x=&#x27;&lt;&amp;&gt;&#x27;" in page


def test_pictures_are_the_same_every_time_and_need_nothing_else() -> None:
    found = timeline("*RotaryEmbedding")
    page = document(found)
    assert page == document(timeline("*RotaryEmbedding"))
    assert set(re.findall(r"https?://[^\"'<)\s]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(src|href)=|@import|url\((?!#)", page)
    assert page.count("prefers-color-scheme:dark") == 2


def test_the_table_has_every_span_of_every_target() -> None:
    found = timeline("apply_rotary_pos_emb")
    page = document(found)
    body = page[page.index("<table") : page.index("</table>") + len("</table>")].replace("<br>", " ")
    table = ElementTree.fromstring(body)
    groups = grouped(found.histories())
    assert len(table.findall("tbody")) == len(groups)
    assert len(table.findall("tbody/tr")) == sum(len(group.stretches) for group in groups)
    named = {"".join(each.itertext()) for each in table.iter("code")}
    assert {str(each.target) for each in found.found} <= named


def test_nothing_in_the_releases_shown() -> None:
    found = timeline(f"{LLAMA.module}:LlamaFlashAttention2", "5.0.0")
    svg = picture(found)
    assert bars(svg) == []
    assert "not there in transformers 5.0.0 - " in svg
    assert "<tbody>" not in document(found)
