"""``rope-compat plan``: what patch() would do here, step by step, with the reason for each shim."""

from __future__ import annotations

import argparse
import sys

from rope_compat import _api as api
from rope_compat._cli import installed_functions
from rope_compat._environment import detect
from rope_compat._plan import page, unexpected
from rope_compat._report.terminal import show, show_json
from rope_compat._rules.selection import Selection
from rope_compat.errors import IncompatibleVersionError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `rope_compat.patch`, and the command's own."""
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
        "--numbers",
        choices=("installed", "written_for"),
        default="installed",
        help="whose numbers models compute where releases differ (default: installed)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="refuse calls whose layout nothing proves and nothing declares"
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
    asked = {name: getattr(arguments, name) for name in ("written_for", "targets", "numbers", "strict")}
    plan = api.plan(**asked)
    if arguments.deep:
        _import(arguments.targets)
        plan = api.plan(**asked)
    if arguments.json:
        show_json(plan.to_dict())
    else:
        show(page(plan))
    return 1 if unexpected(plan) else 0


def _import(targets: list[str] | None) -> None:
    environment = detect()
    installed_functions.import_x_transformers(environment)
    if environment.x_transformers.present and not environment.transformers.present:
        return
    fatal = [problem for problem in environment.problems if problem.severity == "fatal"]
    location = environment.transformers.location
    if location is None or any(problem.code != "too-old" for problem in fatal):
        reason = "; ".join(map(str, fatal)) or "transformers has no directory"
        raise IncompatibleVersionError(f"--deep cannot import transformers: {reason}")
    chosen = installed_functions.choose(installed_functions.read(location), location, Selection(targets))
    about = f"transformers {environment.transformers.version}"
    imported = installed_functions.import_modules(chosen, about=about)
    if chosen and not imported.modules:
        module, reason = imported.failed[0]
        raise IncompatibleVersionError(f"--deep cannot import {module}: {reason}")
    for module, reason in imported.failed:
        print(f"rope-compat: not in the plan, as it cannot be imported: {module}: {reason}", file=sys.stderr)
