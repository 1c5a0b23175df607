"""Which adapters the local language model is served with, what they are called, and the prompt that fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local import llm_server


@pytest.fixture(autouse=True)
def _nothing_shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(llm_server, "ADAPTER", tmp_path / "nowhere")


def adapter(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF")
    return str(path)


def test_adapters_are_called_as_their_files_in_the_order_given(tmp_path: Path) -> None:
    given = [adapter(tmp_path / "loud.gguf"), adapter(tmp_path / "house" / "adapter.gguf")]
    files = llm_server.adapter_files(given, "gemma")
    assert list(files.items()) == [("loud", Path(given[0])), ("house", Path(given[1]))]
    assert llm_server.prompt_style(files) == "tuned"


@pytest.mark.parametrize("given", [["none"], ["default"], []])
def test_without_an_adapter_the_prompt_has_examples(given: list[str]) -> None:
    assert llm_server.adapter_files(given, "gemma") == {}
    assert llm_server.prompt_style({}) == "few-shot"


def test_two_of_the_same_name_are_refused(tmp_path: Path) -> None:
    given = [adapter(tmp_path / "a" / "calm.gguf"), adapter(tmp_path / "b" / "calm.gguf")]
    with pytest.raises(ValueError, match="same name"):
        llm_server.adapter_files(given, "gemma")


def test_one_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        llm_server.adapter_files(["nowhere.gguf"], "gemma")
