"""``rope-compat diff``: what changed in the RoPE API between two releases."""

from __future__ import annotations

import argparse
import sys

from rope_compat._report import changes as pages
from rope_compat._report.terminal import show, show_json
from rope_compat.catalog.compare import DIFF_KINDS, compare, side_of
from rope_compat.catalog.model import DEFAULT_KINDS, OTHER_KINDS
from rope_compat.catalog.query import targets
from rope_compat.errors import ArgumentError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "before",
        metavar="A",
        help="a release, such as 4.57.6; the path of a wheel, an unpacked transformers or a checkout; or "
        '"installed"',
    )
    parser.add_argument("after", metavar="B", help="the same")
    parser.add_argument(
        "--target",
        metavar="T",
        default="*",
        help='narrow to targets that fit, such as apply_rotary_pos_emb or "*.modeling_llama:*"',
    )
    parser.add_argument("--fields", action="store_true", help="fields of configuration classes as well")


def run(arguments: argparse.Namespace) -> int:
    """Print the changes; return 1 if there are any, else 0.

    Raises:
        ArgumentError: A or B is neither a release nor a path, or nothing fits ``--target``.
        BadSourceError: a path holds no transformers that can be read.
    """
    kinds = (*DIFF_KINDS, "field") if arguments.fields else DIFF_KINDS
    try:
        before, after = side_of(arguments.before), side_of(arguments.after)
    except ValueError as error:
        raise ArgumentError(str(error)) from None
    for given, side in ((arguments.before, before), (arguments.after, after)):
        if _is_stood_for(given, side.version):
            print(
                f"rope-compat: {given} is not in the catalog; {side.version} stands for it", file=sys.stderr
            )
    found = compare(before, after, pattern=arguments.target, kinds=kinds)
    if not found and not targets(arguments.target, kinds=(*DEFAULT_KINDS, *OTHER_KINDS)):
        raise ArgumentError(f"--target {arguments.target!r} fits no target of any release that is known")
    if arguments.json:
        show_json(pages.to_dict(before.version, after.version, found))
    else:
        show(pages.page(before.version, after.version, found))
    return 1 if found else 0


def _is_stood_for(given: str, version: str) -> bool:
    """Whether a version was asked for, and another one found (4.46.0, 4.49.0.dev0)."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(given) != Version(version)
    except InvalidVersion:
        return False  # a path
