"""The development build: that it is made as it says, and that `tox -e tfdev` really has it installed."""

from __future__ import annotations

import ast
import csv
import importlib.metadata
import importlib.util
import io
import json
import os
import re
import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from install_dev_build import check_environment, write_direct_url
from make_dev_wheel import (
    BUILD,
    BUILD_INFO,
    EDITS,
    INIT,
    MODELING,
    RELEASE,
    RELEASE_INFO,
    AnchorError,
    edit_init,
    edit_modeling,
    make_wheel,
    record_row,
)

needs_build = pytest.mark.only(
    os.environ.get("ROPE_COMPAT_EXPECT_TRANSFORMERS") == BUILD,
    reason=f"only the tox environment tfdev has transformers {BUILD} installed",
)

MODELING_TEXT = '''\
"""Größe"""
def apply_rotary_pos_emb_flashatt(
    q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
) -> Tuple[torch.Tensor, torch.Tensor]:
    return q, k

class Qwen2_5_VLVisionFlashAttention2(nn.Module):
    def forward(self, hidden_states, cu_seqlens, rotary_pos_emb=None, position_embeddings=None):
        q, k, v = self.qkv(hidden_states)
        if position_embeddings is None:
            cos, sin = compute(rotary_pos_emb)
        else:
            cos, sin = position_embeddings
        q, k = apply_rotary_pos_emb_flashatt(q.unsqueeze(0), k.unsqueeze(0), cos, sin)
        q = q.squeeze(0)
        k = k.squeeze(0)
        return q, k, v

class Qwen2_5_VisionTransformerPretrainedModel(nn.Module):
    def forward(self, h, grid_thw):
        if self.gradient_checkpointing:
            "é"; h = checkpoint(blk.__call__, h, cu_seqlens_now, None, position_embeddings)
        else:
            h = blk(h, cu_seqlens=cu_seqlens_now, position_embeddings=position_embeddings)
        return h
'''
FILES = {
    INIT: f'# transformers\n__version__ = "{RELEASE}"\n',
    MODELING: MODELING_TEXT,
    f"{RELEASE_INFO}/METADATA": f"Name: transformers\nVersion: {RELEASE}\n\nVersion notes\n",
    f"{RELEASE_INFO}/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
    f"{RELEASE_INFO}/RECORD": "of the release\n",
}


def release_wheel(directory: Path, leave_out: str = "") -> Path:
    path = directory / f"transformers-{RELEASE}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in FILES.items():
            if name != leave_out:
                archive.writestr(name, text)
    return path


def read_wheel(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_wheel_is_relabelled_throughout(tmp_path: Path) -> None:
    wheel = make_wheel(release_wheel(tmp_path), tmp_path)
    content = read_wheel(wheel)
    assert wheel.name == "transformers-4.49.0.dev0-py3-none-any.whl"
    assert {name.split("/")[0] for name in content} == {"transformers", BUILD_INFO}
    assert b"\nVersion: 4.49.0.dev0\n" in content[f"{BUILD_INFO}/METADATA"]
    assert content[INIT] == b'# transformers\n__version__ = "4.49.0.dev0"\n'


def test_record_lists_every_file_with_its_hash(tmp_path: Path) -> None:
    content = read_wheel(make_wheel(release_wheel(tmp_path), tmp_path))
    record = f"{BUILD_INFO}/RECORD"
    rows = [tuple(row) for row in csv.reader(io.StringIO(content[record].decode()))]
    expected = [record_row(name, data) for name, data in content.items() if name != record]
    assert sorted(rows) == sorted([*expected, (record, "", "")])


def test_function_and_its_callers_are_in_the_development_form() -> None:
    text = edit_modeling(MODELING_TEXT)
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    assert [a.arg for a in functions["apply_rotary_pos_emb_flashatt"].args.args] == ["tensor", "freqs"]
    assert "q = apply_rotary_pos_emb_flashatt(q.unsqueeze(0), rotary_pos_emb).squeeze(0)" in text
    assert "k = apply_rotary_pos_emb_flashatt(k.unsqueeze(0), rotary_pos_emb).squeeze(0)" in text
    assert "position_embeddings is None" not in text
    assert "cu_seqlens_now, rotary_pos_emb, position_embeddings)" in text
    assert "cu_seqlens=cu_seqlens_now, rotary_pos_emb=rotary_pos_emb, position_embeddings" in text
    assert text.startswith('"""Größe"""\n')
    assert '"é"; h = checkpoint(' in text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("q: torch.Tensor, k: torch.Tensor, cos", "tensor: torch.Tensor, cos"),
        ("def apply_rotary_pos_emb_flashatt", "def renamed"),
        ("        q = q.squeeze(0)\n", ""),
        ("Qwen2_5_VLVisionFlashAttention2", "Other"),
        ("blk.__call__, h", "h"),
        ("cu_seqlens_now, None, position_embeddings", "cu_seqlens_now, position_embeddings"),
        (" = blk(h, cu_seqlens", " = blk(h, other"),
    ],
)
def test_unexpected_text_is_refused(old: str, new: str) -> None:
    assert old in MODELING_TEXT
    with pytest.raises(AnchorError):
        edit_modeling(MODELING_TEXT.replace(old, new))


def test_version_that_is_not_there_or_is_there_twice_is_refused() -> None:
    line = f'\n__version__ = "{RELEASE}"\n'
    for text in ("\n", line + line):
        with pytest.raises(AnchorError, match="exactly once"):
            edit_init(text)


@pytest.mark.parametrize("name", sorted(EDITS))
def test_wheel_that_lacks_an_edited_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=re.escape(name)):
        make_wheel(release_wheel(tmp_path, leave_out=name), tmp_path)


def test_installer_refuses_a_system_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    with pytest.raises(SystemExit, match="virtual environment"):
        check_environment()


def test_installer_refuses_to_replace_another_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/elsewhere")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "5.0.0")
    with pytest.raises(SystemExit, match=r"transformers is 5\.0\.0"):
        check_environment()


def test_direct_url_replaces_the_installers_and_is_recorded(tmp_path: Path) -> None:
    info = tmp_path / BUILD_INFO
    info.mkdir()
    name = f"{BUILD_INFO}/direct_url.json"
    (info / "direct_url.json").write_text('{"url": "file:///tmp/x.whl"}')
    (info / "RECORD").write_text(f"{name},sha256=old,1\n{BUILD_INFO}/RECORD,,\n")
    content = write_direct_url(tmp_path).read_bytes()
    assert json.loads(content)["vcs_info"]["requested_revision"] == "main"
    rows = [tuple(row) for row in csv.reader(io.StringIO((info / "RECORD").read_text()))]
    assert rows == [(f"{BUILD_INFO}/RECORD", "", ""), record_row(name, content)]


@needs_build
def test_installed_metadata_and_package_agree() -> None:
    import transformers

    assert importlib.metadata.version("transformers") == BUILD
    assert transformers.__version__ == BUILD


@needs_build
def test_installed_build_says_which_commit_it_is() -> None:
    distribution = importlib.metadata.distribution("transformers")
    direct_url = json.loads(distribution.read_text("direct_url.json") or "null")
    assert direct_url["url"] == "https://github.com/huggingface/transformers.git"
    assert direct_url["vcs_info"]["vcs"] == "git"
    assert direct_url["vcs_info"]["requested_revision"] == "main"
    assert re.fullmatch("[0-9a-f]{40}", direct_url["vcs_info"]["commit_id"])


@needs_build
def test_installed_files_match_their_record() -> None:
    distribution = importlib.metadata.distribution("transformers")
    recorded = {str(file): file for file in distribution.files or ()}
    for name in (INIT, MODELING, f"{BUILD_INFO}/METADATA", f"{BUILD_INFO}/direct_url.json"):
        content = Path(str(distribution.locate_file(name))).read_bytes()
        assert recorded[name].hash is not None, name
        assert f"sha256={recorded[name].hash.value}" == record_row(name, content)[1], name


@needs_build
def test_installed_function_takes_two_arguments() -> None:
    # From the source: once patch() has run in this process, the live function takes every form.
    spec = importlib.util.find_spec("transformers.models.qwen2_5_vl.modeling_qwen2_5_vl")
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    arguments = functions["apply_rotary_pos_emb_flashatt"].args
    assert ast.unparse(arguments) == "tensor: torch.Tensor, freqs: torch.Tensor"
