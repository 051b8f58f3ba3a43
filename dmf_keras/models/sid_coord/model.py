"""Semantic ids beside IDs, weighed by how often an item was shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from keras import ops

from dmf_keras.layers import ItemStatistics, SemanticIdEmbedding, SoftBinPooling, StatisticsGate
from dmf_keras.models.inputs import RankingSchema
from dmf_keras.models.interest_model import HISTORY_MASK
from dmf_keras.models.sid_coord import SIDCoordConfig
from dmf_keras.models.target_attention.model import KEYS, VALUES, IDTargetAttention
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor

# State tensor: unit vectors of the history's semantic ids, float32 [B, L, d], zeros where an item has none.
SEMANTIC = "semantic"
# Parts of a logit: what came out of the attention, and what is made of cosines of semantic ids.
ATTENTION, ALIGNMENT = "attention", "alignment"


@dmf_keras_export("dmf_keras.models.SIDCoord")
class SIDCoord(IDTargetAttention):
    """Target attention over items that are ID and semantic ids, mixed by how much the ID can have learnt.

        e_sid = sum_k alpha_k E_k[s_k],   alpha = softmax_k(q_k . E_k[s_k] + b_k),   k = 1, 2, 3, 12, 23
        g = sigmoid(MLP(log(1 + counts))),   e = g e_id + (1 - g) e_sid
        o_n = TargetAttention(e_n, e_h1 ... e_hL),   S_nl = cos(e_sid_n, e_sid_hl)
        a_n = [mean_l AutoDis(S_nl), max_l AutoDis(S_nl)]
        head(user, e_n, o_n, a_n)

    with s_k the codes of the item and of pairs of adjacent levels (`SemanticIdEmbedding`), counts those of the item in
    train (`ItemStatistics`, `StatisticsGate`), and AutoDis an embedding by soft bins (`SoftBinPooling`). e_id is the ID
    joined with the item's columns, if any. e is made once per item: of the history in `encode_user`, of a candidate
    once per request.

    An item without codes has e = e_id, and no pair with it counts in a_n. Codes are those of the table alone: content
    that a request carries changes nothing. An empty history has o_n = a_n = 0.

    What the paper leaves open as far as it is known here, and what this model does:

    - the scorer of alpha: a query and a bias per resolution, both zero at first, so that all weigh the same;
    - the gate's input: the paper's are counts of seven days of exposures and reactions. Here they are those of the
      train split, as logarithms, by default of impressions alone: in training a count of positives holds the row's own
      label. The gate is a scalar of the item's own counts, of candidates and of history items alike;
    - backbone: target attention and the head of the registry; masks: padding and pairs without codes are in no pool;
    - bins, skip and temperature of AutoDis: see `SoftBinPooling`.

    The alignment is features of the head, as in the paper, and no term of the loss.

    Args:
        schema: sizes and names that come from the data, `item_codes` and `item_statistics` among them.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import RankingSchema, build_model
    >>> schema = RankingSchema(100, 100, item_codes=(8, 8, 8), item_statistics=("impressions",))
    >>> model = build_model("sid_coord", {"heads": 2}, schema, seed=1)
    >>> model.semantic_ids.set_rows(np.ones((100, 3), int))
    >>> model.item_statistics.set_rows({"impressions": np.arange(100)})
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))
    ['history_mask', 'keys', 'semantic', 'user_part', 'values']

    References:
        SID-Coord, arXiv:2604.10471. AutoDis, arXiv:2012.08986.
    """

    config_class = SIDCoordConfig
    config: SIDCoordConfig

    def __init__(self, schema: RankingSchema, config: SIDCoordConfig, **kwargs: Any) -> None:
        if not schema.item_codes:
            raise ValueError(
                f"{type(self).__name__} reads semantic ids: `schema.item_codes` must name at least a level"
            )
        super().__init__(schema, config, **kwargs)

    def build_items(self) -> None:
        """The semantic ids of items and their gate."""
        config, schema = self.config, self.schema
        self.semantic_ids = SemanticIdEmbedding(
            schema.content_rows,
            schema.item_codes,
            config.id_dim,
            config.pair_rows,
            name="semantic_ids",
            dtype=self.dtype_policy,
        )
        self.semantic_ids.build()
        self.gate = StatisticsGate(config.gate_units, name="gate", dtype=self.dtype_policy)
        self.gate.build((None, None, len(config.statistics)))

    def build_interest(self) -> int:
        """See the base class."""
        config = self.config
        self.alignment = SoftBinPooling(config.bins, config.bin_dim, name="alignment", dtype=self.dtype_policy)
        self.alignment.build()
        return super().build_interest() + self.alignment.width

    def item_vectors(self, index: Tensor, content_row: Tensor) -> Tensor:
        """[e, e_sid], [B, W, 2 id_dim]: what an item is, and its semantic ids alone, zeros where it has none."""
        semantic, coded = self.semantic_ids(content_row)
        statistics = cast(ItemStatistics, self.item_statistics)(content_row)
        items = self.gate(statistics, super().item_vectors(index, content_row), semantic, coded)
        return ops.concatenate([items, semantic], axis=-1)

    def _split(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """e and e_sid of `item_vectors`."""
        return items[..., : self.config.id_dim], items[..., self.config.id_dim :]

    def head_items(self, candidates: Tensor, columns: Tensor | None) -> Tensor:
        """See the base class; of `item_vectors` e alone."""
        return super().head_items(self._split(candidates)[0], columns)

    def encode_interest(self, inputs: Mapping[str, Tensor], history_mask: Tensor, training: bool) -> dict[str, Tensor]:
        """Keys, values, and the history's semantic ids."""
        items, semantic = self._split(self.seen_items(inputs, training))
        keys, values = self.attention.encode_history(items)
        return {
            KEYS: self.add_ages(KEYS, keys, inputs),
            VALUES: self.add_ages(VALUES, values, inputs),
            SEMANTIC: _unit(semantic),
        }

    def interest(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> Tensor:
        """[o_n, a_n]."""
        return self.join_interest(self.interest_parts(state, candidates, inputs, training))

    def interest_parts(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> dict[str, Tensor]:
        """`attention` o_n [B, N, a] and `alignment` a_n [B, N, 2 bin_dim]."""
        items, semantic = self._split(candidates)
        of_candidate, of_history = _unit(semantic), state[SEMANTIC]
        counted = ops.logical_and(ops.any(of_history != 0, axis=-1), state[HISTORY_MASK])
        pairs = ops.logical_and(ops.any(semantic != 0, axis=-1, keepdims=True), ops.expand_dims(counted, 1))
        cosines = ops.einsum("bnd,bld->bnl", of_candidate, of_history)
        return {
            ATTENTION: self.attend(state, items, inputs, training),
            ALIGNMENT: self.alignment(cosines, pairs),
        }

    def explain_history(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The attention weights."""
        return super().explain_history(state, self._split(candidates)[0], inputs)


def _unit(semantic: Tensor) -> Tensor:
    """Of length 1, float32; zeros stay zeros."""
    return ops.normalize(ops.cast(semantic, "float32"))
