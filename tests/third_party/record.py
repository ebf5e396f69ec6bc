"""What is said of one third-party patch: where it is, what it does, how its users apply it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

Apply = Callable[[ModuleType], object]
ApplyToModel = Callable[[ModuleType, Any], object]


@dataclass(frozen=True)
class Record:
    """One patch of another project, at one commit. Its files are fetched, never committed."""

    name: str
    #: owner/name on GitHub, and a full commit.
    repository: str
    commit: str
    #: SHA-256 of each file that is needed, by its path: what runs is what was looked at, unmodified.
    files: Mapping[str, str]
    #: The module that is imported, by its dotted name below `root`.
    module: str
    #: What it replaces, in a few words.
    does: str
    #: A key of `models.MODELS`.
    model: str
    #: The release that the patch was written for, as far as its requirements say.
    written_for: str
    #: What users do before they make a model, and with the model.
    before: Apply | None = None
    after: ApplyToModel | None = None
    #: What users have to do by hand with rope_compat beside `patch()`, after the import.
    by_hand: Apply | None = None
    #: The attention implementations that it is for.
    attention: tuple[str, ...] = ("eager",)
    #: Packages that are stood in for, keys of `stand_ins.STAND_INS`.
    stand_ins: tuple[str, ...] = ()
    #: Other packages that it needs, from the index.
    needs: tuple[str, ...] = ()
    #: Whether its arithmetic is transformers' own with these settings, so that equal numbers are expected.
    equal: bool = True
    #: Whether the model is in training mode, and whether the inputs have a mask.
    train: bool = False
    mask: bool = False
    #: Folder in the repository that is put on ``sys.path``.
    root: str = ""
    #: Fields set on the config before the model is made.
    config: Mapping[str, Any] = field(default_factory=dict)

    def folder(self, store: Path) -> Path:
        """Where this repository's files are below `store`."""
        return store / self.repository / self.commit
