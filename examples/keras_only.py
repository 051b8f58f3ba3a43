"""A ranker from plain Keras inputs and NumPy arrays: trained with `fit`, saved, and loaded in another process."""
# Runs on TensorFlow, or on JAX: KERAS_BACKEND=jax python examples/keras_only.py

import subprocess
import sys
import tempfile

import keras
import numpy as np

from dmf_keras import layers

if len(sys.argv) > 1:  # the other process: it needs the layers, and nothing of what is below
    loaded, inputs = keras.saving.load_model(f"{sys.argv[1]}/model.keras"), np.load(f"{sys.argv[1]}/inputs.npz")
    np.save(f"{sys.argv[1]}/scores.npy", loaded.predict(dict(inputs), verbose=0))
    sys.exit()

# Data: users with a favourite topic, who click what is of that topic and what has appeal. 8 candidates a request.
ITEMS, TOPICS, WIDTH, HISTORY, REQUESTS = 1000, 10, 32, 20, 5000
keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
topic = rng.integers(0, TOPICS, ITEMS + 1)  # of each item; item 0 is padding
content = rng.normal(size=(TOPICS, WIDTH))[topic] + rng.normal(size=(ITEMS + 1, WIDTH))  # shows the topic, with noise
appeal = rng.normal(size=ITEMS + 1)  # content does not show it, only the id can tell
favourite, length = rng.integers(0, TOPICS, (REQUESTS, 1)), rng.integers(0, HISTORY + 1, (REQUESTS, 1))
of_topic = np.stack([rng.choice(np.flatnonzero(topic[1:] == t) + 1, HISTORY) for t in favourite[:, 0]])
data = {
    "history": np.where(np.arange(HISTORY) < length, of_topic, 0),  # of up to 20 items; some are empty
    "candidates": rng.integers(1, ITEMS + 1, (REQUESTS, 8)),
    "profile": rng.normal(size=(REQUESTS, 2)).astype("float32"),
}
logits = 3 * (topic[data["candidates"]] == favourite) + appeal[data["candidates"]] + data["profile"][:, :1] - 1
clicks = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype("float32")
train, test = [({k: v[part] for k, v in data.items()}, clicks[part]) for part in (slice(4000), slice(4000, None))]

# Model: histories [B, L], candidates [B, N] and profiles [B, 2] to logits [B, N]; B, L and N may be anything.
history, candidates = (keras.Input((None,), dtype="int32", name=name) for name in ("history", "candidates"))
profile, mask = keras.Input((2,), name="profile"), history != 0
table, embedding = layers.ContentEmbedding(ITEMS + 1, WIDTH), keras.layers.Embedding(ITEMS + 1, 16)
table.set_rows(content)
(old, old_present), (new, new_present), item = table(history), table(candidates), embedding(candidates)
buckets = layers.SimilarityBuckets(20)(new, old, new_present, old_present)  # of each pair, from content alone
enriched = layers.DecoupledTargetAttention(16, buckets=20)(item, embedding(history), [buckets], mask)
centric = keras.layers.Dense(16)(layers.SimilarityHistogram(20)(buckets, mask))
interest = layers.ComplementaryModalityMixing("gate")(enriched, centric)
logits = layers.InterestHead((64, 32))(profile, item, interest)
model = keras.Model({"history": history, "candidates": candidates, "profile": profile}, logits)

loss, auc = keras.losses.BinaryCrossentropy(from_logits=True), keras.metrics.AUC(from_logits=True, name="auc")
model.compile(keras.optimizers.Adam(0.003), loss, metrics=[auc])
print(f"AUC before training: {model.evaluate(*test, verbose=0, return_dict=True)['auc']:.3f}")
model.fit(*train, batch_size=64, epochs=5, verbose=2)
print(f"AUC after training: {model.evaluate(*test, verbose=0, return_dict=True)['auc']:.3f}")
with tempfile.TemporaryDirectory() as folder:
    model.save(f"{folder}/model.keras")
    np.savez(f"{folder}/inputs.npz", **test[0])
    subprocess.run([sys.executable, __file__, folder], check=True)
    difference = np.abs(np.load(f"{folder}/scores.npy") - model.predict(test[0], verbose=0)).max()
print(f"Largest difference of scores in the other process: {difference:.1e}")
