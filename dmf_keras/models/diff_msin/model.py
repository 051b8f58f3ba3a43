"""Experts of each modality and of all, their synergy by diffusion-like steps, gates and a cross network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from dmf_keras.layers import CrossModalAttention, CrossNetwork, ModalityExperts, ModalSynergy, TargetAttention
from dmf_keras.layers.expert_outputs import ExpertOutputs
from dmf_keras.models.auxiliary_losses import AuxiliaryLoss
from dmf_keras.models.diff_msin import DiffMSINConfig
from dmf_keras.models.diff_msin.losses import pairwise_cosine, synergy_hinge
from dmf_keras.models.explanation import attention_outputs
from dmf_keras.models.inputs import HISTORY_CONTENT_ROW
from dmf_keras.models.interest_model import HISTORY_MASK
from dmf_keras.models.joined_items import JoinedItems
from dmf_keras.models.target_attention.model import KEYS, VALUES
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.models.DiffMSIN")
class DiffMSIN(JoinedItems):
    """Diffusion-based multi-modal synergy interest network.

    Streams are the ID, projected once more, and the projected content of each modality, all of one width: of candidates
    z_n^s, and of the history what target attention makes of it,

        h_n^s = TargetAttention_s(z_n^s, z_h1^s ... z_hL^s)

    over history items that have the modality. `ModalityExperts` E, one for both sides, and `ModalSynergy` follow,

        t_n, t_n^shared = E(z_n),    u_n, u_n^shared = E(h_n),    y_n = ModalSynergy(u_n)
        G_n = sigmoid(W_2 sigmoid(W_1 t_n^id + b_1) + b_2)
        x_n = CrossNetwork(G_n * [u_n^m of each content modality m, u_n^shared, y_n])
        a_n = CrossModalAttention(u_n^id, mean of the parts of x_n),    head(user, [e_n, p_n], [x_n, a_n])

    so that G_n, a gate per column, says what of the history matters to this candidate. In training two terms join the
    loss: `decoupling`, (pc(t specific) - pc(t shared) + pc(u specific) - pc(u shared)) / 2 with pc the mean cosine of
    pairs of streams, and `synergy`, the hinge that draws y_n to the synergy of t_n where the (first) label is 1 and
    away from it where it is 0; candidates without a history do not count there. `t_n` of content and its synergy are
    made for these losses alone, so not when serving. The losses are of the main history; further ones have none.

    Nothing has a vector per pair of candidate and history item: keys and values are the user's. What follows attention
    costs the same for every L; most of it are the T (M + 1) attentions of the synergy, 4 d^2 multiplications each.

    The paper's text leaves most widths and schedules open, and its code (Cxx-0/Diff-MSIN) does not do what the paper
    says: it never trains its experts, draws noise in evaluation, has no mask, and its synergy loss has the other sign.
    This follows the second public version, `diff_msin` of MMCTR-Bench, and differs from it where it must:

    - History is pooled by target attention, there by DIN's unit for each modality, which has a vector per pair.
    - What is missing is zeros and masked; there it is what the layers make of zeros.
    - The experts have no batch normalisation, see `ModalityExperts`.
    - The head gets the candidate itself, there the gate alone. It projects no user ID.
    - Scales of attention start at 0.1, there at 0; losses have weights 0.01 as in its configurations.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("diff_msin", {"content_dim": 8}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))[:3]
    ['history_mask', 'keys', 'text_keys']

    References:
        Diff-MSIN, arXiv:2508.21460; `diff_msin` of MMCTR-Bench (hdu-yzl/MMCTR-Bench).
    """

    config_class = DiffMSINConfig
    config: DiffMSINConfig

    def build_interest(self) -> int:
        """See the base class."""
        config, common, dense = self.config, {"dtype": self.dtype_policy}, {"dtype": self.dense_policy}
        width, contents = config.content_dim, len(self.schema.modalities)
        self.id_projection = self._dense("id_projection", config.id_dim, width)
        names = ["", *(f"{name}_" for name in self.schema.modalities)]
        # Of each stream, IDs first.
        self.states = [(prefix + KEYS, prefix + VALUES) for prefix in names]
        self.attentions = [
            TargetAttention(width, config.heads, name=f"{prefix}attention", **common) for prefix in names
        ]
        streams = [(None, None, width)] * len(names)
        for attention in self.attentions:
            attention.build(*streams[:2])
        self.experts = ModalityExperts(config.expert_units, name="experts", **dense)
        self.experts.build(streams)
        self.synergy = ModalSynergy(config.synergy_steps, config.heads, name="synergy", **dense)
        self.synergy.build(streams)
        entries = contents + 2
        self.gate_hidden = self._dense("gate_hidden", width, 2 * width, "sigmoid")
        self.gate = self._dense("gate", 2 * width, entries * width, "sigmoid")
        self.cross = CrossNetwork(config.cross_layers, name="cross", **dense)
        self.cross.build((None, None, entries * width))
        self.id_attention = CrossModalAttention(config.heads, name="id_attention", **common)
        self.id_attention.build(*streams[:2])
        self.build_ages(**{name: width for pair in self.states for name in pair})
        return (entries + 1) * width

    def _dense(self, name: str, below: int, width: int, activation: str | None = None) -> keras.layers.Dense:
        layer = keras.layers.Dense(width, activation, dtype=self.dense_policy, name=name)
        layer.build((None, None, below))
        return layer

    def _streams(self, items: Tensor) -> list[Tensor]:
        """z of joined vectors: the ID's stream, and that of each modality, [..., d] each."""
        ids, width = self.config.id_dim, self.config.content_dim
        content = [items[..., ids + k * width : ids + (k + 1) * width] for k in range(len(self.schema.modalities))]
        return [self.id_projection(items[..., :ids]), *content]

    def encode_interest(self, inputs: Mapping[str, Tensor], history_mask: Tensor, training: bool) -> dict[str, Tensor]:
        """`keys` and `values` [B, L, H, d / H] of each stream, and which items have each modality, bool [B, L]."""
        state = super().encode_interest(inputs, history_mask, training)
        for names, attention, stream in zip(
            self.states, self.attentions, self._streams(self.seen_items(inputs, training)), strict=True
        ):
            for name, vectors in zip(names, attention.encode_history(stream), strict=True):
                state[name] = self.add_ages(name, vectors, inputs)
        for name, table in self.content.items():
            _, state[_presence(name)] = table(inputs[HISTORY_CONTENT_ROW])
        return state

    def interest(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> Tensor:
        """[x_n, a_n] of [B, N, (M + 3) d]."""
        streams = self._streams(candidates)
        exists = ops.ones(ops.shape(candidates)[:2], dtype="bool")
        present = [exists, *(self.candidate_vectors(inputs, name)[1] for name in self.schema.modalities)]
        masks = self._masks(state)
        pooled = [
            attention.attend(stream, state[keys], state[values], mask, training=training)
            for attention, stream, (keys, values), mask in zip(
                self.attentions, streams, self.states, masks, strict=True
            )
        ]
        known = [ops.logical_and(exists, ops.any(mask, axis=1, keepdims=True)) for mask in masks]
        of_history = self.experts(pooled, known)
        # When serving, of the candidate's specific experts that of IDs alone is read.
        of_candidate = self.experts(streams, present, places=None if training else [0])
        synergy = self.synergy(of_history.mixed, known, training=training)
        if training:
            self._note(of_candidate, present, of_history, known, synergy)
        return self._fuse(of_candidate.mixed[0], of_history, synergy)

    def _masks(self, state: Mapping[str, Tensor]) -> list[Tensor]:
        """Of each stream which history items have it, bool [B, L]."""
        mask = state[HISTORY_MASK]
        return [mask, *(ops.logical_and(mask, state[_presence(name)]) for name in self.schema.modalities)]

    def _fuse(self, candidate_id: Tensor, of_history: ExpertOutputs, synergy: Tensor) -> Tensor:
        """x_n and a_n side by side."""
        ids, *content = of_history.mixed
        gates = self.gate(self.gate_hidden(candidate_id))
        entries = ops.concatenate([*content, of_history.shared_mean, synergy], axis=-1)
        crossed = self.cross(gates * entries)
        parts = ops.reshape(crossed, (*ops.shape(crossed)[:2], len(content) + 2, self.config.content_dim))
        attended = self.id_attention(ids, ops.mean(parts, axis=2))
        return ops.concatenate([crossed, attended], axis=-1)

    def _note(
        self,
        of_candidate: ExpertOutputs,
        present: Sequence[Tensor],
        of_history: ExpertOutputs,
        known: Sequence[Tensor],
        synergy: Tensor,
    ) -> None:
        """What the losses need; the synergy of candidates is made for them alone."""
        sides: dict[str, Any] = {}
        for side, outputs, there in (("candidate", of_candidate, present), ("history", of_history, known)):
            for s, (specific, shared) in enumerate(zip(outputs.specific, outputs.shared, strict=True)):
                sides |= {f"{side}_specific_{s}": specific, f"{side}_shared_{s}": shared, f"{side}_there_{s}": there[s]}
        of_candidates = self.synergy(of_candidate.mixed, present, training=True)
        self.note(candidate_synergy=of_candidates, history_synergy=synergy, **sides)

    def auxiliary_losses(self) -> dict[str, AuxiliaryLoss]:
        """`decoupling` of the experts and `synergy` of candidate and history."""
        return {
            "decoupling": AuxiliaryLoss(self.config.decoupling_weight, self._decoupling),
            "synergy": AuxiliaryLoss(self.config.synergy_weight, self._synergy),
        }

    def _decoupling(
        self, noted: Mapping[str, Tensor], inputs: Mapping[str, Tensor], labels: Tensor, weights: Tensor
    ) -> Tensor:
        total = 0.0
        for side in ("candidate", "history"):
            specific, shared, there = (
                [noted[f"{side}_{kind}_{s}"] for s in range(len(self.states))]
                for kind in ("specific", "shared", "there")
            )
            total += pairwise_cosine(specific, there, weights) - pairwise_cosine(shared, there, weights)
        return total / 2.0

    def _synergy(
        self, noted: Mapping[str, Tensor], inputs: Mapping[str, Tensor], labels: Tensor, weights: Tensor
    ) -> Tensor:
        clicked = labels[..., 0] if self.schema.objectives else labels
        weights = ops.where(noted["history_there_0"], weights, 0.0)
        return synergy_hinge(noted["candidate_synergy"], noted["history_synergy"], clicked, weights)

    def explain_history(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The weights of the attention over IDs."""
        (keys, values), mask = self.states[0], state[HISTORY_MASK]
        ids = self._streams(candidates)[0]
        _, weights = self.attentions[0].attend(ids, state[keys], state[values], mask, return_weights=True)
        return attention_outputs(weights)


def _presence(modality: str) -> str:
    """State tensor of the history items that have a modality, bool [B, L]."""
    return f"{modality}_present"
