"""Ranking models behind one contract, `encode_user` and `score`. Importing this package does not load Keras."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dmf_keras.models.configs import (
    DINConfig,
    DMFCentricConfig,
    DMFConfig,
    DMFEnrichedConfig,
    EarlyFusionConfig,
    InterestConfig,
    MeanPoolingConfig,
    SimTierConfig,
    TargetAttentionConfig,
)
from dmf_keras.models.model_config import ModelConfig
from dmf_keras.models.registry import build_model, model_config, model_names, register_model
from dmf_keras.models.schema import ModalitySpec, RankingSchema

if TYPE_CHECKING:
    from dmf_keras.models.din import DIN
    from dmf_keras.models.dmf import DMF, DMFCentric, DMFEnriched
    from dmf_keras.models.early_fusion import EarlyFusion
    from dmf_keras.models.id_target_attention import IDTargetAttention
    from dmf_keras.models.interest_model import InterestModel
    from dmf_keras.models.mean_pooling import MeanPooling
    from dmf_keras.models.ranking_model import RankingModel
    from dmf_keras.models.similarity_model import SimilarityModel
    from dmf_keras.models.simtier import SimTier

# Classes that need Keras, with the modules that they are loaded from on first use.
_LAZY = {
    "DIN": "din",
    "DMF": "dmf",
    "DMFCentric": "dmf",
    "DMFEnriched": "dmf",
    "EarlyFusion": "early_fusion",
    "IDTargetAttention": "id_target_attention",
    "InterestModel": "interest_model",
    "MeanPooling": "mean_pooling",
    "RankingModel": "ranking_model",
    "SimTier": "simtier",
    "SimilarityModel": "similarity_model",
}

__all__ = [
    "DIN",
    "DINConfig",
    "DMF",
    "DMFCentric",
    "DMFCentricConfig",
    "DMFConfig",
    "DMFEnriched",
    "DMFEnrichedConfig",
    "EarlyFusion",
    "EarlyFusionConfig",
    "IDTargetAttention",
    "InterestConfig",
    "InterestModel",
    "MeanPooling",
    "MeanPoolingConfig",
    "ModalitySpec",
    "ModelConfig",
    "RankingModel",
    "RankingSchema",
    "SimTier",
    "SimTierConfig",
    "SimilarityModel",
    "TargetAttentionConfig",
    "build_model",
    "model_config",
    "model_names",
    "register_model",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}")
