"""``rope-compat``: the parser, the choice of the command, and the exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from rope_compat._version import __version__
from rope_compat.errors import RopeCompatError

__all__ = ["COMMANDS", "main"]

#: What each module of this package does, by its name.
COMMANDS = {
    "doctor": "what is installed, what is known to be wrong with it, and what patch() would do",
    "plan": "what patch() would do here, step by step, with the reason for each shim",
    "verify": "whether the rotary numbers are right, of the installation or of a model",
    "history": "how one target's API changed over all releases",
    "diff": "what changed in the RoPE API between two releases",
    "identify": "what an unknown rotary function computes: pairing, layout, direction, tables, theta",
    "catalog": "bring in new releases, prove the data, show what is known",
}
_STATUS = "exit status: 0 nothing to report, 1 findings, 2 could not run (the reason is on standard error)"
_INTERRUPTED = 130  # what shells give a program that SIGINT ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; what ``rope-compat`` and ``python -m rope_compat`` do.

    ``argv``: the arguments after the program's name; those of this process when None. Returns the exit
    status: 0 nothing to report, 1 findings, 2 could not run, with the reason on standard error. Foreseeable
    failures raise nothing.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    parser = _parser(next((word for word in words if not word.startswith("-")), ""))
    try:
        arguments = parser.parse_args(words)
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


def _parser(chosen: str) -> argparse.ArgumentParser:
    """The parser; only the chosen command is imported, as some need what takes long to import."""
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
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(
            name,
            parents=[common],
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=_STATUS,
            allow_abbrev=False,
        )
        if name == chosen:
            command = import_module(f"rope_compat._cli.{name}")
            command.configure(sub)
            sub.set_defaults(run=command.run)
    return parser


def _reader_has_left() -> int:
    # As with `rope-compat plan | head`. Python would complain once more when it flushes at exit: nothing is
    # to be flushed any more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
