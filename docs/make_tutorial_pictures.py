"""Draw the pictures of docs/tutorial.md from the mathematics in ``rope_compat.rotary``.

``python docs/make_tutorial_pictures.py [FOLDER]`` writes one SVG file each, to docs/pictures if no folder is
named. Needs torch and matplotlib: ``pip install 'rope_compat[torch,plot]'``. The same release of matplotlib
draws the same bytes again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure

from rope_compat.rotary import angles, decay, exact, reference, xpos

PICTURES = Path(__file__).resolve().parent / "pictures"
STYLE = {
    "svg.hashsalt": "rope_compat",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "white",
    "figure.facecolor": "white",
    "legend.frameon": False,
    "path.simplify": True,
}
DIM, THETA = 64, 10000.0


def pairs(figure: Any) -> None:
    """Three pairs of one vector at positions 0 to 8: the first turns fast, the last hardly."""
    inv_freq, _ = exact.default(8, 100.0)
    axes = figure.subplots(1, 4)
    for pair, ax in enumerate(axes):
        turned = reference.cis(torch.arange(9) * inv_freq[pair])
        ax.plot(turned.real, turned.imag, color="tab:blue", marker="o", markersize=3, linewidth=0.5)
        for position in (0, 1, 8):
            at = turned[position]
            ax.annotate(
                str(position), (float(at.real) * 1.25 - 0.06, float(at.imag) * 1.25 - 0.06), fontsize=8
            )
        ax.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), xticks=[], yticks=[], aspect="equal")
        ax.set_title(f"pair {pair}: {float(inv_freq[pair]):.2f} rad", fontsize=9)


def scores(figure: Any) -> None:
    """The score of a query and a key that is 3 positions behind, by position: a rotation, and the mistake."""
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, DIM, generator=generator, dtype=torch.float64)
    by = angles.angles(torch.arange(160), exact.default(DIM, THETA)[0])
    wrong = torch.cat([by, by], dim=-1)

    def mistaken(x: torch.Tensor) -> torch.Tensor:
        partner = torch.stack([-x[1::2], x[0::2]], dim=-1).flatten()
        return x * wrong.cos() + partner * wrong.sin()

    ax = figure.subplots()
    for label, turned in (
        (
            "interleaved pairs",
            [reference.rotate_by_angle(x.expand(160, -1), by, "interleaved") for x in (q, k)],
        ),
        ("half pairs", [reference.rotate_by_angle(x.expand(160, -1), by, "half") for x in (q, k)]),
        ("interleaved pairs, angles laid out by halves", [mistaken(q), mistaken(k)]),
    ):
        ax.plot(range(3, 160), (turned[0][3:] * turned[1][:-3]).sum(dim=-1), label=label, linewidth=1)
    ax.set(xlabel="position of the query; the key is 3 before it", ylabel="score")
    ax.legend(fontsize=8)


def scalings(figure: Any) -> None:
    """By how much each rope type divides the frequency of each pair."""
    plain = exact.default(128, 500000.0)[0]
    ax = figure.subplots()
    for label, made in (
        ("linear, factor 8", exact.linear(128, 500000.0, 8.0)),
        ("dynamic, factor 8, at 2 times the length", exact.dynamic(128, 500000.0, 8.0, 8192, 16384)),
        ("yarn, factor 8", exact.yarn(128, 500000.0, 8.0, 8192)),
        ("llama3, factor 8", exact.llama3(128, 500000.0, 8.0, 1.0, 4.0, 8192)),
    ):
        ax.plot(range(64), plain / made[0], label=label, linewidth=1)
    ax.set(xlabel="pair of channels, fastest first", ylabel="divided by")
    ax.legend(fontsize=8)


def errors(figure: Any) -> None:
    """How far the worst pair is off, by position, for mistakes that raise no error."""
    positions = torch.logspace(0, 5, 60, dtype=torch.float64)
    inv_freq = exact.default(128, 500000.0)[0]
    ax = figure.subplots()
    for label, given in (
        ("theta of 10000 in place of 500000", exact.default(128, 10000.0)[0]),
        ("linear scaling of 8 where there is none", inv_freq / 8),
        ("inverse frequencies in bfloat16", inv_freq.to(torch.bfloat16).double()),
        ("inverse frequencies in float32", inv_freq.to(torch.float32).double()),
    ):
        ax.loglog(positions, positions * (given - inv_freq).abs().max(), label=label, linewidth=1)
    ax.axhline(torch.pi, color="gray", linewidth=0.5, linestyle="--")
    ax.set(xlabel="position", ylabel="largest phase error, radians", ylim=(1e-8, 1e6))
    ax.legend(fontsize=8, loc="lower right")


def sections(figure: Any) -> None:
    """Which coordinate of a token turns each pair."""
    rows = [
        ("contiguous, 8 12 12", angles.contiguous([8, 12, 12])),
        ("interleaved, 12 10 10", angles.interleaved([12, 10, 10])),
        ("image, two axes", [1 + axis for axis in angles.axial(DIM, THETA)[1]]),
    ]
    ax = figure.subplots()
    colors = ("tab:orange", "tab:blue", "tab:green")
    for row, (_, axes) in enumerate(rows):
        ax.bar(range(len(axes)), 0.7, bottom=2 - row, width=0.9, color=[colors[axis] for axis in axes])
    for axis, name in enumerate(("time", "height", "width")):
        ax.bar([0], [0], color=colors[axis], label=name)
    ax.set(xlabel="pair of channels", yticks=[2.35, 1.35, 0.35], ylim=(0, 3.4))
    ax.set_yticklabels([name for name, _ in rows])
    ax.legend(fontsize=8, ncols=3, loc="upper right")


def fading(figure: Any) -> None:
    """RoFormer's bound, and the scales of xPos, by distance."""
    distances = torch.arange(0, 1025, 8)
    bound = decay.mean_partial_sum(distances, exact.default(DIM, THETA)[0])
    scale = xpos.scales(distances, DIM)
    ax = figure.subplots()
    ax.plot(distances, bound / bound[0], label="RoFormer's bound, relative", linewidth=1)
    for pair in (0, 8, 31):
        ax.plot(distances, scale[:, pair], label=f"xPos, pair {pair}", linewidth=1, linestyle="--")
    ax.set(xlabel="distance", ylabel="relative", ylim=(0, 1.05))
    ax.legend(fontsize=8)


DRAWN: dict[str, tuple[Callable[[Any], None], tuple[float, float]]] = {
    "tutorial-pairs": (pairs, (7.0, 2.0)),
    "tutorial-scores": (scores, (7.0, 2.8)),
    "tutorial-scalings": (scalings, (7.0, 2.8)),
    "tutorial-errors": (errors, (7.0, 2.8)),
    "tutorial-sections": (sections, (7.0, 2.0)),
    "tutorial-fading": (fading, (7.0, 2.8)),
}


def draw(folder: Path) -> list[Path]:
    """Write all pictures to a folder; return their paths."""
    written = []
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):
        for name, (fill, size) in DRAWN.items():
            figure = Figure(figsize=size, layout="constrained")
            fill(figure)
            path = folder / f"{name}.svg"
            figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
            lines = [line.rstrip() for line in path.read_text("utf-8").splitlines()]
            path.write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
            written.append(path)
    return written


def main(arguments: Sequence[str]) -> int:
    for path in draw(Path(arguments[0]) if arguments else PICTURES):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
