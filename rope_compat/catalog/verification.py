"""Reads releases once more, and compares what is found with what a catalog says of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from packaging.version import Version

from rope_compat.catalog import index
from rope_compat.catalog.index import Found, Problem, Progress
from rope_compat.catalog.model import Definition, ReleaseFacts, Use
from rope_compat.catalog.sources import BadSourceError
from rope_compat.catalog.update import parse_releases, read_all, read_history
from rope_compat.errors import ArgumentError

__all__ = ["Difference", "Verdict", "differences", "verify"]

_ABSENT = "absent"
_SEEDS = 1 << 32


class Difference(NamedTuple):
    """One fact on which the catalog and the source of a release differ.

    Attributes:
        kind: ``module``, ``target``, ``use`` or ``name``.
        what: the module, or ``module:name``; of a use, the module whose code it is, and what that uses.
        catalog: what the catalog says; ``absent`` where it has nothing.
        source: what the source says; ``absent`` where it has nothing.
    """

    release: str
    kind: str
    what: str
    catalog: str
    source: str


@dataclass
class Verdict:
    """What came of verifying.

    Attributes:
        seed: chooses the same sample again; None where no sample was taken.
        checked: the builds that have been compared.
        unchecked: the builds of the catalog that have not, as they are not in the sample or cannot be had.
        differences: every difference, in the order of builds.
        problems: sources that could not be read.
    """

    seed: int | None = None
    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def verify(
    catalog: Path,
    source: Path | None = None,
    *,
    sample: int | None = None,
    seed: int | None = None,
    releases: Sequence[str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Compare a catalog file with the sources of its builds.

    Args:
        catalog: the file.
        source: a directory of wheels, sdists and checkouts, or one of these; None takes the package index.
        sample: compare only as many builds, chosen at random.
        seed: chooses the sample; by default, another one each time.
        releases: compare only these versions.
        workers: processes to read with, by default one for each core; 0 reads in this process.
        progress: see `rope_compat.catalog.index.Progress`.

    Raises:
        ArgumentError: one of ``releases`` is no version, is not in the catalog, or cannot be had.
        BadSourceError: ``source`` has no transformers, or none that the catalog has.
        CatalogError: the file cannot be read.
        PipError: the index cannot be asked.
    """
    wanted = parse_releases(releases)
    if sample is not None and sample < 1:
        raise ArgumentError(f"a sample of {sample} builds compares nothing; give 1 or more")
    history = read_history(catalog)
    names = {Version(build): build for build in history.builds}
    verdict = Verdict()
    found, verdict.problems = _found(set(names), source, wanted)
    versions = sorted({each.version for each in found})
    if sample is not None and sample < len(versions):
        verdict.seed = random.SystemRandom().randrange(_SEEDS) if seed is None else seed
        versions = sorted(random.Random(verdict.seed).sample(versions, sample))
    found = [each for each in found if each.version in versions]
    with index.opened(found, verdict.problems, progress, withdrawn=True) as sources:
        for facts in read_all(sources, verdict.problems, workers, progress):
            build = names[Version(facts.version)]
            verdict.differences += differences(history.at(build), facts)
            verdict.checked.append(build)
    verdict.unchecked = [build for build in history.builds if build not in verdict.checked]
    return verdict


def _found(
    have: set[Version], source: Path | None, wanted: set[Version] | None
) -> tuple[list[Found], list[Problem]]:
    """What is in the catalog and can be had."""

    def listed(versions: set[Version]) -> str:
        return ", ".join(map(str, sorted(versions)))

    if wanted is not None and wanted - have:
        raise ArgumentError(
            f"{listed(wanted - have)}: not in the catalog; rope-compat catalog update adds releases"
        )
    # The index may no longer list what it still has.
    releases = [Found(None, version) for version in sorted(have) if not version.is_prerelease]
    found, problems = index.find_sources(source) if source is not None else (releases, [])
    found = [each for each in found if each.version in (have if wanted is None else wanted)]
    absent = (wanted or set()) - {each.version for each in found}
    if absent:
        where = source or "the package index, which has releases only"
        raise ArgumentError(f"{listed(absent)}: not in {where}; give a directory that has it with --source")
    if not found and not problems:
        raise BadSourceError(
            f"{source} has no release that is in the catalog; rope-compat catalog update adds it"
        )
    return found, problems


def differences(catalog: ReleaseFacts, source: ReleaseFacts) -> list[Difference]:
    """Everything in which the facts of one build differ, in the order of modules."""
    tables = (
        ("module", _modules(catalog), _modules(source)),
        ("target", _targets(catalog), _targets(source)),
        ("use", _uses(catalog), _uses(source)),
        ("name", _names(catalog, source), _names(source, catalog)),
    )
    return [
        Difference(source.version, kind, what, old.get(what, _ABSENT), new.get(what, _ABSENT))
        for kind, old, new in tables
        for what in sorted({*old, *new})
        if old.get(what) != new.get(what)
    ]


def _modules(facts: ReleaseFacts) -> Mapping[str, str]:
    return dict.fromkeys(facts.names, "there")


def _targets(facts: ReleaseFacts) -> Mapping[str, str]:
    return {
        f"{module}:{name}": _definition(definition)
        for module, each in facts.targets.items()
        for name, definition in each
    }


def _definition(definition: Definition) -> str:
    parts = [f"{definition.kind} {definition.signature}"]
    parts += [f"body {definition.body}"] if definition.body else []
    parts += [f"@{decorator}" for decorator in definition.decorators]
    parts += [f"bases {', '.join(definition.bases)}"] if definition.bases else []
    parts += [f"if {definition.condition}"] if definition.condition else []
    return "; ".join(parts)


def _uses(facts: ReleaseFacts) -> Mapping[str, str]:
    found: dict[str, list[Use]] = {}
    for module, uses in facts.uses.items():
        for use in uses:
            found.setdefault(f"{module} uses {use.target}", []).append(use)
    return {
        what: "; ".join(f"{use.places} x {use.shape}" for use in sorted(uses)) for what, uses in found.items()
    }


def _names(facts: ReleaseFacts, other: ReleaseFacts) -> Mapping[str, str]:
    """Of the modules that both have: of another module it is enough to say that it is absent."""
    return {
        f"{module}:{name.name}": f"{name.kind} if {name.condition}" if name.condition else name.kind
        for module, names in facts.names.items()
        if module in other.names and names != other.names[module]
        for name in names
    }
