"""What each part of the head's input adds to a logit; `dmf_keras.models.explanation` says what that means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from dmf_keras.models import explanation
from dmf_keras.models.inputs import HISTORY_INDEX, USER_INDEX
from dmf_keras.ops.shapes import rows
from dmf_keras.types import Tensor

# Parts of a logit that the user's features belong to; columns of the schema are a part of their own.
_PART_OF = {USER_INDEX: explanation.USER, HISTORY_INDEX: explanation.HISTORY}


def beside(interest: Tensor | None, further: Mapping[str, Tensor]) -> Tensor | None:
    """The interest in the main history and those in further ones, [B, N, ...] each, side by side."""
    interests = [each for each in (interest, *further.values()) if each is not None]
    return ops.concatenate(interests, axis=-1) if len(interests) > 1 else interest


def explain_parts(
    model: Any,
    state: Mapping[str, Tensor],
    no_history: Mapping[str, Tensor],
    candidates: Tensor,
    inputs: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Logits of all coalitions of the parts, and what each part contributes.

    Args:
        model: an `InterestModel`, whose head and interests are asked.
        state: of `encode_user`.
        no_history: the same of a user whose histories are empty.
        candidates: the model's `candidate_items` [B, N, item_width].
        inputs: those of `call`, of user and candidates.

    Returns:
        `logit`, `base_logit` and, per part, `contribution_*` and `without_*`, float32 [B, N].
    """
    interest = model.interest_parts(state, candidates, inputs, training=False)
    further = model.further_interests(state, candidates, inputs, training=False)
    empty = model.interest_parts(no_history, candidates, inputs, training=False)
    empty |= model.further_interests(no_history, candidates, inputs, training=False)
    features = model.all_features(inputs, state)
    part_of = {name: _PART_OF.get(name, explanation.COLUMNS) for name in features}
    for name in model.further:
        part_of |= {key: explanation.further_history(name) for key in features if key.endswith(f"/{name}")}
    own = model.own_columns(inputs)
    of_columns = [] if own is None else [explanation.COLUMNS]
    parts = list(dict.fromkeys([*interest, *further, explanation.ITEM, *part_of.values(), *of_columns]))
    coalitions = explanation.coalitions(len(parts))
    count, (batch, items) = len(coalitions), ops.shape(candidates)[:2]
    inside = dict(zip(parts, coalitions.T, strict=True))

    def in_coalitions(part: str, there: Tensor, neutral: Tensor) -> Tensor:
        """[B, ...] as [2^P * B, ...]: neutral in the coalitions that lack the part."""
        chosen = ops.reshape(inside[part], (-1, *[1] * len(there.shape)))
        spread = ops.where(chosen, ops.expand_dims(there, 0), ops.expand_dims(neutral, 0))
        return ops.reshape(spread, (rows(count, batch), *ops.shape(there)[1:]))

    user = {name: in_coalitions(part_of[name], each, ops.zeros_like(each)) for name, each in features.items()}
    pair = {name: in_coalitions(name, each, empty[name]) for name, each in interest.items()}
    others = {name: in_coalitions(name, each, empty[name]) for name, each in further.items()}
    shown = None if own is None else in_coalitions(explanation.COLUMNS, own, ops.zeros_like(own))
    items_shown = in_coalitions(explanation.ITEM, candidates, ops.zeros_like(candidates))
    logits = model.apply_head(
        model.encode_features(user, count * batch),
        model.head_items(items_shown, shown),
        beside(model.join_interest(pair), others),
    )
    if model.schema.objectives:
        logits = logits[..., 0]
    # A constant, and so a part of every coalition.
    logits = logits if model.bias_tower is None else logits + model.bias(inputs, training=False)
    logits = ops.reshape(logits, (count, rows(batch), items))
    weights = ops.cast(explanation.contribution_weights(len(parts)), "float32")
    contributions = ops.einsum("pk,kbn->pbn", weights, logits)
    told = {explanation.LOGIT: logits[-1], explanation.BASE_LOGIT: logits[0]}
    for place, part in enumerate(parts):
        told[explanation.contribution(part)] = contributions[place]
        told[explanation.without(part)] = logits[count - 1 - 2**place]
    return told
