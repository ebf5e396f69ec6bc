"""A picture of phase errors over positions, by matplotlib, which the extra ``plot`` brings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rope_compat.errors import ArgumentError, IncompatibleVersionError

if TYPE_CHECKING:
    from rope_compat._verify.model.embedding import Curve

__all__ = ["draw", "require_matplotlib"]


def require_matplotlib() -> Any:
    """matplotlib's figures.

    Raises:
        IncompatibleVersionError: it is not installed; the message names the extra.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise IncompatibleVersionError(
            "--plot needs matplotlib, which is not installed: pip install 'rope_compat[plot]'"
        ) from error
    return Figure


def draw(curves: Sequence[Curve], file: str, subject: str) -> None:
    """Write a picture; its format is that of the file's name.

    Args:
        curves: radians over positions; equal ones are drawn once, with the number of modules.
        file: where to.
        subject: the title.

    Raises:
        ArgumentError: matplotlib does not know the format.
        OSError: the file cannot be written.
    """
    figure = require_matplotlib()(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, positions, errors in _distinct(curves):
        # Zero has no place on a logarithmic axis: half the smallest error that float32 can show.
        axes.plot(positions, [max(error, 3e-8) for error in errors], label=name, marker=".")
    axes.set_xscale("symlog", base=2, linthresh=1)
    axes.set_yscale("log")
    axes.set_xlabel("position")
    axes.set_ylabel("largest phase error (radians)")
    axes.set_title(subject)
    axes.axhline(3.141592653589793, color="0.6", linestyle=":", label="half a turn")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    try:
        figure.savefig(file)
    except ValueError as error:
        raise ArgumentError(f"--plot {file}: {error}") from error


def _distinct(curves: Sequence[Curve]) -> list[tuple[str, list[int], list[float]]]:
    found: dict[tuple[tuple[int, ...], tuple[float, ...]], list[str]] = {}
    for curve in curves:
        key = tuple(curve.positions.tolist()), tuple(curve.errors.tolist())
        found.setdefault(key, []).append(curve.name)
    return [
        (names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", list(key[0]), list(key[1]))
        for key, names in found.items()
    ]
