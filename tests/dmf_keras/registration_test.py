from __future__ import annotations

from importlib import import_module

import keras

import dmf_keras.layers
import dmf_keras.models
from dmf_keras.models.dmf.model import DMF
from dmf_keras.registration import PUBLIC


def test_every_exported_class_is_where_its_path_says():
    for path, cls in PUBLIC.items():
        module, name = path.rsplit(".", 1)
        assert getattr(import_module(module), name) is cls
        assert keras.saving.get_registered_name(cls) == f"dmf_keras>{name}"


def test_every_public_layer_is_exported_and_documented():
    exported = {path.rsplit(".", 1)[1] for path in PUBLIC if path.startswith("dmf_keras.layers.")}
    assert exported == set(dmf_keras.layers.__all__)
    assert PUBLIC["dmf_keras.models.DMF"] is DMF
    for cls in PUBLIC.values():
        for section in ("Args:", "Examples:"):
            assert section in cls.__doc__, f"{cls.__name__} has no {section}"
