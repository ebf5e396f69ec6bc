"""``rope-compat verify``: are the rotary numbers right, of the installation or of a model?"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rope_compat._outcome import page
from rope_compat._report.terminal import show, show_json
from rope_compat.errors import ArgumentError, IncompatibleVersionError

if TYPE_CHECKING:
    from rope_compat._outcome import Report

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="a directory with a model's config.json; weights are not read",
    )
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run the modeling code in that directory"
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="draw the phase errors over positions (with the extra plot)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Verify and print; return 1 if anything is wrong, else 0.

    Raises:
        ArgumentError: the arguments do not go together, or the model cannot be constructed.
        IncompatibleVersionError: torch, transformers or matplotlib is needed and is not installed.
    """
    if arguments.model is None and (arguments.plot or arguments.trust_remote_code):
        raise ArgumentError("--plot and --trust-remote-code are about a model: pass --model DIR too")
    try:
        report = _of_model(arguments) if arguments.model is not None else _of_installation()
    except ImportError as error:
        if isinstance(error, IncompatibleVersionError):
            raise
        raise IncompatibleVersionError(
            f"verify computes with torch and transformers, and one cannot be imported: {error}"
        ) from error
    if arguments.json:
        show_json(report.to_dict())
    else:
        show(page(report))
    return 0 if report.ok else 1


def _of_installation() -> Report:
    from rope_compat._cli.progress import watched
    from rope_compat._verify.installation.run import verify_installation

    return verify_installation(progress=watched)


def _of_model(arguments: argparse.Namespace) -> Report:
    if arguments.plot:
        from rope_compat._cli.phase_plot import require_matplotlib

        require_matplotlib()
    from rope_compat._verify.model.directory import construct
    from rope_compat._verify.model.meta_weights import StandInWeights
    from rope_compat._verify.model.run import verify_model

    model = construct(arguments.model, trust_remote_code=arguments.trust_remote_code)
    with ExitStack() as stack:
        stack.enter_context(StandInWeights())
        report, curves = verify_model(model, compare=False)
    if arguments.plot:
        from rope_compat._cli.phase_plot import draw

        draw(curves, arguments.plot, report.subject)
    return report
