"""Blocks of the models against arrays that the authors' public codes computed; `tests/parity/README.md` has sources."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from dmf_keras.layers import (
    ContentProjection,
    CrossModalAttention,
    CrossNetwork,
    LocalActivationUnit,
    ModalityExperts,
    ModalSynergy,
    QuadraticHead,
    SemanticTargetAttention,
    SimilarityBuckets,
    SimilarityHistogram,
    SparseTargetAttention,
    TargetAttention,
)
from dmf_keras.models.diff_msin.losses import pairwise_cosine, synergy_hinge
from dmf_keras.ops import masked_softmax

FOLDER = Path(__file__).parents[1] / "parity"
to_numpy = keras.ops.convert_to_numpy


def _arrays(name):
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return dict(arrays)


def _assert_close(actual, expected):
    """To 1e-5 of the largest magnitude, at least of 1."""
    np.testing.assert_allclose(to_numpy(actual), expected, rtol=0, atol=1e-5 * max(1.0, np.abs(expected).max()))


class TestMAKE:
    """`make` of MMCTR-Bench."""

    @pytest.mark.parametrize("modality", ["image", "text"])
    def test_projections(self, modality):
        a = _arrays("mmctr_make")
        layer = ContentProjection(8)
        layer.build(a[f"in.target_{modality}"].shape)
        layer.dense.set_weights([a[f"w.projectors.{modality}.weight"].T, a[f"w.projectors.{modality}.bias"]])
        for side in ("target", "history"):
            vectors = a[f"in.{side}_{modality}"]
            present = vectors.any(-1) & ((a["in.mask"] > 0) if side == "history" else True)
            _assert_close(layer(vectors, present), a[f"mid.{side}.{modality}"])

    def test_tiers(self):
        a = _arrays("mmctr_make")
        target, history = (_joined(a, side) for side in ("target", "history"))
        buckets = SimilarityBuckets(7, a["w.similarity_tiers.boundaries"][1:-1].tolist())
        buckets.build(None)
        cosines = buckets.similarities(target[:, None], history)
        _assert_close(cosines[:, 0] * (a["in.mask"] > 0), a["mid.similarity"])
        counts = SimilarityHistogram(7, "raw")(buckets(target[:, None], history), a["in.mask"] > 0)
        _assert_close(counts[:, 0, :7], a["mid.tiers"])

    def test_unit(self):
        """Position by position, as its Dice has statistics of the batch for each; then its softmax and sum."""
        a = _arrays("mmctr_make")
        target, history = (_joined(a, side) for side in ("target", "history"))
        unit = LocalActivationUnit((10, 6))
        unit.build((None, None, 24), (None, None, 24))
        kernels = [a[f"w.attention.network.{place}.weight"].T for place in (0, 3, 6)]
        biases = [a[f"w.attention.network.{place}.bias"] for place in (0, 3, 6)]
        unit.kernel.assign(kernels[0])
        unit.bias.assign(biases[0])
        for dense, kernel, bias in zip(unit.dense, kernels[1:], biases[1:], strict=True):
            dense.set_weights([kernel, bias])
        for dice, place in zip(unit.dice, (1, 4), strict=True):
            dice.alpha.assign(np.broadcast_to(a[f"w.attention.network.{place}.alpha"], dice.alpha.shape))
        scores = np.zeros((3, 5), np.float32)
        for j in range(5):
            _, weights = unit(
                target[:, None], history[:, [j]], np.ones((3, 1), bool), return_weights=True, training=True
            )
            scores[:, j] = to_numpy(weights)[:, 0, 0]
        _assert_close(scores, a["mid.din_scores"][..., 0])
        weights = to_numpy(masked_softmax(keras.ops.convert_to_tensor(scores), a["in.mask"] > 0))
        _assert_close(np.einsum("bl,bld->bd", weights, history), a["mid.din_pooled"])


def _joined(a, side):
    return np.concatenate([a[f"mid.{side}.{name}"] for name in ("id", "image", "text")], -1)


class TestMUSE:
    """The official code's SimTier and SA-TA, and its attention to recent items."""

    def test_tiers(self):
        """Its tiers are closed on the right and count padding, whose cosine is 0, in tier 10 of 22."""
        a = _arrays("muse_blocks")
        expected = np.expm1(a["out.simtier"] / a["w.simtier.emb"].reshape(1, -1))
        cosines, padding = a["mid.cosine"][:, None], a["mid.cosine"] == 0
        assert np.abs(cosines * 10 - np.round(cosines * 10))[~padding[:, None]].min() > 1e-3, "on an edge rules differ"
        ids = SimilarityBuckets(20).bucket(keras.ops.convert_to_tensor(cosines))
        counts = to_numpy(SimilarityHistogram(20, "raw")(ids, ~padding))[:, 0]
        ours = np.pad(counts[:, :20], ((0, 0), (1, 1)))
        ours[:, 10] += padding.sum(1)
        np.testing.assert_allclose(ours, expected, atol=1e-4)

    @pytest.mark.parametrize("masked", [False, True])
    def test_blocks(self, masked):
        a = _arrays("muse_blocks")
        expected, mask = (a["out.sata_masked"], a["in.mask"] > 0) if masked else (a["out.sata"], np.ones((3, 5), bool))
        gains = a["w.att.cosine_tau2"], a["w.att.cosine_tau1"][0]
        query, keys, values = (
            np.stack([_swish(a, f"w.att.{of}_layers.{head}.linears.0", a[side]) for head in range(2)], -2)
            for of, side in (("query", "in.query"), ("fact", "in.keys"), ("value", "in.keys"))
        )
        found = _semantic(query, keys, values, a["mid.cosine"][:, None], mask, *gains)
        # Its masked softmax of nothing is whatever float32 leaves of -1e9.
        rows = mask.any(1)
        _assert_close(found[rows], expected[rows])
        if not masked:
            plain = _with_queries(TargetAttention(8, 2))
            attended = plain.attend(query.reshape(3, 1, 8), keys, values, mask)
            _assert_close(to_numpy(attended)[:, 0], a["out.id_attention_only"])

    def test_ranking_tower(self):
        a = _arrays("muse_full")
        target = np.concatenate([a["in.ad.0"], a["in.ad.1"]], -1)[:, None]
        retrieved = np.concatenate([a["in.retrieved.0"], a["in.retrieved.1"]], -1)
        recent = np.concatenate([a["in.recent.0"], a["in.recent.1"]], -1)
        everything = np.ones((3, 5), bool)  # no mask in its code
        cosines = SimilarityBuckets(20).similarities(a["in.ad.4"][:, None], a["in.retrieved.2"])
        query, keys, values = (
            _swish(a, f"w.uni_att_v2.{of}_layers.0.linears.0", x)[:, :, None]
            for of, x in (("query", target), ("fact", retrieved), ("value", retrieved))
        )
        gains = a["w.uni_att_v2.cosine_tau2"], a["w.uni_att_v2.cosine_tau1"][0]
        _assert_close(_semantic(query, keys, values, cosines, everything, *gains), a["mid.sata"])

        plain, name = _with_queries(TargetAttention(16)), "w.realtime_att.{}_fcs.0.linears.0"
        query, keys = (_dense(a, name.format(of), x) for of, x in (("query", target), ("fact", recent)))
        attended = plain.attend(query, keys[:, :, None], keys[:, :, None], everything)
        _assert_close(to_numpy(attended)[:, 0], a["mid.recent_attention"])


def _dense(a, name, x):
    return x @ a[f"{name}.weight"].T + a[f"{name}.bias"]


def _swish(a, name, x):
    x = _dense(a, name, x)
    return (x / (1 + np.exp(-x))).astype(np.float32)


def _with_queries(layer):
    """The layer, built, whose queries are its candidates, without the scale that the code does not have."""
    shape = (None, None, layer.dim)
    layer.build(shape, shape)
    layer.query.set_weights([np.eye(layer.dim) * layer.head_width**0.5, np.zeros(layer.dim)])
    return layer


def _semantic(query, keys, values, cosines, mask, gains, temperature):
    """SA-TA of query [B, 1, H, A]; gains [3, H], temperature [H] of the code. [B, H * A]."""
    heads = query.shape[2]
    layer = _with_queries(SemanticTargetAttention(heads * query.shape[3], heads))
    layer.product_gain.assign(gains[0])
    # Learned there for each head, a constant here: the same function of other gains.
    layer.cosine_gain.assign(gains[1:2] * layer.temperature / temperature)
    layer.joint_gain.assign(gains[2:3] * layer.temperature / temperature)
    candidates = query.reshape(len(query), 1, -1)
    return to_numpy(layer.attend(candidates, keys, values, [cosines], mask))[:, 0]


class TestQIN:
    """The challenge's code: attention, network, and both together on vectors of items."""

    @pytest.mark.parametrize("masked", [False, True])
    def test_attention(self, masked):
        a = _arrays("qin_asta")
        mask = a["in.mask"] > 0 if masked else np.ones((3, 5), bool)
        found = _sparse(a, "w.")(a["in.target"][:, None], a["in.history"], mask)
        # The layer leaves the sum with the candidate to the model.
        expected = a["out.interest" if masked else "out.interest_no_mask"]
        _assert_close(to_numpy(found)[:, 0] + a["in.target"], expected)

    def test_network(self):
        a = _arrays("qin_qnn")
        head = _quadratic(a, "w.", layers=3, widths=(5, 4, 3))
        x = a["in.x"]
        logits = head(x[:, :5], x[:, None, 5:9], x[:, None, 9:])
        _assert_close(logits, a["out.logit"])

    def test_whole(self):
        a = _arrays("qin_full")
        tags = a["w.emb.item_tags.weight"][a["in.item_tags_table"].astype(int)]
        present = tags.sum(-1) != 0
        tags = (tags * present[..., None]).sum(1) / (present.sum(1)[:, None] + 1e-12)
        content = ContentProjection(8)
        content.build((None, 8))
        content.dense.set_weights([a["w.proj.item_emb_d128.weight"].T, np.zeros(8)])
        table = a["in.item_emb_table"]
        items = np.concatenate([a["w.emb.item_id.weight"], tags, to_numpy(content(table, table.any(-1)))], -1)
        candidates, history = items[a["in.candidate_ids"].astype(int)], items[a["in.history_ids"].astype(int)]
        attention = _sparse(a, "w.att.")
        interest = to_numpy(attention(candidates, history, a["in.mask"] > 0)) + candidates
        _assert_close(interest, a["mid.interest"])
        levels = [a[f"w.emb.{name}.weight"][a[f"in.{name}"].astype(int)] for name in ("likes_level", "views_level")]
        head = _quadratic(a, "w.qnn.", layers=3, widths=(0, 40, 24))
        logits = head(np.zeros((3, 0)), np.concatenate([*levels, candidates], -1), interest)
        _assert_close(logits, a["mid.logit"][..., 0])
        _assert_close(keras.ops.sigmoid(logits), a["out.probability"])


def _sparse(a, prefix):
    kernels = {name: a[f"{prefix}W_{name}.weight"].T for name in "qkvo"}
    layer = SparseTargetAttention(kernels["q"].shape[1])
    width = kernels["q"].shape[0]
    layer.build((None, None, width), (None, None, width))
    for dense, name in ((layer.query, "q"), (layer.key, "k"), (layer.value, "v"), (layer.output_projection, "o")):
        dense.set_weights([kernels[name]])
    return layer


def _quadratic(a, prefix, layers, widths):
    """The head with the matrices of each layer summed: R products with x are one product with the sum."""
    head, width = QuadraticHead(layers), sum(widths)
    head.build((None, widths[0]), (None, None, widths[1]), (None, None, widths[2]))
    for k in range(layers):
        matrices, biases = (a[f"{prefix}layer.{k}.linear.0.{of}"] for of in ("weight", "bias"))
        head.dense[k].set_weights([matrices.reshape(-1, width, width).sum(0).T, biases.reshape(-1, width).sum(0)])
        of_norm = [a[f"{prefix}norm.{k}.{of}"] for of in ("weight", "bias", "running_mean", "running_var")]
        head.norms[k].set_weights(of_norm)
        head.activations[k].set_weights([a[f"{prefix}activation.{k}.weight"]])
    head.logit.set_weights([a[f"{prefix}fc.weight"].T, a[f"{prefix}fc.bias"]])
    return head


class TestDiffMSIN:
    """`diff_msin` of MMCTR-Bench, from pooled history on: it pools by DIN's unit, this library by target attention."""

    NAMES = ("id", "image", "text")

    @pytest.mark.parametrize(("side", "inputs"), [("target", "mid.target"), ("history", "mid.history_pooled")])
    def test_experts(self, side, inputs):
        a = _arrays("mmctr_diff_msin")
        found = _experts(a)([a[f"{inputs}.{name}"] for name in self.NAMES])
        for s, name in enumerate(self.NAMES):
            _assert_close(found.specific[s], a[f"mid.{side}_specific.{name}"])
            _assert_close(found.shared[s], a[f"mid.{side}_shared.{name}"])
            _assert_close(found.mixed[s], a[f"mid.{side}_mixed.{name}"])

    @pytest.mark.parametrize("kind", ["noise_off", "noise_given"])
    @pytest.mark.parametrize("side", ["target", "history"])
    def test_synergy(self, side, kind):
        a = _arrays("mmctr_diff_msin")
        noise = iter(a["in.noise"][("target", "history").index(side)].reshape(-1, 3, 8))
        layer = _synergy(a)
        layer.noise = lambda like: next(noise)
        found = layer([a[f"mid.{side}_mixed.{name}"] for name in self.NAMES], training=kind == "noise_given")
        _assert_close(found, a[f"mid.{side}_synthesis.{kind}"])

    @pytest.mark.parametrize("kind", ["noise_off", "noise_given"])
    def test_from_pooled_history_to_the_logit(self, kind):
        a = _arrays("mmctr_diff_msin")
        of_target, of_history = (
            _experts(a)([a[f"{side}.{name}"] for name in self.NAMES]) for side in ("mid.target", "mid.history_pooled")
        )
        synergy = _synergy(a)
        noise = iter(a["in.noise"][1].reshape(-1, 3, 8))
        synergy.noise = lambda like: next(noise)
        found = to_numpy(synergy(of_history.mixed, training=kind == "noise_given"))
        gate = to_numpy(of_target.mixed[0])
        for place in (0, 2):
            gate = 1 / (1 + np.exp(-_dense(a, f"w.final_gate.layers.{place}", gate)))
        _assert_close(gate, a[f"mid.final_gate.{kind}"])
        entries = [*map(to_numpy, of_history.mixed[1:]), to_numpy(of_history.shared_mean), found]
        cross = CrossNetwork(3)
        cross.build((None, 32))
        for k in range(3):
            cross.kernels[k].assign(a[f"w.cross_network.weights.{k}.weight"].T)
            cross.biases[k].assign(a[f"w.cross_network.biases.{k}"])
        crossed = to_numpy(cross(gate * np.concatenate(entries, -1)))
        _assert_close(crossed, a[f"mid.crossed.{kind}"])
        attention = _cross_modal(a, "w.id_attention", CrossModalAttention(2))
        attended = to_numpy(attention(of_history.mixed[0], crossed.reshape(3, 4, 8).mean(1)))
        _assert_close(attended, a[f"mid.id_attention.{kind}"])
        hidden = np.concatenate([crossed, attended, a["mid.user"]], -1)
        for place in (0, 4, 8):
            kernel, bias = _folded(a, f"w.dnn.layers.{place}", f"w.dnn.layers.{place + 1}")
            hidden = np.maximum(hidden @ kernel + bias, 0)
        kernel, bias = _folded(a, "w.output.layers.0", "w.output.layers.1")
        _assert_close((hidden @ kernel + bias)[:, 0], a[f"out.logit.{kind}"])

    @pytest.mark.parametrize("kind", ["noise_off", "noise_given"])
    def test_losses(self, kind):
        a = _arrays("mmctr_diff_msin")
        weights, there = np.ones((3, 1), np.float32), [np.ones((3, 1), bool)] * 3
        synergies = (a[f"mid.{side}_synthesis.{kind}"][:, None] for side in ("target", "history"))
        found = synergy_hinge(*synergies, a["in.label"][:, None], keras.ops.convert_to_tensor(weights))
        _assert_close(0.01 * to_numpy(found), a[f"loss.synthesis_weighted.{kind}"][0])
        total = sum(
            sign * pairwise_cosine([a[f"mid.{side}_{of}.{name}"][:, None] for name in self.NAMES], there, weights)
            for side in ("target", "history")
            for of, sign in (("specific", 1), ("shared", -1))
        )
        _assert_close(0.02 * to_numpy(total) / 2, a[f"loss.contrastive_weighted.{kind}"][0])


def _folded(a, dense, norm):
    """Kernel and bias of a dense layer with the batch normalisation behind it, as it is in inference."""
    scale = a[f"{norm}.weight"] / np.sqrt(a[f"{norm}.running_var"] + 1e-5)
    return a[f"{dense}.weight"].T * scale, (a[f"{dense}.bias"] - a[f"{norm}.running_mean"]) * scale + a[f"{norm}.bias"]


def _experts(a):
    layer = ModalityExperts([10, 6])
    layer.build([(3, 8)] * 3)
    experts = {"shared_expert": layer.shared_expert}
    experts |= {f"specific_experts.{n}": e for n, e in zip(TestDiffMSIN.NAMES, layer.specific_experts, strict=True)}
    for name, expert in experts.items():
        for place, dense in zip((0, 4, 8), expert, strict=True):
            dense.set_weights(_folded(a, f"w.{name}.layers.{place}", f"w.{name}.layers.{place + 1}"))
    for name, gate in zip(TestDiffMSIN.NAMES, layer.gates, strict=True):
        for place, dense in zip((0, 2), gate, strict=True):
            _set_dense(a, f"w.modal_gates.{name}.layers.{place}", dense)
    return layer


def _synergy(a):
    layer, prefix, names = ModalSynergy(4, 8), "w.src_fusion.", TestDiffMSIN.NAMES
    layer.build([(3, 8)] * 3)
    for s, name in enumerate(names):
        _cross_modal(a, f"{prefix}attention.{name}", layer.attention[s])
        sources = [a[f"{prefix}source_weights.{other}_to_{name}"][0] for other in names if other != name]
        layer.source_logits[s].assign(sources)
    layer.norm.set_weights([a[f"{prefix}fusion.0.weight"], a[f"{prefix}fusion.0.bias"]])
    _set_dense(a, f"{prefix}fusion.1", layer.hidden)
    _set_dense(a, f"{prefix}fusion.3", layer.output_projection)
    return layer


def _cross_modal(a, prefix, layer):
    if not layer.built:
        layer.build((3, 8), (3, 8))
    for name in ("query", "key", "value"):
        getattr(layer, name).set_weights([a[f"{prefix}.{name}.weight"].T])
    _set_dense(a, f"{prefix}.output", layer.output_projection)
    layer.scale.assign(a[f"{prefix}.residual_weight"][0])
    return layer


def _set_dense(a, name, layer):
    layer.set_weights([a[f"{name}.weight"].T, a[f"{name}.bias"]])
