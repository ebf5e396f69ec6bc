"""``rope-compat identify``: what an unknown rotary function computes."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Any

from rope_compat._report.terminal import show, show_json
from rope_compat.errors import ArgumentError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "target",
        metavar="MODULE:NAME",
        help="a function, or an instance of a rotary module, such as mine.rotary:apply_rotary_pos_emb; "
        "the module is imported, and what it names is called",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what it is; return 0 for a rotation or for tables, 1 for anything else.

    Raises:
        ArgumentError: the module cannot be imported, or has no such name, or that cannot be called.
    """
    function = _find(arguments.target)
    from rope_compat._identify.identify import identify
    from rope_compat._identify.result import page

    identity = identify(function, name=arguments.target)
    if arguments.json:
        show_json(identity.to_dict())
    else:
        show(page(identity))
    return 0 if identity.is_rotation or identity.verdict == "tables" else 1


def _find(target: str) -> Any:
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise ArgumentError(
            f"{target!r} was given; expected MODULE:NAME, such as mine.rotary:apply_rotary_pos_emb"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` has it: the reader's own file is what is asked about
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ArgumentError(f"{module_name} cannot be imported: {error}") from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ArgumentError(f"{module_name} has no {path}: {name!r} is not there") from None
    return found
