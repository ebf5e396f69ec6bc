"""JSON on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

__all__ = ["show_json"]


def show_json(document: Mapping[str, object]) -> None:
    """Print one document, indented, in ASCII, with a final newline."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
