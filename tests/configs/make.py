"""Save every case with the installed transformers, as it does without rope_compat.

    python tests/configs/make.py        # writes tests/configs/<release>/<case>.json

Run in an environment of each boundary release (`tox run -e py311-tf4.57.6` makes one).
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from cases import BOUNDARIES, CASES, Case
from packaging.version import Version

HERE = Path(__file__).parent
#: Differs from machine to machine, or says nothing here.
LEFT_OUT = ("_name_or_path", "torch_dtype", "dtype")


def main() -> None:
    import transformers

    release = transformers.__version__
    if release not in BOUNDARIES:
        sys.exit(f"{release} is not a boundary release: {', '.join(BOUNDARIES)}")
    folder = HERE / release
    folder.mkdir(exist_ok=True)
    for name, case in CASES.items():
        if is_saved(case, release):
            saved = saved_config(case, Version(release))
            (folder / f"{name}.json").write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n")


def is_saved(case: Case, release: str) -> bool:
    last = case.saved_until or BOUNDARIES[-1]
    return Version(case.saved_from or case.since) <= Version(release) <= Version(last)


def saved_config(case: Case, release: Version) -> dict[str, Any]:
    """What `save_pretrained` writes for a case."""
    from transformers import CONFIG_MAPPING

    new = case.new["full_attention"] if case.is_flat(str(release)) else case.new
    fields = {**case.sizes, **(case.old if release < Version("5") else {"rope_parameters": new})}
    if release >= Version("5") and "attn_config" in case.old:
        fields["attn_config"] = {k: v for k, v in case.old["attn_config"].items() if k != "rope_theta"}
    given = {case.inside: fields} if case.inside else fields
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        CONFIG_MAPPING[case.model](**json.loads(json.dumps(given))).save_pretrained(folder)
        saved: dict[str, Any] = json.loads((Path(folder) / "config.json").read_text())
    return without(saved)


def without(saved: dict[str, Any]) -> dict[str, Any]:
    return {
        key: without(value) if isinstance(value, dict) else value
        for key, value in saved.items()
        if key not in LEFT_OUT
    }


if __name__ == "__main__":
    main()
