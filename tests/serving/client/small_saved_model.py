"""Writes small SavedModels with the signatures of a ranking model, for servers that load one: FOLDER VERSIONS.

Scores depend on the version in the user's part and in the candidate's, so a state of one version that is scored by
another gives numbers that neither of them has. Run as a script, since it imports TensorFlow.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow as tf

WIDTH = 8


class SmallModel(tf.Module):
    def __init__(self, version: int):
        super().__init__()
        self.shift = tf.Variable(float(version), trainable=False)

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

    def score(self, keys, history_mask, user_part, candidate_item_id) -> dict[str, tf.Tensor]:
        history = tf.reduce_sum(tf.where(history_mask[..., None], keys, 0.0), axis=1)
        query = user_part + history / (1.0 + tf.reduce_sum(tf.cast(history_mask, tf.float32), 1, keepdims=True))
        return {"score": tf.sigmoid(tf.reduce_sum(self.vectors(candidate_item_id) * query[:, None], axis=-1))}

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

        @tf.function
        def rank(candidate_item_id, **raw):
            return self.score(**self.encode(**raw), candidate_item_id=candidate_item_id)

        return {
            "user_tower": tf.function(self.encode).get_concrete_function(**user),
            "candidate": tf.function(self.score).get_concrete_function(**state, **candidates),
            "rank": rank.get_concrete_function(**user, **candidates),
        }


def main(folder: str, versions: str) -> None:
    for version in range(1, int(versions) + 1):
        model = SmallModel(version)
        tf.saved_model.save(model, str(Path(folder, str(version))), model.signatures())


if __name__ == "__main__":
    main(*sys.argv[1:])
