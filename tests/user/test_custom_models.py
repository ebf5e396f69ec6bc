"""Models of users' own, each written for one release, loaded by the installed one: they compute the same.

Each model of `custom_models` is loaded in every way that users have, from memory that is full of NaN. It then
has to be the constructor's own model to the bit, and to have the logits that the release computed that it was
written for. With ``ROPE_COMPAT=off`` in the environment these tests show what happens without rope_compat.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from support import custom
from support.custom_cases import CASES, Case
from support.installed import RELEASE
from support.poison import poisoned_memory
from torch import Tensor

import rope_compat

HERE = Version(RELEASE)
#: 5.0 to 5.2 overwrite the weights of such models after they were loaded: nothing to load there.
pytestmark = pytest.mark.only(not Version("5.0") <= HERE < Version("5.3"))

#: Before 5.13 a class in a user's file is taken for one of transformers' own, and initialised after loading.
TAKEN_FOR_NATIVE = Version("5.0") <= HERE < Version("5.13")
#: 5.0 to 5.12 keep the frequencies of a long input for the short one after it.
STAYS_LONG = Version("5.0") <= HERE < Version("5.13")

#: How far golden logits may be from those of another CPU, in units of the last place of the largest one. Sums
#: are taken in another order there: with instructions from SSE4 to AVX-512 12 were seen in float32, 1 in
#: bfloat16. The mistakes with frequencies that these models can make change logits by a sixth and more.
ULPS = {"float32": 64, "bfloat16": 4}

NAMES = [name for name, case in CASES.items() if Version(case.since) <= HERE]
SOME = (
    "plain",
    "tables",
    "complex_attribute",
    "persistent_lacking",
    "kwargs_dynamic",
    "updated_default",
    "buffers",
)
MODERN = ("modern_default", "modern_dynamic")
IN_OTHER_WAYS = [name for name in (*SOME, *MODERN) if name in NAMES]
IN_HALF = [name for name in NAMES if "bfloat16" in CASES[name].dtypes]


class Checkpoints:
    """Directories as users download them, and what the constructor alone makes of them; each is made once."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.make = cache(self._make)
        self.constructed = cache(self._constructed)

    def _make(self, name: str, shards: int = 1) -> tuple[Path, dict[str, Tensor]]:
        directory = self.place / f"{name}_in_{shards}"
        layout = custom.read_golden(CASES[name])["weights"]
        return directory, custom.write_checkpoint(CASES[name], directory, layout, shards)

    def _constructed(self, name: str, dtype: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        directory, state = self.make(name)
        model = custom.construct(CASES[name], directory, getattr(torch, dtype))
        model.load_state_dict(state, strict=not CASES[name].lacks)
        return computed(model), custom.logits(model)


@pytest.fixture(scope="module", autouse=True)
def remote_code_leaves_nothing_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Remote code is copied to a directory of this module, and forgotten with its registrations."""
    from transformers import AutoModel, AutoModelForCausalLM, dynamic_module_utils
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    path = list(sys.path)
    mappings = [AutoModel._model_mapping, AutoModelForCausalLM._model_mapping, CONFIG_MAPPING]
    registered = [dict(mapping._extra_content) for mapping in mappings]
    _forget_remote_code()
    with pytest.MonkeyPatch.context() as replaced:
        cache = str(tmp_path_factory.mktemp("modules"))
        replaced.setattr(dynamic_module_utils, "HF_MODULES_CACHE", cache)
        yield
    sys.path[:] = path
    for mapping, before in zip(mappings, registered, strict=True):
        mapping._extra_content.clear()
        mapping._extra_content.update(before)


@pytest.fixture(autouse=True)
def no_remote_code_is_left_from_other_tests() -> Iterator[None]:
    yield
    _forget_remote_code()


def _forget_remote_code() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def checkpoints(
    tmp_path_factory: pytest.TempPathFactory, remote_code_leaves_nothing_behind: None
) -> Iterator[Checkpoints]:
    patch = rope_compat.patch()
    yield Checkpoints(tmp_path_factory.mktemp("checkpoints"))
    patch.undo()


def computed(model: Any) -> dict[str, Any]:
    """Everything that is a tensor and no parameter: buffers, and attributes of modules that are none."""
    found: dict[str, Any] = {}
    for path, module in model.named_modules():
        hidden = module._non_persistent_buffers_set
        for name, buffer in module._buffers.items():
            found[f"{path}.{name} ({'not ' if name in hidden else ''}saved)"] = buffer
        for name, value in vars(module).items():
            if isinstance(value, Tensor):
                found[f"{path}.{name}"] = value
    return {name: None if value is None else value.detach().clone() for name, value in found.items()}


def check(model: Any, name: str, checkpoints: Checkpoints, dtype: str = "float32") -> None:
    """Hold a loaded model against the constructor's and against the golden logits."""
    tensors, logits = checkpoints.constructed(name, dtype)
    found = computed(model)
    assert found.keys() == tensors.keys()
    for key, expected in tensors.items():
        value = found[key]
        assert (value is None) == (expected is None), key
        if expected is not None:
            assert (value.dtype, value.device) == (expected.dtype, expected.device), key
            assert torch.equal(value, expected), f"{key} is {value}, the constructor made {expected}"
    outputs = custom.logits(model)
    for key, expected in logits.items():
        assert torch.equal(outputs[key], expected), f"{key}: not what the constructor's own model computes"
    check_golden(outputs, CASES[name], dtype)


def check_golden(outputs: dict[str, Tensor], case: Case, dtype: str) -> None:
    for key, expected in custom.golden(case, dtype).items():
        if key == "after" and STAYS_LONG and case.updated_by_library and "dynamic" in case.name:
            continue
        allowed = ULPS[dtype] * torch.finfo(getattr(torch, dtype)).eps * expected.abs().max()
        difference = (outputs[key] - expected).abs().max()
        assert difference <= allowed, f"{key}: {case.written_for} computed other logits, by {difference}"


def remote(directory: Path, case: Case, **options: Any) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True, **options)


def local(directory: Path, case: Case, **options: Any) -> Any:
    return custom.local_class(case).from_pretrained(directory, **options)


def is_lost(case: Case, load: Callable[..., Any]) -> bool:
    """Whether transformers itself overwrites what it loaded."""
    return case.writes_in_place and load is local and TAKEN_FOR_NATIVE


LOADED = [
    pytest.param(name, load, id=f"{name}-{load.__name__}")
    for name in NAMES
    for load in (remote, local)
    if not is_lost(CASES[name], load)
]
LOST = [name for name in NAMES if is_lost(CASES[name], local)]


@pytest.mark.parametrize(("name", "load"), LOADED)
def test_a_loaded_model_computes_what_it_was_written_for(
    name: str, load: Callable[..., Any], checkpoints: Checkpoints
) -> None:
    case = CASES[name]
    directory, _ = checkpoints.make(name)
    files = custom.files_of(directory)
    with poisoned_memory():
        model = load(directory, case)
    check(model, name, checkpoints)
    assert custom.files_of(directory) == files


@pytest.mark.parametrize("name", LOST)
def test_weights_that_transformers_overwrites_are_no_secret(name: str, checkpoints: Checkpoints) -> None:
    """`_init_weights` writes in place, and from 5.0 to 5.12 it is called on what was loaded."""
    directory, _ = checkpoints.make(name)
    try:
        model = local(directory, CASES[name])
    except rope_compat.RopeCompatError as error:
        message = str(error)
    else:
        check(model, name, checkpoints)
        message = "5.13"
    assert "5.13" in message


def by_auto_model(directory: Path, case: Case) -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(directory, trust_remote_code=True)


def by_config(directory: Path, case: Case) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(directory, trust_remote_code=True)
    model = AutoModelForCausalLM.from_config(config, trust_remote_code=True)
    from safetensors.torch import load_file

    model.load_state_dict(load_file(directory / "model.safetensors"), strict=not case.lacks)
    return model


def with_device_map(directory: Path, case: Case) -> Any:
    return remote(directory, case, device_map="auto")


def with_a_device(directory: Path, case: Case) -> Any:
    return local(directory, case, device_map="cpu")


def with_little_memory(directory: Path, case: Case) -> Any:
    return local(directory, case, low_cpu_mem_usage=True)


def by_accelerate(directory: Path, case: Case) -> Any:
    from accelerate import init_empty_weights, load_checkpoint_and_dispatch

    cls = custom.local_class(case)
    with init_empty_weights():
        model = cls(cls.config_class.from_pretrained(directory))
    return load_checkpoint_and_dispatch(model, directory, device_map={"": "cpu"})


WAYS = [by_auto_model, by_config, with_device_map, with_a_device, with_little_memory, by_accelerate]


@pytest.mark.parametrize("load", WAYS)
@pytest.mark.parametrize("name", IN_OTHER_WAYS)
def test_every_way_of_loading_gives_the_same_model(
    name: str, load: Callable[..., Any], checkpoints: Checkpoints
) -> None:
    directory, _ = checkpoints.make(name)
    with poisoned_memory():
        model = load(directory, CASES[name])
    check(model, name, checkpoints)


@pytest.mark.parametrize("load", [remote, local])
@pytest.mark.parametrize("name", IN_OTHER_WAYS)
def test_a_checkpoint_in_two_parts(name: str, load: Callable[..., Any], checkpoints: Checkpoints) -> None:
    directory, _ = checkpoints.make(name, 2)
    with poisoned_memory():
        model = load(directory, CASES[name])
    check(model, name, checkpoints)


@pytest.mark.parametrize("load", [remote, local])
@pytest.mark.parametrize("name", IN_HALF)
def test_half_precision(name: str, load: Callable[..., Any], checkpoints: Checkpoints) -> None:
    directory, _ = checkpoints.make(name)
    # 4.56 renamed it.
    keyword = "dtype" if Version("4.56") <= HERE else "torch_dtype"
    with poisoned_memory():
        model = load(directory, CASES[name], **{keyword: torch.bfloat16})
    check(model, name, checkpoints, "bfloat16")


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("intern1_")])
def test_one_token_at_a_time(name: str, checkpoints: Checkpoints) -> None:
    """All keys are turned at each step: one query and many keys, with one table."""
    directory, _ = checkpoints.make(name)
    with poisoned_memory():
        model = remote(directory, CASES[name])
    ids = custom.inputs()["short"]
    with torch.no_grad():
        whole = model(ids).logits
        model.model.past = [{} for _ in model.model.blocks]
        for place in range(ids.shape[1]):
            position_ids = torch.full((len(ids), 1), place)
            step = model(ids[:, place : place + 1], position_ids=position_ids).logits
            torch.testing.assert_close(step[:, 0], whole[:, place], atol=1e-4, rtol=0)


TURNED = [
    pytest.param(name, other, {kind: "linear", "factor": 2.0}, id=name)
    for name, other, kind in (
        ("scaled_none", "scaled_linear", "type"),
        ("inherited", "inherited_linear", "type"),
        ("kwargs_default", "kwargs_linear", "rope_type"),
        ("updated_default", "updated_linear", "rope_type"),
    )
    if name in NAMES
]


@pytest.mark.parametrize("load", [remote, local])
@pytest.mark.parametrize(("name", "other", "scaling"), TURNED)
def test_scaling_that_the_user_asks_for(
    name: str, other: str, scaling: dict[str, Any], load: Callable[..., Any], checkpoints: Checkpoints
) -> None:
    """As an argument of `from_pretrained`, or written into the config: theta stays what it was."""
    directory, _ = checkpoints.make(name)
    case = CASES[name]
    with poisoned_memory():
        model = load(directory, case, rope_scaling=dict(scaling))
    check_golden(custom.logits(model), CASES[other], "float32")
    config = custom.local_class(case).config_class.from_pretrained(directory)
    config.rope_scaling = dict(scaling)
    check_golden(custom.logits(local(directory, case, config=config)), CASES[other], "float32")


@pytest.mark.parametrize("name", IN_OTHER_WAYS)
def test_what_is_saved_loads_again(name: str, checkpoints: Checkpoints, tmp_path: Path) -> None:
    directory, _ = checkpoints.make(name)
    case = CASES[name]
    local(directory, case).save_pretrained(tmp_path / "again")
    with poisoned_memory():
        model = local(tmp_path / "again", case)
    check_golden(custom.logits(model), case, "float32")


@pytest.mark.parametrize("name", NAMES)
def test_goldens_are_of_these_weights(name: str, checkpoints: Checkpoints) -> None:
    directory, state = checkpoints.make(name)
    stored = custom.read_golden(CASES[name])
    assert stored["weights"] == custom.layout(custom.construct(CASES[name], directory))
    assert stored["fingerprint"] == custom.fingerprint(state)
    assert (stored["transformers"], stored["model"]) == (CASES[name].written_for, CASES[name].architecture)
