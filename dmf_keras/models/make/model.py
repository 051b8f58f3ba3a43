"""DIN over IDs and content side by side, and similarity histograms beside it."""

from __future__ import annotations

from dmf_keras.models.din.model import DIN
from dmf_keras.models.histogram_model import HistogramModel
from dmf_keras.models.joined_items import JoinedItems
from dmf_keras.models.make import MAKEConfig
from dmf_keras.registration import dmf_keras_export


@dmf_keras_export("dmf_keras.models.MAKE")
class MAKE(HistogramModel, JoinedItems, DIN):
    """MAKE in one model, as MMCTR-Bench has it: joined items, DIN's unit with a softmax, similarity counts.

        x = [e, P_1 m_1 + b_1, ..., P_M m_M + b_M]
        o_n = sum_j softmax_j(MLP([x_n, x_hj, x_n - x_hj, x_n * x_hj])) x_hj,    head(user, x_n, o_n, c_n)

    with c_n the histograms of the similarity buckets of frozen content, per modality. The unit's layers have a vector
    per pair, [B, N, L, H]: this is as costly as `din`. What does not need the pair is computed in parts.

    The MAKE of the paper is trained in two stages: a unit over content alone for several epochs, whose output then goes
    into the ID model. Here all is trained at once. Against MMCTR-Bench: it counts cosines of *joined* vectors, which
    move as the model learns, in 10 tiers, without a logarithm; here those of frozen content are counted, as in the
    paper. Its Dice has the statistics of the batch in inference too, which lets candidates see each other; here they
    are moving averages. It projects the ID embedding once more, which changes nothing that it can say.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("make", {"content_dim": 4}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))[:3]
    ['history', 'history_mask', 'history_part']

    References:
        SimTier and MAKE, arXiv:2407.19467; `make` of MMCTR-Bench (hdu-yzl/MMCTR-Bench).
    """

    config_class = MAKEConfig
    config: MAKEConfig
    normalize = True
