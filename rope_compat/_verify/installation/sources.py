"""Which rotary functions and classes the installed transformers defines, read from its source."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from ... import catalog
from ..._facts.rope_names import HINT, is_function_name, is_rotary_name

__all__ = ["Defined", "defined"]

_DEFINITION = re.compile(rb"^(def|class) (\w+)", re.MULTILINE)
#: Not torch; sources of other files; scripts that convert checkpoints.
_NOT_TORCH = ("modeling_tf_", "modeling_flax_", "modular_", "convert_")
_OTHER_NAMES = frozenset({"create_sinusoidal_positions", "IdeficsEmbedding"})


class Defined(NamedTuple):
    """A definition in a module."""

    module: str
    name: str
    kind: str


@functools.lru_cache(maxsize=4)
def defined(package: str, release: str | None) -> tuple[Defined, ...]:
    """Every rotary function and class of the package in the directory `package`, by module and name.

    What the catalog knows of `release` is there as well: definitions under a condition are not missed.
    A file that cannot be read is left out. About a second.
    """
    found = set(_written(package))
    if release is not None:
        for kind in ("function", "class"):
            for module, name in catalog.targets(kinds=[kind]):
                is_there = catalog.signature_at(module, name, release) is not None
                if is_there and os.path.isfile(os.path.join(package, *module.split(".")[1:]) + ".py"):
                    found.add(Defined(module, name, kind))
    return tuple(sorted(found))


def _written(package: str) -> Iterator[Defined]:
    for directory, below, files in os.walk(package):
        below.sort()
        for file in files:
            if not file.endswith(".py") or file.startswith(_NOT_TORCH):
                continue
            path = os.path.join(directory, file)
            try:
                with open(path, "rb") as stream:
                    text = stream.read()
            except OSError:
                continue
            if HINT.search(text):
                module = ".".join(("transformers", *os.path.relpath(path[:-3], package).split(os.sep)))
                for word, name in _DEFINITION.findall(text):
                    kind = "function" if word == b"def" else "class"
                    if _is_rotary(name.decode(), kind):
                        yield Defined(module.removesuffix(".__init__"), name.decode(), kind)


def _is_rotary(name: str, kind: str) -> bool:
    return name in _OTHER_NAMES or (is_function_name(name) if kind == "function" else is_rotary_name(name))
