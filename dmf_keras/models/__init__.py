"""Ranking models behind one contract, `encode_user` and `score`. Importing this package does not load Keras."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dmf_keras.models.configs import InterestConfig
from dmf_keras.models.inputs import ItemColumnSpec, ModalitySpec, ObjectiveSpec, RankingSchema
from dmf_keras.models.model_config import ModelConfig
from dmf_keras.models.registry import build_model, model_config, model_names, register_model, registered_classes

if TYPE_CHECKING:
    from dmf_keras.models.interest_model import InterestModel
    from dmf_keras.models.ranking_model import RankingModel
    from dmf_keras.models.similarity_model import SimilarityModel

__all__ = [
    "InterestConfig",
    "InterestModel",
    "ItemColumnSpec",
    "ModalitySpec",
    "ModelConfig",
    "ObjectiveSpec",
    "RankingModel",
    "RankingSchema",
    "SimilarityModel",
    "build_model",
    "model_config",
    "model_names",
    "register_model",
]

# The built-in models: a package each, which registers what it holds. A new one is a line here.
_PACKAGES = (
    "content_concat",
    "diff_msin",
    "din",
    "dmf",
    "early_fusion",
    "make",
    "mean_pooling",
    "mim",
    "muse",
    "qin",
    "sid_coord",
    "simtier",
    "target_attention",
    "two_towers",
)
for _package in _PACKAGES:
    import_module(f"{__name__}.{_package}")
# Their names: what is registered under another was so by somebody's own module.
BUILT_IN = frozenset(model_names())

# Classes by the module that they are loaded from on first use, as models need Keras.
_CLASSES = {
    **registered_classes(),
    "InterestModel": f"{__name__}.interest_model",
    "RankingModel": f"{__name__}.ranking_model",
    "SimilarityModel": f"{__name__}.similarity_model",
}
__all__ += registered_classes()


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return getattr(import_module(_CLASSES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(sorted(__all__))}")
