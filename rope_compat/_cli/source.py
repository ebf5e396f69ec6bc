"""Read from transformers' source which rotary functions it defines, with which signatures; nothing is run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from rope_compat import catalog
from rope_compat._facts.function_names import NAMES

__all__ = ["Found", "read"]

Found = dict[tuple[str, str], str]
"""Signature text by (module, function name)."""

# Parsing whole files takes fifty times as long. On each of the 140 releases from 4.28.0 to 5.23.0 the
# pattern finds what parsing finds.
_DEFINITION = re.compile(
    rb"^def (" + "|".join(NAMES).encode() + rb")(\(.*?\))(?:\s*->[^\n]*?)?:[ \t]*(?:#[^\n]*)?\r?$",
    re.MULTILINE | re.DOTALL,
)
_BEGINNING = re.compile(rb"def (?:" + "|".join(NAMES).encode() + rb")\(")
# TensorFlow and Flax modules, up to 4.57.6: no torch tensor reaches their functions.
_FOREIGN = ("modeling_tf_", "modeling_flax_")


def read(package: str) -> Found:
    """The rotary functions in the modeling files below ``package``, the directory of transformers.

    About 0.1 s. A file that cannot be read is left out.
    """
    found: Found = {}
    for module, file in _modeling_files(package):
        try:
            with open(file, "rb") as stream:
                text = stream.read()
        except OSError:
            continue
        if _BEGINNING.search(text):
            for name, signature in _DEFINITION.findall(text):
                found[module, name.decode()] = catalog.normalize(signature.decode("utf-8", "replace"))
    return found


def _modeling_files(package: str) -> Iterator[tuple[str, str]]:
    for directory, below, files in os.walk(os.path.join(package, "models")):
        below.sort()
        for file in sorted(files):
            if file.startswith("modeling_") and file.endswith(".py") and not file.startswith(_FOREIGN):
                parts = os.path.relpath(os.path.join(directory, file[:-3]), package).split(os.sep)
                yield ".".join(("transformers", *parts)), os.path.join(directory, file)
