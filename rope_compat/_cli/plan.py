"""``rope-compat plan``: what patch() would do here, step by step, with the reason for each shim."""

from __future__ import annotations

import argparse
import sys

from rope_compat import _api as api
from rope_compat._cli import importing, source
from rope_compat._environment import detect
from rope_compat._report import plan as pages
from rope_compat._report.json import show_json
from rope_compat._report.terminal import show
from rope_compat._rules.selection import Selection
from rope_compat.errors import IncompatibleVersionError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "--written-for",
        metavar="V",
        help="transformers release that the calling code was written for, such as 4.37",
    )
    parser.add_argument(
        "--targets",
        nargs="+",
        metavar="PATTERN",
        help='narrow to names, module:name patterns or packages, such as "*.modeling_llama:*"',
    )
    parser.add_argument(
        "--deep",
        action="store_true",
        help="import the models that are concerned, and plan with their functions, one by one",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the plan; return 1 if a target is there but cannot be adapted, else 0.

    Raises:
        ArgumentError: an argument is not one that `rope_compat.patch` takes.
        IncompatibleVersionError: ``--deep``, and transformers cannot be imported.
    """
    plan = api.plan(written_for=arguments.written_for, targets=arguments.targets)
    if arguments.deep:
        _import(arguments.targets)
        plan = api.plan(written_for=arguments.written_for, targets=arguments.targets)
    if arguments.json:
        show_json(plan.to_dict())
    else:
        show(pages.page(plan))
    return 1 if pages.unexpected(plan) else 0


def _import(targets: list[str] | None) -> None:
    environment = detect()
    importing.import_x_transformers(environment)
    if environment.x_transformers.present and not environment.transformers.present:
        return
    fatal = [problem for problem in environment.problems if problem.severity == "fatal"]
    location = environment.transformers.location
    if location is None or any(problem.code != "too-old" for problem in fatal):
        reason = "; ".join(map(str, fatal)) or "transformers has no directory"
        raise IncompatibleVersionError(f"--deep cannot import transformers: {reason}")
    chosen = importing.choose(source.read(location), location, Selection(targets))
    imported = importing.import_modules(chosen, about=f"transformers {environment.transformers.version}")
    if chosen and not imported.modules:
        module, reason = imported.failed[0]
        raise IncompatibleVersionError(f"--deep cannot import {module}: {reason}")
    for module, reason in imported.failed:
        print(f"rope-compat: not in the plan, as it cannot be imported: {module}: {reason}", file=sys.stderr)
