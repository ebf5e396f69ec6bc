"""The models of `custom_models` as checkpoints: which there are, weights, directories, golden logits."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import math
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor

from support.custom_cases import TEXT, Case

SOURCES = Path(__file__).parents[1] / "custom_models"
GOLDENS = Path(__file__).parents[1] / "goldens"
_SHORT, _LONG = 12, 40


def inputs() -> dict[str, Tensor]:
    """Token ids, in the order in which a model has to be given them."""
    generator = torch.Generator().manual_seed(1)
    short = torch.randint(1, 64, (2, _SHORT), generator=generator)
    return {"short": short, "long": torch.randint(1, 64, (1, _LONG), generator=generator), "after": short}


@torch.no_grad()
def logits(model: Any) -> dict[str, Tensor]:
    """The logits of the last two positions, which everything before them has a part in."""
    model.eval()
    return {name: model(ids).logits[:, -2:].float() for name, ids in inputs().items()}


def local_class(case: Case) -> Any:
    """The class as a user's own file has it."""
    return getattr(importlib.import_module(f"custom_models.modeling_{case.module}"), case.architecture)


def config_json(case: Case) -> dict[str, Any]:
    """What a checkpoint of that time has in its config.json."""
    config = local_class(case).config_class
    auto_map = dict.fromkeys(
        ("AutoModel", "AutoModelForCausalLM"), f"modeling_{case.module}.{case.architecture}"
    )
    if not config.__module__.startswith("transformers."):
        auto_map["AutoConfig"] = f"configuration_{case.module}.{case.config_class}"
    sizes = {key: TEXT[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers")}
    sizes |= {key: TEXT[key] for key in ("num_attention_heads", "max_position_embeddings")}
    return {
        "architectures": [case.architecture],
        "auto_map": auto_map,
        "model_type": config.model_type,
        "transformers_version": case.written_for,
        # 4.56 renamed it.
        "torch_dtype" if Version(case.written_for) < Version("4.56") else "dtype": "float32",
        **({} if "text_config" in case.options else sizes),
        **case.options,
    }


def construct(case: Case, directory: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The model by its constructor alone, on the CPU, with no loader in the way."""
    cls = local_class(case)
    config = cls.config_class.from_pretrained(directory)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return cls(config).eval()
    finally:
        torch.set_default_dtype(before)


def layout(model: Any) -> dict[str, str]:
    """What a checkpoint has: names, each with a shape ("64x16") or the name that has the same weights."""
    found: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, tensor in sorted(model.state_dict().items()):
        found[name] = (
            _shape(tensor) if first.setdefault(tensor.data_ptr(), name) == name else first[tensor.data_ptr()]
        )
    return found


def _shape(tensor: Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape)


def _sizes(shape: str) -> list[int]:
    return [int(size) for size in shape.split("x")]


def weights(found: Mapping[str, str]) -> dict[str, Tensor]:
    """Weights for a layout, the same bits on every release and every machine."""
    own = {name: _values(name, shape) for name, shape in found.items() if shape not in found}
    return {name: own[name] if name in own else own[shape].clone() for name, shape in found.items()}


def _values(name: str, shape: str) -> Tensor:
    sizes = _sizes(shape)
    if name.endswith("inv_freq"):
        # No constructor here makes these: what was loaded can be told from what was computed.
        return torch.tensor([0.5 ** (place + 1) for place in range(sizes[0])])
    # Uniform numbers are bits of the generator and nothing else; normal ones depend on the CPU.
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    values = torch.rand(sizes, generator=generator) * 2 - 1
    if len(sizes) == 1:
        return 1 + values / 4
    return values * (1.0 if "embed" in name else 3 / math.sqrt(sizes[-1]))


def write_checkpoint(
    case: Case, directory: Path, found: Mapping[str, str], shards: int = 1
) -> dict[str, Tensor]:
    """Make the directory that a user would download, with weights for a layout; return these."""
    write_code(case, directory)
    state = {name: tensor for name, tensor in weights(found).items() if not name.endswith(case.lacks or "?")}
    write_weights(directory, state, shards)
    return state


def write_code(case: Case, directory: Path) -> None:
    """All but the weights."""
    config = json.dumps(config_json(case), indent=2)
    directory.mkdir(parents=True)
    for name in (f"modeling_{case.module}", f"configuration_{case.module}", "layers"):
        shutil.copy(SOURCES / f"{name}.py", directory)
    (directory / "config.json").write_text(config)


def write_weights(directory: Path, state: Mapping[str, Tensor], shards: int) -> None:
    """One file, or several with an index."""
    from safetensors.torch import save_file

    if shards == 1:
        save_file(dict(state), directory / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(state)
    places = {name: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors" for i, name in enumerate(names)}
    for place in set(places.values()):
        part = {name: state[name] for name in names if places[name] == place}
        save_file(part, directory / place, metadata={"format": "pt"})
    index = {"metadata": {"total_size": sum(t.nbytes for t in state.values())}, "weight_map": places}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Names, shapes and bits of weights, in short."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def files_of(directory: Path) -> dict[str, str]:
    """A digest of each file below a directory."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def pack(values: Mapping[str, Tensor]) -> dict[str, Any]:
    """Tensors as JSON; one that is equal to an earlier one is named after it."""
    packed: dict[str, Any] = {}
    for name, tensor in values.items():
        same = next((other for other in packed if torch.equal(values[other], tensor)), None)
        data = base64.b64encode(tensor.contiguous().numpy().tobytes()).decode()
        packed[name] = same or {"shape": _shape(tensor), "float32": data}
    return packed


def unpack(packed: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of `pack`."""

    def tensor(value: Any) -> Tensor:
        if isinstance(value, str):
            return tensor(packed[value])
        data = bytearray(base64.b64decode(value["float32"]))
        return torch.frombuffer(data, dtype=torch.float32).view(_sizes(value["shape"]))

    return {name: tensor(value) for name, value in packed.items()}


def golden(case: Case, dtype: str = "float32") -> dict[str, Tensor]:
    """The logits that the release computed that the model was written for."""
    return unpack(read_golden(case)["logits"][dtype])


def read_golden(case: Case) -> dict[str, Any]:
    """The golden as it is stored."""
    stored: dict[str, Any] = json.loads((GOLDENS / f"{case.name}.json").read_text())
    return stored
