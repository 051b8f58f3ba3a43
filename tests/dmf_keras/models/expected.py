"""What is known of each model of the registry before it runs: a line per model, which the tests of all of them read."""

from __future__ import annotations

from dataclasses import dataclass

SIMILARITIES = frozenset(f"{kind}_{modality}" for kind in ("similarity", "bucket") for modality in ("text", "image"))
ATTENTION = frozenset({"attention", "attention_by_head"})


@dataclass(frozen=True)
class Expected:
    """What a model reads, and what its `explain` tells.

    Attributes:
        parts: of the logit, those that are made of the history.
        pairs: what is told of each (candidate, history item) pair, with the modalities of `batches.SCHEMA`.
        content: whether the score depends on content.
        codes: whether it depends on semantic ids.
        history_ids: whether it depends on the ids of the history.
        ages: whether it depends on how long ago the history's events were, where the schema has that.
        experts: whether its head can have experts.
        noisy: whether it draws noise in training, so that two steps differ.
        scale: deviation of drawn weights at which all parts matter and float32 has digits left; layers may square.
    """

    parts: frozenset[str]
    pairs: frozenset[str] = frozenset()
    content: bool = True
    codes: bool = False
    history_ids: bool = True
    ages: bool = False
    experts: bool = True
    noisy: bool = False
    scale: float = 0.6


MODELS = {
    "content_concat": Expected(frozenset({"history"}), ATTENTION, ages=True),
    "diff_msin": Expected(frozenset({"history"}), ATTENTION, noisy=True, scale=0.3, ages=True),
    "din": Expected(frozenset({"history"}), frozenset({"activation"}), content=False, ages=True),
    "dmf": Expected(frozenset({"enriched", "centric", "history"}), ATTENTION | SIMILARITIES, ages=True),
    "dmf_centric": Expected(frozenset({"centric"}), SIMILARITIES, history_ids=False),
    "dmf_enriched": Expected(frozenset({"enriched"}), ATTENTION | SIMILARITIES, ages=True),
    "dmf_paper": Expected(frozenset({"enriched", "centric"}), ATTENTION | SIMILARITIES, ages=True),
    "early_fusion": Expected(frozenset({"enriched", "centric"}), ATTENTION | SIMILARITIES, ages=True),
    "make": Expected(frozenset({"attention", "histogram"}), frozenset({"activation"}) | SIMILARITIES, ages=True),
    "mean_pooling": Expected(frozenset({"history"}), content=False, ages=True),
    "mim": Expected(frozenset({"attention", "content", "similarity"}), ATTENTION | SIMILARITIES, ages=True),
    "muse": Expected(frozenset({"attention", "histogram"}), ATTENTION | SIMILARITIES, ages=True),
    "qin": Expected(frozenset({"history"}), frozenset({"activation"}), experts=False, scale=0.3, ages=True),
    "sid_coord": Expected(frozenset({"attention", "alignment"}), ATTENTION, content=False, codes=True, ages=True),
    "simtier": Expected(frozenset({"attention", "histogram"}), ATTENTION | SIMILARITIES, ages=True),
    "target_attention": Expected(frozenset({"history"}), ATTENTION, content=False, ages=True),
    "two_towers": Expected(frozenset({"history"}), experts=False, noisy=True, scale=0.4, ages=True),
}
