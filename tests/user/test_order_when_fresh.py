"""Orders of patching, importing and undoing that need an interpreter without transformers in it yet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.installed import LLAMA

import rope_compat

IN_EVERY_ORDER = """
import importlib, sys, threading, time
import rope_compat
patch = rope_compat.patch()
assert not {"torch", "transformers"} & set(sys.modules), "patch() must import nothing"
import user_early, user_late
import transformers.models.llama.modeling_llama as llama

def runs(function):
    # With kernels the function is a module object, and the adapter is on its class.
    places = (function, vars(type(function)).get("__call__"))
    return next((p.__rope_compat__ for p in places if hasattr(p, "__rope_compat__")), None)

def everywhere():
    return [llama.apply_rotary_pos_emb, user_early.f, user_early.Attention.rotate, user_late.f]

first = llama.apply_rotary_pos_emb
assert all(value is first for value in everywhere())
assert runs(first) is not None, "not adapted"
assert type(llama.__spec__.loader).__name__ == type(llama.__loader__).__name__ == "SourceFileLoader"

llama = importlib.reload(llama)
importlib.reload(user_late)
second = llama.apply_rotary_pos_emb
assert runs(second) is not None, "not adapted after a reload"
assert second is user_late.f and second is not first

patch.undo()
assert not rope_compat.status().active
assert runs(llama.apply_rotary_pos_emb) is None and runs(user_early.f) is None
for value in (llama.apply_rotary_pos_emb, user_late.f):
    assert value is llama.apply_rotary_pos_emb
assert user_early.f is user_early.Attention.rotate
again = importlib.reload(llama)
assert runs(again.apply_rotary_pos_emb) is None

# Now a module that another thread is importing while this one patches.
name = "transformers.models.gpt_neox.modeling_gpt_neox"
assert name not in sys.modules
failures = []

def load():
    try:
        __import__(name)
    except BaseException as error:
        failures.append(error)

thread = threading.Thread(target=load)
thread.start()
while name not in sys.modules and thread.is_alive():
    time.sleep(0.0005)
rope_compat.patch()
adapted = {item.target for item in rope_compat.status().adapted}
thread.join()
assert not failures, failures
assert name + ":apply_rotary_pos_emb" in adapted, adapted
rope_compat.unpatch()
assert runs(sys.modules[name].apply_rotary_pos_emb) is None
"""

WITHOUT_TORCH = """
import importlib.machinery, sys

find = importlib.machinery.PathFinder.find_spec

def without(name, path=None, target=None):
    return None if name.partition(".")[0] in ("torch", "accelerate") else find(name, path, target)

importlib.machinery.PathFinder.find_spec = without
import rope_compat

patch = rope_compat.patch()
from transformers import LlamaConfig

config = LlamaConfig(rope_theta=5e5)
assert config.rope_theta == 5e5
assert LlamaConfig.from_dict(config.to_dict()).rope_theta == 5e5
patch.undo()
assert "torch" not in sys.modules
"""

REMOTE_CODE = """
import sys
import torch
import rope_compat
from transformers import AutoConfig, AutoModel

def load():
    config = AutoConfig.from_pretrained("MODEL", trust_remote_code=True)
    return AutoModel.from_config(config, trust_remote_code=True)

def modules():
    remote = [m for n, m in sorted(sys.modules.items()) if n.startswith("transformers_modules.")]
    return [module for module in remote if hasattr(module, "ROW")]

import transformers.dynamic_module_utils as loader
native_loader = loader.get_class_in_module
patch = rope_compat.patch()
from transformers.dynamic_module_utils import get_class_in_module as copied
out = load()()
[module] = modules()
assert torch.allclose(out, torch.ones_like(out)), out
own = module.apply_rotary_pos_emb
assert own is not module.RAW["own"] and own is module.Tiny.rotate
assert vars(own)["__rope_compat__"].native is module.RAW["own"]
assert torch.allclose(load()(), out)
patch.undo()
assert module.apply_rotary_pos_emb is module.Tiny.rotate is module.RAW["own"]
assert not hasattr(module.llama_rope, "__rope_compat__")
import transformers.models.llama.modeling_llama as llama
assert module.llama_rope is llama.apply_rotary_pos_emb
assert loader.get_class_in_module is copied is native_loader
"""

REMOTE_MODEL = '''
import torch
from transformers import PreTrainedModel
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as llama_rope
from .configuration_tiny import TinyConfig

ROW = torch.tensor([[2, 0]])

def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    half = lambda x: torch.cat((-x[..., 4:], x[..., :4]), -1)
    return q * cos + half(q) * sin, k * cos + half(k) * sin

RAW = {"own": apply_rotary_pos_emb}

class Tiny(PreTrainedModel):
    config_class = TinyConfig
    rotate = staticmethod(apply_rotary_pos_emb)

    def __init__(self, config):
        super().__init__(config)
        self.weight = torch.nn.Parameter(torch.ones(1))
        if hasattr(self, "post_init"):
            self.post_init()

    def forward(self):
        """Calls its own copy and llama's, in a form that neither was written in."""
        q = torch.ones(1, 1, 2, 8)
        cos, sin = torch.zeros(3, 8), torch.zeros(3, 8)
        cos[0] = cos[2] = 1
        own = apply_rotary_pos_emb(q, q, cos, sin, ROW)[0]
        return own * llama_rope(q, q, cos, sin, ROW)[0] * self.weight.abs() / self.weight.abs()
'''

REMOTE_CONFIG = """
from transformers import PretrainedConfig

class TinyConfig(PretrainedConfig):
    model_type = "rope_compat_tiny"
"""


def run_fresh(script: str, folder: Path, **environment: str) -> None:
    """Run `script` in a new interpreter; its assertions are the test."""
    file = folder / "script.py"
    file.write_text(script)
    # The package may come from the checkout (by PYTHONPATH or the working directory) or be installed.
    home = str(Path(rope_compat.__file__).parents[1])
    paths = [str(folder), *([home] if home not in os.environ.get("PYTHONPATH", "") else [])]
    path = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROPE_COMPAT")}
    done = subprocess.run(
        [sys.executable, str(file)],
        env={**kept, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_patch_import_reload_unpatch_and_import_while_patching(tmp_path: Path) -> None:
    text = f"from {LLAMA} import apply_rotary_pos_emb as f\nclass Attention:\n    rotate = staticmethod(f)\n"
    for name in ("user_early", "user_late"):
        (tmp_path / f"{name}.py").write_text(text)
    run_fresh(IN_EVERY_ORDER, tmp_path)


def test_configs_are_read_where_there_is_no_torch(tmp_path: Path) -> None:
    run_fresh(WITHOUT_TORCH, tmp_path)


def test_remote_code_is_adapted_and_undone(tmp_path: Path) -> None:
    model = tmp_path / "tiny_model"
    model.mkdir()
    (model / "config.json").write_text(
        '{"model_type": "rope_compat_tiny", "auto_map": {"AutoConfig": "configuration_tiny.TinyConfig", '
        '"AutoModel": "modeling_tiny.Tiny"}}'
    )
    (model / "modeling_tiny.py").write_text(REMOTE_MODEL)
    (model / "configuration_tiny.py").write_text(REMOTE_CONFIG)
    script = REMOTE_CODE.replace("MODEL", model.as_posix())
    run_fresh(script, tmp_path, HF_MODULES_CACHE=str(tmp_path / "modules"), HF_HUB_OFFLINE="1")
