"""Writes small SavedModels with the signatures of a ranking model, for servers that load one: FOLDER VERSIONS.

Scores depend on the version in the user's part and in the candidate's, so a state of one version that is scored by
another gives numbers that neither of them has. Run as a script, since it imports TensorFlow.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from serving.approximate_index import catalogue_digest
from serving.export.approximate_index import write_index

WIDTH = 8
CATALOGUE = [f"i{number}" for number in range(60)]
RANKED = 20


class SmallModel(tf.Module):
    def __init__(self, version: int):
        super().__init__()
        self.shift = tf.Variable(float(version), trainable=False)
        self.items = self.vectors(tf.constant([f"retrieved {item}" for item in CATALOGUE])).numpy()
        self.digest = catalogue_digest(CATALOGUE, self.items)

    def vectors(self, strings: tf.Tensor) -> tf.Tensor:
        """float32 [..., WIDTH], other ones in each version."""
        hashed = tf.cast(tf.strings.to_hash_bucket_fast(strings, 1 << 20), tf.float32)[..., None]
        return tf.sin(hashed * (1.0 + tf.range(WIDTH, dtype=tf.float32)) + 37.0 * self.shift)

    def encode(self, user_id, history_item_id, gender, age) -> dict[str, tf.Tensor]:
        mask = history_item_id != ""
        age = tf.where(tf.math.is_nan(age), -1.0, age / 100.0)[:, None]
        return {
            "keys": self.vectors(history_item_id),
            "history_mask": mask,
            "user_part": self.vectors(user_id) + 2.0 * self.vectors(gender) + age,
        }

    def query(self, keys, history_mask, user_part) -> tf.Tensor:
        """float32 [B, WIDTH]."""
        history = tf.reduce_sum(tf.where(history_mask[..., None], keys, 0.0), axis=1)
        return user_part + history / (1.0 + tf.reduce_sum(tf.cast(history_mask, tf.float32), 1, keepdims=True))

    def score(self, keys, history_mask, user_part, candidate_item_id) -> dict[str, tf.Tensor]:
        query = self.query(keys, history_mask, user_part)
        return {"score": tf.sigmoid(tf.reduce_sum(self.vectors(candidate_item_id) * query[:, None], axis=-1))}

    def retrieved(self, state, exclude_item_id, width) -> tuple[tf.Tensor, tf.Tensor]:
        """The best `width` items [B, width], "" where there are no more, and their scores."""
        catalogue = tf.constant(CATALOGUE)
        scores = self.query(**state) @ tf.transpose(self.vectors("retrieved " + catalogue))
        excluded = tf.reduce_any(exclude_item_id[:, :, None] == catalogue, axis=1)
        best, places = tf.math.top_k(tf.where(excluded, -math.inf, scores), width)
        return tf.where(tf.math.is_finite(best), tf.gather(catalogue, places), ""), best

    def vector(self, **raw) -> dict[str, tf.Tensor]:
        query = self.query(**self.encode(**raw))
        return {"user_vector": query, "catalogue": tf.fill(tf.shape(query)[:1], self.digest)}

    def retrieve(self, k, exclude_item_id, **raw) -> dict[str, tf.Tensor]:
        with tf.control_dependencies(checks_of(k, len(CATALOGUE), "items of the catalogue")):
            items, scores = self.retrieved(self.encode(**raw), exclude_item_id, tf.reduce_max(k))
        return cut(k, {"item_id": items, "score": scores})

    def recommend(self, k, exclude_item_id, **raw) -> dict[str, tf.Tensor]:
        state = self.encode(**raw)
        with tf.control_dependencies(checks_of(k, RANKED, "candidates that the model ranks")):
            items, of_retrieval = self.retrieved(state, exclude_item_id, RANKED)
        scores = tf.where(items == "", -math.inf, self.score(**state, candidate_item_id=items)["score"])
        best, order = tf.math.top_k(scores, tf.reduce_max(k))
        outputs = {
            "item_id": tf.gather(items, order, batch_dims=1),
            "score": best,
            "retrieval_score": tf.gather(of_retrieval, order, batch_dims=1),
            "retrieval_rank": order + 1,
        }
        return cut(k, outputs)

    def signatures(self) -> dict:
        user = {
            "user_id": tf.TensorSpec([None], tf.string, "user_id"),
            "history_item_id": tf.TensorSpec([None, None], tf.string, "history_item_id"),
            "gender": tf.TensorSpec([None], tf.string, "gender"),
            "age": tf.TensorSpec([None], tf.float32, "age"),
        }
        state = {
            "keys": tf.TensorSpec([None, None, WIDTH], tf.float32, "keys"),
            "history_mask": tf.TensorSpec([None, None], tf.bool, "history_mask"),
            "user_part": tf.TensorSpec([None, WIDTH], tf.float32, "user_part"),
        }
        candidates = {"candidate_item_id": tf.TensorSpec([None, None], tf.string, "candidate_item_id")}

        asked = {
            "k": tf.TensorSpec([None], tf.int32, "k"),
            "exclude_item_id": tf.TensorSpec([None, None], tf.string, "exclude_item_id"),
        }

        @tf.function
        def rank(candidate_item_id, **raw):
            return self.score(**self.encode(**raw), candidate_item_id=candidate_item_id)

        return {
            "user_tower": tf.function(self.encode).get_concrete_function(**user),
            "candidate": tf.function(self.score).get_concrete_function(**state, **candidates),
            "rank": rank.get_concrete_function(**user, **candidates),
            "retrieve": tf.function(self.retrieve).get_concrete_function(**asked, **user),
            "user_vector": tf.function(self.vector).get_concrete_function(**user),
            "recommend": tf.function(self.recommend).get_concrete_function(**asked, **user),
        }


def checks_of(k: tf.Tensor, most: int, what: str) -> list[tf.Operation]:
    allowed = f"k must be from 1 to {most}, {what}"
    return [tf.debugging.Assert(tf.reduce_all((k >= 1) & (k <= most)), [allowed, "got", k])]


def cut(k: tf.Tensor, outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Padding past each request's own k, and past the items that there are."""
    items = outputs["item_id"]
    there = (tf.range(tf.shape(items)[1]) < k[:, None]) & (items != "")
    return {name: tf.where(there, value, tf.zeros_like(value)) for name, value in outputs.items()}


def main(folder: str, versions: str) -> None:
    for version in range(1, int(versions) + 1):
        model = SmallModel(version)
        tf.saved_model.save(model, str(Path(folder, str(version))), model.signatures())
        write_index(Path(folder, str(version)), CATALOGUE, model.items, model.items, ranked_candidates=RANKED)


if __name__ == "__main__":
    main(*sys.argv[1:])
