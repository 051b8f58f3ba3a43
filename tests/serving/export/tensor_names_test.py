"""`saved_model_cli show --all` of an exported model reads like its contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving import contract
from serving.export.servable import signature_defs
from serving.export.signatures import export_model
from tests.serving.export.small_models import VocabularyTransform, small_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("model") / "1"
    export_model(small_model("dmf"), VocabularyTransform(), directory, name="dmf", max_history=50)
    return directory


def tensor_name(signature: str, key: str) -> str:
    """TensorFlow writes the slash of `candidate_content/MODALITY` as an underscore in tensors, not in keys."""
    return f"{signature}_{key.replace('/', '_')}:0"


def test_tensors_are_named_after_their_signature_and_input(model):
    signatures = contract.ModelContract.read(model).signatures
    found = signature_defs(model)
    assert set(found) == set(signatures)
    for name, signature in found.items():
        assert signature.method_name == "tensorflow/serving/predict"
        assert set(signature.inputs) == set(signatures[name]["inputs"])
        assert set(signature.outputs) == set(signatures[name]["outputs"])
        for key, info in signature.inputs.items():
            assert info.name == tensor_name(name, key)


@pytest.mark.slow
def test_the_command_shows_every_signature_with_its_tensors(model):
    command = [str(Path(sys.executable).with_name("saved_model_cli")), "show", "--dir", str(model), "--all"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=1200).stdout
    for name, sides in contract.ModelContract.read(model).signatures.items():
        section = shown.split(f"signature_def['{name}']:")[1].split("signature_def[")[0]
        for key, spec in sides["inputs"].items():
            shape = ", ".join("-1" if size is None else str(size) for size in spec.shape)
            block = section.split(f"inputs['{key}'] tensor_info:")[1].split("tensor_info:")[0]
            assert f"name: {tensor_name(name, key)}" in block
            assert f"shape: ({shape})" in block
        for key in sides["outputs"]:
            assert f"outputs['{key}'] tensor_info:" in section
