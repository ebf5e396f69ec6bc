"""Read the signatures of the rotary functions out of transformers wheels, without running anything in them.

``python -m rope_compat.catalog.harvest WHEEL_DIR -o FILE`` parses every ``transformers-*.whl`` in WHEEL_DIR
and writes the compact JSON that `rope_compat.catalog.store` reads. The same wheels give the same bytes.

Left out are TensorFlow and Flax modules and conversion scripts, whose functions never see torch tensors, and
``modular_*`` files, from which the ``modeling_*`` files are generated: nothing imports them.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from rope_compat.catalog.signature import text_of

__all__ = ["FIRST_RELEASE", "FUNCTIONS", "functions_in", "harvest", "main", "to_json"]

FUNCTIONS = ("apply_rotary_pos_emb", "apply_rotary_pos_emb_vision", "apply_rotary_pos_emb_flashatt")
FIRST_RELEASE = "4.28.0"
FORMAT = 1
PACKAGE = "transformers"
FOREIGN_FILES = ("modeling_tf_", "modeling_flax_", "modular_", "convert_")

Target = tuple[str, str]


def functions_in(source: str | bytes) -> dict[str, str]:
    """Signature text of each rotary function that a module's source defines at top level.

    A definition inside a top-level ``if`` or ``try`` counts, as it binds the module's name too. Where a name
    is defined more than once, the last definition stands. Raises `SyntaxError` when the source cannot be
    parsed.
    """
    found = {}
    for statement in _top_level(ast.parse(source).body):
        if isinstance(statement, ast.FunctionDef) and statement.name in FUNCTIONS:
            found[statement.name] = text_of(statement.args)
    return found


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, ast.If):
            yield from _top_level([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            handlers = [each for handler in statement.handlers for each in handler.body]
            yield from _top_level([*statement.body, *handlers, *statement.orelse, *statement.finalbody])
        else:
            yield statement


def harvest(wheel_dir: Path, since: str = FIRST_RELEASE) -> dict[str, object]:
    """What the wheels in ``wheel_dir`` from the release ``since`` on hold, as the JSON document to be stored.

    Pre-releases and development builds are no releases and are left out. Raises `ValueError` when no wheel is
    left.
    """
    wheels = _wheels(wheel_dir, Version(since))
    if not wheels:
        raise ValueError(
            f"{wheel_dir} holds no {PACKAGE} wheel of {since} or later; give the directory with the wheels"
        )
    parsed: dict[tuple[str, int, int], dict[str, str]] = {}
    by_release = [_functions_of(wheels[version], parsed) for version in sorted(wheels)]
    releases = [str(version) for version in sorted(wheels)]
    return _document(releases, by_release)


def _wheels(wheel_dir: Path, since: Version) -> dict[Version, Path]:
    wheels: dict[Version, Path] = {}
    for path in sorted(wheel_dir.glob("*.whl")):
        try:
            name, version, _, _ = parse_wheel_filename(path.name)
        except (InvalidWheelFilename, InvalidVersion):
            continue
        if name == PACKAGE and version >= since and not version.is_prerelease:
            wheels[version] = path
    return wheels


def _functions_of(wheel: Path, parsed: dict[tuple[str, int, int], dict[str, str]]) -> dict[Target, str]:
    # Most files are the same in neighbouring releases: each content (path, CRC, size) is parsed once.
    found: dict[Target, str] = {}
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if not _is_candidate(member.filename):
                continue
            key = (member.filename, member.CRC, member.file_size)
            if key not in parsed:
                source = archive.read(member)
                parsed[key] = functions_in(source) if b"def apply_rotary_pos_emb" in source else {}
            module = member.filename.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            found.update({(module, name): signature for name, signature in parsed[key].items()})
    return found


def _is_candidate(filename: str) -> bool:
    directory, _, name = filename.rpartition("/")
    inside = directory == PACKAGE or directory.startswith(f"{PACKAGE}/")
    return inside and name.endswith(".py") and not name.startswith(FOREIGN_FILES)


def _document(releases: Sequence[str], by_release: Sequence[Mapping[Target, str]]) -> dict[str, object]:
    targets = sorted({target for found in by_release for target in found})
    signatures = sorted({signature for found in by_release for signature in found.values()})
    number = {signature: index for index, signature in enumerate(signatures)}
    functions: dict[str, dict[str, list[list[int]]]] = {}
    for module, name in targets:
        spans: list[list[int]] = []
        for index, found in enumerate(by_release):
            signature = found.get((module, name))
            if signature is None:
                continue
            if spans and spans[-1][1:] == [index - 1, number[signature]]:
                spans[-1][1] = index
            else:
                spans.append([index, index, number[signature]])
        functions.setdefault(module, {})[name] = spans
    return {"format": FORMAT, "releases": list(releases), "signatures": signatures, "functions": functions}


def to_json(document: Mapping[str, object]) -> str:
    """The document as compact JSON with a final newline; a module per line, so that a diff shows what
    changed.
    """
    functions = document["functions"]
    assert isinstance(functions, dict)

    def compact(value: object) -> str:
        return json.dumps(value, ensure_ascii=True, separators=(",", ":"))

    head = ",\n".join(
        f"{compact(key)}:{compact(document[key])}" for key in ("format", "releases", "signatures")
    )
    lines = ",\n".join(f"{compact(module)}:{compact(functions[module])}" for module in sorted(functions))
    return f'{{{head},\n"functions":{{\n{lines}\n}}}}\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0, or 2 when the wheels could not be read)."""
    parser = argparse.ArgumentParser(
        prog="python -m rope_compat.catalog.harvest", description=__doc__.split("\n")[0]
    )
    parser.add_argument("wheel_dir", type=Path, help="directory with transformers wheels")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--since", default=FIRST_RELEASE, help="oldest release to read (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        text = to_json(harvest(options.wheel_dir, options.since))
    except (OSError, ValueError, SyntaxError, zipfile.BadZipFile) as error:
        print(f"harvest: {error}", file=sys.stderr)
        return 2
    options.output.write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
