"""Public layers. Each is serialisable, explicit about masks, and useful without the rest."""

from dmf_keras.layers.age_embedding import AgeEmbedding
from dmf_keras.layers.attention_pooling import AttentionPooling
from dmf_keras.layers.bag_tower import BagTower
from dmf_keras.layers.bias_tower import BiasTower
from dmf_keras.layers.column_embedding import ColumnEmbedding
from dmf_keras.layers.complementary_modality_mixing import ComplementaryModalityMixing
from dmf_keras.layers.content_embedding import ContentEmbedding
from dmf_keras.layers.content_projection import ContentProjection
from dmf_keras.layers.cross_modal_attention import CrossModalAttention
from dmf_keras.layers.cross_network import CrossNetwork
from dmf_keras.layers.decoupled_target_attention import DecoupledTargetAttention
from dmf_keras.layers.dice import Dice
from dmf_keras.layers.dot_product_head import DotProductHead
from dmf_keras.layers.early_fusion_target_attention import EarlyFusionTargetAttention
from dmf_keras.layers.id_embedding import IdEmbedding
from dmf_keras.layers.info_nce import InfoNCE
from dmf_keras.layers.interest_head import InterestHead
from dmf_keras.layers.item_columns import ItemColumns
from dmf_keras.layers.item_statistics import ItemStatistics
from dmf_keras.layers.local_activation_unit import LocalActivationUnit
from dmf_keras.layers.modal_synergy import ModalSynergy
from dmf_keras.layers.modality_experts import ModalityExperts
from dmf_keras.layers.multi_gate_mixture_of_experts import MultiGateMixtureOfExperts
from dmf_keras.layers.multi_value_embedding import MultiValueEmbedding
from dmf_keras.layers.quadratic_head import QuadraticHead
from dmf_keras.layers.score_calibration import ScoreCalibration
from dmf_keras.layers.semantic_id_embedding import SemanticIdEmbedding
from dmf_keras.layers.semantic_target_attention import SemanticTargetAttention
from dmf_keras.layers.similarity_buckets import SimilarityBuckets
from dmf_keras.layers.similarity_histogram import SimilarityHistogram
from dmf_keras.layers.soft_bin_pooling import SoftBinPooling
from dmf_keras.layers.sparse_target_attention import SparseTargetAttention
from dmf_keras.layers.statistics_gate import StatisticsGate
from dmf_keras.layers.target_attention import TargetAttention
from dmf_keras.layers.unit_projection import UnitProjection

__all__ = [
    "AgeEmbedding",
    "AttentionPooling",
    "BagTower",
    "BiasTower",
    "ColumnEmbedding",
    "ComplementaryModalityMixing",
    "ContentEmbedding",
    "ContentProjection",
    "CrossModalAttention",
    "CrossNetwork",
    "DecoupledTargetAttention",
    "Dice",
    "DotProductHead",
    "EarlyFusionTargetAttention",
    "IdEmbedding",
    "InfoNCE",
    "InterestHead",
    "ItemColumns",
    "ItemStatistics",
    "LocalActivationUnit",
    "ModalSynergy",
    "ModalityExperts",
    "MultiGateMixtureOfExperts",
    "MultiValueEmbedding",
    "QuadraticHead",
    "ScoreCalibration",
    "SemanticIdEmbedding",
    "SemanticTargetAttention",
    "SimilarityBuckets",
    "SimilarityHistogram",
    "SoftBinPooling",
    "SparseTargetAttention",
    "StatisticsGate",
    "TargetAttention",
    "UnitProjection",
]
