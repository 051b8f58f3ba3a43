"""Target attention over IDs, and similarity histograms beside it."""

from __future__ import annotations

from dmf_keras.models.histogram_attention import HistogramAttention
from dmf_keras.models.simtier import SimTierConfig
from dmf_keras.registration import dmf_keras_export


@dmf_keras_export("dmf_keras.models.SimTier")
class SimTier(HistogramAttention):
    """The interest is the target attention over IDs and, per modality, how the history spreads over similarities.

    Both go into the head side by side: content reaches the score through the counts c_n alone.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("simtier", {"heads": 2}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))
    ['history_mask', 'history_present_text', 'history_vectors_text', 'keys', 'user_part', 'values']

    References:
        SimTier, arXiv:2407.19467, without the pre-training of MAKE.
    """

    config_class = SimTierConfig
    config: SimTierConfig
