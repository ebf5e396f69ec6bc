"""``rope-compat``: the parser, the choice of the command, and the exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from rope_compat._version import __version__
from rope_compat.cli import doctor, plan
from rope_compat.errors import RopeCompatError

__all__ = ["main"]

_STATUS = "exit status: 0 nothing to report, 1 findings, 2 could not run (the reason is on standard error)"
_INTERRUPTED = 130  # what shells give a program that SIGINT ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; what ``rope-compat`` and ``python -m rope_compat`` do.

    ``argv``: the arguments after the program's name; those of this process when None. Returns the exit
    status: 0 nothing to report, 1 findings, 2 could not run, with the reason on standard error. Foreseeable
    failures raise nothing.
    """
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as leaving:  # argparse's way to end after --help, --version and bad arguments
        return leaving.code if isinstance(leaving.code, int) else 2
    if arguments.run is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_has_left()
    except KeyboardInterrupt:
        print("rope-compat: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except (RopeCompatError, OSError) as error:
        print(f"rope-compat: error: {error}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rope-compat",
        description="Makes transformers' rotary position embeddings (RoPE) work across its releases.",
        epilog=_STATUS,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"rope_compat {__version__}")
    parser.set_defaults(run=None)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON, for other programs to read")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in (doctor, plan):
        sub = commands.add_parser(
            command.NAME,
            parents=[common],
            help=command.SUMMARY,
            description=f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}.",
            epilog=_STATUS,
            allow_abbrev=False,
        )
        command.configure(sub)
        sub.set_defaults(run=command.run)
    return parser


def _reader_has_left() -> int:
    # As with `rope-compat plan | head`. Python would complain once more when it flushes at exit: nothing is
    # to be flushed any more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
