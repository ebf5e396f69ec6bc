"""Write classes.json: what rotary classes gave in the release that last had them, without rope_compat.

    for each release of the cases:  python tests/goldens/make_classes.py

Each run fills in the cases of the installed release. `--check` compares instead, and writes nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import transformers
from support.class_cases import CASES

FILE = Path(__file__).with_name("classes.json")


def shortest(value: Any) -> Any:
    """fp32 numbers in nine digits, which give them back exactly."""
    return [shortest(each) for each in value] if isinstance(value, list) else float(f"{value:.9g}")


def main() -> None:
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name, case in CASES.items():
        if case.release != transformers.__version__:
            continue
        torch.manual_seed(0)
        found = [shortest(tensor.tolist()) for tensor in case.run()]
        if "--check" in sys.argv:
            assert known[name] == found, name
        known[name] = found
    if "--check" not in sys.argv:
        FILE.write_text(json.dumps(dict(sorted(known.items())), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
