"""Whole models are pickled under patch(), and are read without it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.installed import LLAMA, load
from support.models import ALL

import rope_compat

IDS = torch.arange(3, 11)[None]
READ = """
import pickle, sys, torch
with open(sys.argv[1], "rb") as file:
    model = pickle.load(file)
assert "rope_compat" not in sys.modules
with torch.no_grad():
    torch.save(model.base_model(torch.arange(3, 11)[None]).last_hidden_state, sys.argv[2])
"""


def run(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.base_model(IDS).last_hidden_state
        return found


# With `kernels`, attention holds modules of a local class, which nothing can pickle.
@pytest.mark.only(
    not isinstance(load(LLAMA).apply_rotary_pos_emb, torch.nn.Module), reason="kernels holds local classes"
)
@pytest.mark.parametrize("name", ["llama", "gpt_neox"])
def test_a_model_that_was_made_under_patch_is_read_without_it(name: str, tmp_path: Path) -> None:
    with rope_compat.patched():
        model = ALL[name]()
        wanted = run(model)
        text = pickle.dumps(model)
        assert torch.equal(run(pickle.loads(text)), wanted)
    (tmp_path / "model").write_bytes(text)
    command = [sys.executable, "-c", READ, str(tmp_path / "model"), str(tmp_path / "out")]
    subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert torch.equal(torch.load(tmp_path / "out"), wanted)
