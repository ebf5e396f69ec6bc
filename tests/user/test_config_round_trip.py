"""Configurations as each boundary release saves them, loaded and saved again by the installed one.

The files in `tests/configs` were written by `tests/configs/make.py` without rope_compat.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from configs.cases import BOUNDARIES, CASES
from configs.comparing import not_said
from packaging.version import Version
from support.installed import RELEASE

import rope_compat
from rope_compat._rules import config_files
from rope_compat.configs import RopeSpec, rope_specs
from rope_compat.errors import RopeConfigError

FOLDER = Path(__file__).parents[1] / "configs"
HERE = Version(RELEASE)
FILES = [
    (release, name)
    for release in BOUNDARIES
    for name in CASES
    if (FOLDER / release / f"{name}.json").exists()
]


@dataclass(frozen=True)
class Loss:
    """Something that transformers itself loses, or cannot load for a reason outside RoPE.

    `saved` and `here` are the releases from and to which, the first included and the second not.
    """

    names: tuple[str, ...]
    saved: tuple[str, str]
    here: tuple[str, str]
    lost: str
    why: str

    def __str__(self) -> str:
        return f"to-{self.here[0]}"

    def concerns(self, release: str, name: str) -> bool:
        return name in self.names and _within(release, self.saved) and _within(RELEASE, self.here)


def _within(release: str, span: tuple[str, str]) -> bool:
    return Version(span[0]) <= Version(release) < Version(span[1])


_NEOX = "GPTNeoXConfig reads rotary_pct alone, and puts 0.25 in place of what rope_parameters say without it"
LOSSES = (
    # When it is loaded a second time.
    Loss(
        ("gpt_neox", "gpt_neox_linear"),
        ("4.36.0", "5.0.0"),
        ("5.0.0", "5.5.0"),
        "partial_rotary_factor=0.5",
        _NEOX,
    ),
    Loss(
        ("gpt_neox", "gpt_neox_linear"),
        ("5.5.0", "6"),
        ("5.0.0", "5.5.0"),
        "partial_rotary_factor=0.5",
        _NEOX,
    ),
    Loss(
        ("dbrx",),
        ("4.36.0", "5.0.0"),
        ("5.0.0", "6"),
        "rope_theta",
        "DbrxConfig does not look into attn_config, where 4.x keeps theta, and takes 10000",
    ),
    Loss(
        ("olmo3",),
        ("4.57.0", "5.0.0"),
        ("5.0.0", "5.13.0"),
        "sliding_attention rope_type='default'",
        "Olmo3Config has one dictionary for all layers, and scales the sliding ones as well",
    ),
    Loss(
        ("olmo3",),
        ("4.57.0", "5.0.0"),
        ("5.13.0", "6"),
        "sliding_attention rope_theta=123456.0",
        "Olmo3Config takes theta out of its arguments once, for two kinds of layers",
    ),
    Loss(
        ("olmo3",),
        ("5.0.0", "5.13.0"),
        ("5.13.0", "6"),
        "rope_theta=123456.0",
        "Olmo3Config reads rope_parameters that are nested, and 5.0 to 5.12 saved one for all layers",
    ),
)
#: What fails to load at all, with transformers' own words.
FAILURES = (
    Loss(
        ("dbrx",),
        ("5.0.0", "6"),
        ("4.36.0", "5.0.0"),
        "Found unknown kwargs",
        "DbrxFFNConfig refuses hidden_size, which 5.x saves",
    ),
    Loss(
        ("dbrx",),
        ("5.20.0", "6"),
        ("5.0.0", "5.20.0"),
        "Found unknown kwargs",
        "DbrxAttentionConfig refuses the fields of every configuration, which 5.20 and later save",
    ),
)


def _concerning(losses: tuple[Loss, ...], release: str, name: str) -> list[Loss]:
    return [loss for loss in losses if loss.concerns(release, name)]


def _known_models() -> set[str]:
    from transformers import CONFIG_MAPPING

    return set(CONFIG_MAPPING.keys())


KNOWN = _known_models()
LOADED = [(release, name) for release, name in FILES if CASES[name].model in KNOWN]
REFUSED = [(release, name) for release, name in LOADED if CASES[name].is_refused(Version(release), HERE)]
FAILING = [(release, name, loss) for release, name in LOADED for loss in _concerning(FAILURES, release, name)]
LOST = [(release, name, loss) for release, name in LOADED for loss in _concerning(LOSSES, release, name)]
HELD = [pair for pair in LOADED if pair not in REFUSED and not _concerning((*LOSSES, *FAILURES), *pair)]


@pytest.fixture(scope="module", autouse=True)
def patch() -> Iterator[rope_compat.Patch]:
    with rope_compat.patched() as patch:
        yield patch


@pytest.mark.only(HERE.major >= 5)
def test_the_rules_for_4_have_nothing_to_do_on_5(patch: rope_compat.Patch) -> None:
    load(stored("5.24.0", "llama_default"))
    names = {shim.name for shim in config_files.SHIMS}
    assert not [entry for entry in patch.journal if entry.rule in names]


def stored(release: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / release / f"{name}.json").read_text())
    return content


def spec_of(config: Any, name: str) -> RopeSpec:
    """The specification of the part of a configuration that a case is about.

    Qwen2-VL moved it from the top level to `text_config` in 4.52.
    """
    found = rope_specs(config)
    return found[CASES[name].inside] if CASES[name].inside in found else found["text_config"]


def load(file: dict[str, Any]) -> Any:
    """What `from_pretrained` does once it has read the file."""
    from transformers import CONFIG_MAPPING

    return CONFIG_MAPPING[file["model_type"]].from_dict(copy.deepcopy(file))


def saved(config: Any) -> dict[str, Any]:
    """What `save_pretrained` writes."""
    content: dict[str, Any] = json.loads(config.to_json_string(use_diff=True))
    return content


@pytest.mark.parametrize(("release", "name"), HELD)
def test_nothing_is_lost(release: str, name: str) -> None:
    file = stored(release, name)
    before = spec_of(file, name)
    config = load(file)
    assert not_said(before, spec_of(config, name)) == []
    again = saved(config)
    assert not_said(before, spec_of(again, name)) == []
    assert not_said(before, spec_of(load(again), name)) == []


@pytest.mark.parametrize(("release", "name"), REFUSED)
def test_what_cannot_be_held_is_refused_by_name(release: str, name: str) -> None:
    with pytest.raises(RopeConfigError, match=CASES[name].named):
        load(stored(release, name))


@pytest.mark.parametrize(("release", "name", "loss"), LOST, ids=str)
def test_what_transformers_loses_is_what_is_known(
    release: str, name: str, loss: Loss, tmp_path: Path
) -> None:
    file = stored(release, name)
    config = load(saved(load(file)))
    try:
        missing = ", ".join(not_said(spec_of(file, name), spec_of(config, name)))
    except RopeConfigError as error:
        missing = str(error)
    assert missing, f"it is lost no more: {loss.why}"
    assert loss.lost in missing


@pytest.mark.parametrize(("release", "name", "loss"), FAILING, ids=str)
def test_what_fails_outside_rope_is_what_is_known(
    release: str, name: str, loss: Loss, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=loss.lost) as caught:
        load(stored(release, name))
    assert not isinstance(caught.value, RopeConfigError)
