"""What is read of one file: targets, fingerprints, fields of configurations, calls."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_compat._facts.rope_names import is_function_name, is_rotary_name
from rope_compat.catalog.model import Definition, Use
from rope_compat.catalog.reading.facts import ModuleFacts
from rope_compat.catalog.reading.fingerprint import fingerprint
from rope_compat.catalog.reading.release import assemble, read_module

MODULE = "transformers.models.tiny.modeling_tiny"


def read(source: str, module: str = MODULE) -> ModuleFacts:
    return read_module(textwrap.dedent(source).encode(), module, is_package=False)


def code(text: str) -> str:
    return fingerprint(ast.parse(textwrap.dedent(text)).body)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("x=f( 1,2 )", "x = f(1, 2)  # a comment"),
        ("def f(q):\n    return q", "def f(q: Tensor) -> Tensor:\n    '''What it does.'''\n    return q"),
        ("x: int = 1", "x = 1"),
        ("y: int\nx = 1", "x = 1"),
        ("x = 'a' 'b'", 'x = "ab"'),
        ("x = (\n    1,\n    2,\n)", "x = 1, 2"),
        ("x = 1_000.0", "x = 1e3"),
    ],
)
def test_a_fingerprint_stays_where_the_meaning_does(first: str, second: str) -> None:
    assert code(first) == code(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("return q * cos", "return q * sin"),
        ("return q * cos + r * sin", "return r * sin + q * cos"),
        (
            "def f(q, k=1): ...",
            "def f(q, k=2): ...",
        ),
        ("x = 1", "x = 1.0"),
        ("x = '1'", "x = 1"),
        ("if a:\n    b()\nelse:\n    c()", "if a:\n    b()\nc()"),
        ("cos = cos.float()", "cos = cos.half()"),
        ("f(a, b=c)", "f(a, c=b)"),
        ("@no_grad()\ndef f(): g()", "def f(): g()"),
        ("x = f'{a}'", "x = f'{b}'"),
        ("x[1:]", "x[:1]"),
    ],
)
def test_a_fingerprint_changes_with_the_meaning(first: str, second: str) -> None:
    def inside(text: str) -> str:
        return "def outer():\n" + textwrap.indent(text, "    ")

    assert code(inside(first)) != code(inside(second))


def test_fingerprints_are_those_of_every_python_and_machine() -> None:
    """They are in the data: an interpreter that gives others would see changes where there are none."""
    assert code('def f(x, *, y=1):\n    return f"{x!r:>{y}} é" if x else [z for z in x if z]') == "3mVcwSlL"


@given(st.integers(0, 4))
def test_a_fingerprint_does_not_see_blank_lines(lines: int) -> None:
    assert code("x = 1" + "\n" * lines + "\ny = 2") == code("x = 1\ny = 2")


@pytest.mark.parametrize(
    "name",
    [
        "apply_rotary_pos_emb",
        "rotate_half",
        "rotate_every_two",
        "LlamaRotaryEmbedding",
        "Sam2VideoRoPEAttention",
        "ROPE_INIT_FUNCTIONS",
        "rope_config_validation",
        "Qwen3OmniMoeCode2WavRotatoryEmbedding",
        "apply_interleaved_mrope",
        "_compute_yarn_parameters",
        "_compute_freqs_ci",
    ],
)
def test_names_of_rope(name: str) -> None:
    assert is_function_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "rotate_checkpoints",
        "rotate_image",
        "EuropeanConfig",
        "property",
        "from_proto",
        "EsmForProteinFolding",
        "rot",
    ],
)
def test_names_that_only_look_like_it(name: str) -> None:
    assert not is_function_name(name)
    assert not is_rotary_name(name)


SOURCE = """
    from ...modeling_rope_utils import ROPE_INIT_FUNCTIONS, dynamic_rope_update
    from ..llama.modeling_llama import LlamaRotaryEmbedding, LlamaAttention

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim: int = 1):
        return q, k

    def turned(x, cos, sin): ...
    def unrelated(x): ...
    def create_sinusoidal_positions(n): ...
    async def rotate_half(x): ...

    ROPE_TABLE = {"default": 1, **more}
    OTHER_TABLE = {"default": 1}

    class TinyRotaryEmbedding(LlamaRotaryEmbedding):
        @property
        def scaling(self): ...
        @scaling.setter
        def scaling(self, value): ...
        if ok():
            def forward(self, x, position_ids): ...

    class TinyAttention:
        def __init__(self, config): ...
        def forward(self, x, position_embeddings=None):
            return apply_rotary_pos_emb(x, x, *position_embeddings)
        def unrelated(self): ...

    class TinyModel(Base):
        def __init__(self, config):
            self.rotary_emb = TinyRotaryEmbedding(config)
        def forward(self, x, positions):
            cos, sin = self.rotary_emb(x, position_ids=positions)
            return x + self.rotary_emb.inv_freq
        def get_rope_index(self, ids): ...

    class TinyHead:
        def forward(self, x): ...
"""


def test_targets_of_a_module() -> None:
    targets = read(SOURCE).targets
    assert {name: (each.kind, each.signature) for name, each in targets.items()} == {
        "apply_rotary_pos_emb": ("function", "(q, k, cos, sin, unsqueeze_dim=1)"),
        "turned": ("carrier", "(x, cos, sin)"),
        "rotate_half": ("function", "(x)"),
        "ROPE_TABLE": ("mapping", "{'default', **more}"),
        "TinyRotaryEmbedding": ("class", ""),  # inherited: known when the release is put together
        "TinyRotaryEmbedding.scaling": ("method", "(self)"),
        "TinyRotaryEmbedding.forward": ("method", "(self, x, position_ids)"),
        "TinyAttention.forward": ("carrier", "(self, x, position_embeddings=None)"),
        "TinyModel.forward": ("carrier", "(self, x, positions)"),
        "TinyModel.get_rope_index": ("method", "(self, ids)"),
        "ROPE_INIT_FUNCTIONS": ("reexport", "transformers.modeling_rope_utils:ROPE_INIT_FUNCTIONS"),
        "dynamic_rope_update": ("reexport", "transformers.modeling_rope_utils:dynamic_rope_update"),
        "LlamaRotaryEmbedding": ("reexport", "transformers.models.llama.modeling_llama:LlamaRotaryEmbedding"),
    }
    assert targets["TinyRotaryEmbedding"].bases == ("LlamaRotaryEmbedding",)
    # Only signatures are kept of what is not RoPE's own.
    assert {each.kind for each in targets.values() if not each.body} == {"carrier", "reexport"}


def test_uses_of_targets() -> None:
    assert read(SOURCE).uses == (
        Use(f"{MODULE}:TinyRotaryEmbedding", "call 1 - 1", 1),
        Use(f"{MODULE}:TinyRotaryEmbedding", "read inv_freq", 1),
        Use(f"{MODULE}:TinyRotaryEmbedding.forward", "call 1 position_ids 2", 1),
        Use(f"{MODULE}:apply_rotary_pos_emb", "call 2+ - return", 1),
    )


def test_everything_in_modeling_rope_utils_is_a_target() -> None:
    targets = read(
        "def standardize(config): ...\nclass Mixin: ...", "transformers.modeling_rope_utils"
    ).targets
    assert set(targets) == {"standardize", "Mixin"}


@pytest.mark.parametrize(
    "name", ["modeling_tf_tiny", "modeling_flax_tiny", "modular_tiny", "convert_tiny_to_hf"]
)
def test_files_that_are_left_out(name: str) -> None:
    facts = read(SOURCE, f"transformers.models.tiny.{name}")
    assert facts.targets == {}
    assert "apply_rotary_pos_emb" in facts.names  # importable all the same


def test_conditional_targets_say_so_and_the_last_definition_stands() -> None:
    source = """
        if is_torch_available():
            def apply_rotary_pos_emb(q): ...
        try:
            from x import rotate_half
        except ImportError:
            def rotate_half(y): ...
        def rotate_half(x): ...
    """
    targets = read(source).targets
    assert targets["apply_rotary_pos_emb"].condition == "is_torch_available()"
    assert (targets["rotate_half"].signature, targets["rotate_half"].condition) == ("(x)", "")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            """
            class TinyConfig(PretrainedConfig):
                def __init__(self, size, rope_theta=10000.0, rotary_dim=None, *, rope_scaling, **kwargs):
                    self.rope_theta = rope_theta
                    self.partial_rotary_factor = 0.5
                    self.rope_extra = kwargs.pop("rope_extra", 1)
            """,
            {
                "rope_theta": "10000.0",
                "rotary_dim": "None",
                "rope_scaling": "<required>",
                "partial_rotary_factor": "0.5",
                "rope_extra": "<computed>",
            },
        ),
        (
            """
            class TinyConfig(PreTrainedConfig):
                default_theta = 500000.0
                rope_parameters: RopeParameters | dict | None = None
                rotary_pct: float
                hidden_size: int = 1
                @property
                def rope_type(self): ...
            """,
            {
                "default_theta": "500000.0",
                "rope_parameters": "None",
                "rotary_pct": "<required>",
                "rope_type": "<property>",
            },
        ),
    ],
)
def test_fields_of_configurations(source: str, expected: dict[str, str]) -> None:
    found = read(source, "transformers.models.tiny.configuration_tiny").targets
    fields = {name: each.signature for name, each in found.items() if each.kind == "field"}
    assert fields == {f"TinyConfig.{name}": default for name, default in expected.items()}


def test_constructors_are_found_through_bases_and_imports() -> None:
    files = {
        "a": "from torch import nn\nclass ARotaryEmbedding(nn.Module):\n"
        "    def __init__(self, dim, base=1): ...",
        "b": "from .a import ARotaryEmbedding as Renamed\nclass BRotaryEmbedding(Renamed): ...",
        "c": "from .b import BRotaryEmbedding\nclass CRotaryEmbedding(BRotaryEmbedding):\n    x = 1",
        "d": "class DRotaryEmbedding(nn.Module): ...\nclass ERotaryEmbedding(ERotaryEmbedding): ...",
        "e": "from elsewhere import Base\nclass FRotaryEmbedding(Base): ...",
        "f": "class RopeParameters(TypedDict, total=False):\n    rope_theta: float\n    rope_type: str",
        "g": "@dataclass\nclass RopeSpec:\n    theta: float\n    type: str = 'default'",
    }
    facts = {
        f"transformers/{name}.py": read_module(source.encode(), f"transformers.{name}", is_package=False)
        for name, source in files.items()
    }
    targets = assemble("9.0.0", facts).targets
    constructors = {
        name: each.signature for found in targets.values() for name, each in found if each.kind == "class"
    }
    assert constructors == {
        "ARotaryEmbedding": "(dim, base=1)",
        "BRotaryEmbedding": "(dim, base=1)",
        "CRotaryEmbedding": "(dim, base=1)",
        "DRotaryEmbedding": "()",
        "ERotaryEmbedding": "(*args, **kwargs)",
        "FRotaryEmbedding": "(*args, **kwargs)",
        "RopeParameters": "(*, rope_theta, rope_type)",
        "RopeSpec": "(theta, type='default')",
    }


def test_reading_does_not_run_anything() -> None:
    facts = read("raise SystemExit\ndef rotate_half(x=__import__('os').abort()): ...")
    assert facts.targets["rotate_half"] == Definition(
        "function", "(x=__import__('os').abort())", facts.targets["rotate_half"].body
    )


@pytest.mark.parametrize("source", [b"def f(:", b"\x00"])
def test_what_is_not_python_is_an_error(source: bytes) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        read_module(source, MODULE, is_package=False)
