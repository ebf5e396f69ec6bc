"""Compute golden logits with the installed transformers, as it is, for the models that are written for it.

    python tests/goldens/make.py            those of the installed release
    python tests/goldens/make.py --check    compare with what is there, change nothing

The model is loaded as a user loads it. A golden is only written if the constructor's own model, with the
weights put in by `load_state_dict`, has the same logits to the bit: then the loader of this release has not
harmed it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

SCRATCH = tempfile.TemporaryDirectory()
os.environ.update(HF_HUB_OFFLINE="1", HF_MODULES_CACHE=f"{SCRATCH.name}/modules")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch  # noqa: E402 - the environment comes first
import transformers  # noqa: E402
from support import custom  # noqa: E402
from support.custom_cases import CASES, Case  # noqa: E402


def compute(case: Case, place: Path, state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """The logits of the model that this release loads, in one dtype."""
    dtype = getattr(torch, name)
    # 4.56 renamed it.
    keyword = "dtype" if hasattr(transformers.PretrainedConfig(), "dtype") else "torch_dtype"
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        place, trust_remote_code=True, **{keyword: dtype}
    )
    found = custom.logits(loaded)
    reference = custom.construct(case, place, dtype)
    reference.load_state_dict(state, strict=not case.lacks)
    for key, value in custom.logits(reference).items():
        if not torch.equal(value, found[key]):
            raise SystemExit(f"{case.name}, {name}, {key}: the loaded model is not the constructed one")
    return found


def make(case: Case) -> dict[str, object]:
    """The golden of one case, as it is stored."""
    place = Path(SCRATCH.name) / case.name
    custom.write_code(case, place)
    layout = custom.layout(custom.construct(case, place))
    shutil.rmtree(place)
    state = custom.write_checkpoint(case, place, layout)
    return {
        "model": case.architecture,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "weights": layout,
        "fingerprint": custom.fingerprint(state),
        "logits": {name: custom.pack(compute(case, place, state, name)) for name in case.dtypes},
    }


def main() -> int:
    """Write, or with ``--check`` compare; the exit status is 1 where something differs."""
    cases = [case for case in CASES.values() if case.written_for == transformers.__version__]
    differing = 0
    for case in cases:
        path, made = custom.GOLDENS / f"{case.name}.json", json.dumps(make(case), indent=1) + "\n"
        if "--check" not in sys.argv[1:]:
            path.write_text(made)
        differing += path.read_text() != made
        print(case.name, "as stored" if path.read_text() == made else "differs from what is stored")
    return int(differing > 0)


if __name__ == "__main__":
    raise SystemExit(main())
