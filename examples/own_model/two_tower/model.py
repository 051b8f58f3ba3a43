"""Two towers: logit = <user, item> + bias of the item + weighted mean cosine of the content, per modality."""

import keras
from keras import ops

from dmf_keras.models import RankingModel
from dmf_keras.models.inputs import CANDIDATE_INDEX, HISTORY_CONTENT_ROW, HISTORY_INDEX, USER_INDEX
from two_tower import TwoTowerConfig


@keras.saving.register_keras_serializable(package="own_model")  # so that model.keras can be loaded
class TwoTower(RankingModel):
    """The user is the mean of the history's items, and an embedding of the user id where the data has one."""

    config_class = TwoTowerConfig

    def __init__(self, schema, config, **kwargs):
        super().__init__(schema, config, **kwargs)
        self.items = self._embedding(schema.item_rows, config.dim)
        self.biases = self._embedding(schema.item_rows, 1)
        self.users = self._embedding(schema.user_rows, config.dim) if schema.user_rows is not None else None
        self.mix = keras.layers.Dense(1, dtype="float32")
        self.mix.build((None, None, len(schema.modalities)))
        self.built = True

    def _embedding(self, rows, width):
        layer = keras.layers.Embedding(rows, width, dtype="float32")
        layer.build()
        return layer

    def encode_user(self, inputs, training=False):
        """`user` [B, dim], and per modality the mean of the history's unit vectors, [B, D]; padding counts nowhere."""
        self.check_user_inputs(inputs)
        user = _mean(self.items(inputs[HISTORY_INDEX]), ops.not_equal(inputs[HISTORY_INDEX], 0))
        if self.users is not None:
            user = user + self.users(inputs[USER_INDEX])
        rows = inputs[HISTORY_CONTENT_ROW]
        return {"user": user, **{f"content_{name}": _mean(*table(rows)) for name, table in self.content.items()}}

    def score(self, state, inputs, training=False):
        """Logits [B, N]. The mean of cosines is one dot product with the mean of unit vectors."""
        self.check_candidate_inputs(inputs)
        candidates = inputs[CANDIDATE_INDEX]
        logits = ops.einsum("bd,bnd->bn", state["user"], self.items(candidates)) + self.biases(candidates)[..., 0]
        cosines = [
            ops.einsum("bd,bnd->bn", state[f"content_{name}"], self.candidate_vectors(inputs, name)[0])
            for name in self.content
        ]
        return logits + self.mix(ops.stack(cosines, axis=-1))[..., 0]


def _mean(vectors, mask):
    """Mean over axis 1 of `vectors` [B, L, D] where `mask` [B, L] is true; zeros where it never is."""
    weights = ops.expand_dims(ops.cast(mask, "float32"), -1)
    return ops.sum(vectors * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1.0)
