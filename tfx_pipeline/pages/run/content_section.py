"""The section of a run's page about content: what attention and each branch of the model make of similarity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dmf_keras.metrics import auc_by_group
from dmf_keras.models.registry import parts_in_words
from tfx_pipeline.pages.kit.figures import INK, draw
from tfx_pipeline.pages.kit.page import Block, Panel, Picture, Prose, Section, Table
from tfx_pipeline.pages.kit.palette import line, points
from tfx_pipeline.pages.kit.wording import count, decimal, listed, percent
from tfx_pipeline.pages.run.probe import Modality, Probe

_ANCHOR, _TITLE = "content", "What the model learned about content"
_ENRICHED, _CENTRIC = "enriched", "centric"
# A bucket with a smaller share of the pairs says nothing that would hold in another sample.
_LEAST_SHARE = 0.0005
_PARTS = {
    "item": "the item's own embedding",
    "user": "the user's embedding",
    "columns": "profile and context",
    "history": "the history",
    _ENRICHED: "enriched branch: attention with similarity",
    _CENTRIC: "centric branch: counts by similarity",
    "attention": "attention over ids",
    "histogram": "counts by similarity",
}


def without_content(model: str, reason: str) -> Section:
    """The section of a model that content does not reach, or that could not be asked."""
    return Section(_ANCHOR, _TITLE, [Prose(f"{model}: {reason}")])


def content_section(probe: Probe, frequency: pd.Categorical) -> Section:
    """What the model learned about content.

    Args:
        probe: of the model; without a modality where the model reads content but compares none.
        frequency: bucket of `item_frequency` of each row of the probe.
    """
    sample = (
        f"From {count(probe.requests)} requests of the test split, drawn at random, with "
        f"{count(len(probe.labels))} candidates. "
    )
    told = (
        "A pair is a candidate and an item of the user's history; its similarity is the cosine of the two contents, "
        "which falls into a bucket."
        if probe.modalities
        else "The model reads the contents as vectors and compares no two of them."
    )
    blocks: list[Block] = [Prose(sample + told)]
    seen = {name: modality for name, modality in probe.modalities.items() if modality.pairs[:-1].any()}
    for name in probe.modalities:
        if name in seen:
            blocks += _attention(name, seen[name])
        else:
            blocks.append(Prose(f"No pair of the sample has content '{name}' on both sides.", "warning"))
    if seen:
        blocks.append(_similarity(seen, probe.labels))
    blocks += _parts(probe, frequency)
    return Section(_ANCHOR, _TITLE, blocks)


def _attention(name: str, modality: Modality) -> list[Block]:
    if modality.attention is None:
        return []
    shown = _shown(modality)
    middles = (modality.borders[:-1] + modality.borders[1:]) / 2
    pairs = modality.pairs / modality.pairs.sum()
    mass = modality.attention / max(modality.attention.sum(), 1e-12)

    def weights(axes: Axes) -> None:
        axes.step(middles, 100 * pairs[:-1], where="mid", label="share of the pairs", **line(1))
        axes.step(middles, 100 * mass[:-1], where="mid", label="share of the attention", **line(0))
        axes.fill_between(middles, 0, 100 * mass[:-1], step="mid", color=line(0)["color"], alpha=0.2, linewidth=0)
        axes.set(xlabel=_cosine(name), ylabel="% per bucket", xlim=_limits(modality, shown), ylim=(0, None))

    def lift(axes: Axes) -> None:
        ratio = mass[:-1][shown] / pairs[:-1][shown]
        axes.plot(middles[shown], ratio, markersize=4, linestyle="-", **points(0))
        axes.axhline(1, color=INK, linestyle="--", linewidth=0.9)
        axes.set(xlabel=_cosine(name), ylabel="attention per pair (1 = even)", xlim=_limits(modality, shown))
        axes.set_ylim(0, None)

    panels = [
        draw(f"attention-{name}", f"Attention and pairs by similarity of {name}", weights),
        draw(f"lift-{name}", f"Attention per pair by similarity of {name}", lift),
    ]
    if modality.key_shift is not None:
        keys = _keys(name, modality, modality.key_shift)
        panels.append(draw(f"keys-{name}", f"What E_K adds to the attention logit by similarity of {name}", keys))
    if modality.value_norm is not None and modality.plain_value_norm is not None:
        values = _values(name, modality, modality.value_norm, modality.plain_value_norm)
        panels.append(draw(f"values-{name}", f"Length of values by similarity of {name}", values))
    return [Picture(panels, _attention_caption(name, modality, pairs, mass))]


def _keys(name: str, modality: Modality, key_shift: np.ndarray) -> Callable[[Axes], None]:
    shown = _shown(modality)
    middles = (modality.borders[:-1] + modality.borders[1:]) / 2

    def paint(axes: Axes) -> None:
        added = key_shift[:-1][shown]
        axes.plot(middles[shown], added, markersize=4, linestyle="-", **points(3))
        axes.axhline(0, color=INK, linestyle="--", linewidth=0.9)
        axes.set(xlabel=_cosine(name), ylabel="E_K in the attention logit", xlim=_limits(modality, shown))
        # Less than a tenth changes attention by less than a tenth: it should not look like much.
        largest = max(0.1, 1.1 * float(np.abs(added).max()))
        axes.set_ylim(-largest, largest)

    return paint


def _values(name: str, modality: Modality, value_norm: np.ndarray, plain_value_norm: float) -> Callable[[Axes], None]:
    shown = _shown(modality)
    middles = (modality.borders[:-1] + modality.borders[1:]) / 2

    def paint(axes: Axes) -> None:
        axes.plot(middles[shown], value_norm[:-1][shown], markersize=4, label="value + E_V", **points(2))
        axes.axhline(plain_value_norm, color=INK, linestyle="--", linewidth=0.9, label="value alone")
        axes.set(xlabel=_cosine(name), ylabel="length of the value (RMS)", xlim=_limits(modality, shown))
        axes.set_ylim(0, None)

    return paint


def _attention_caption(name: str, modality: Modality, pairs: np.ndarray, mass: np.ndarray) -> str:
    # The most alike pairs, about a tenth of those with content, by whole buckets.
    rising = np.cumsum(modality.pairs[:-1]) / max(modality.pairs[:-1].sum(), 1)
    top = min(int(np.searchsorted(rising, 0.9)) + 1, len(rising) - 1)
    top_pairs, top_mass = pairs[top:-1].sum(), mass[top:-1].sum()
    sentences = [
        f"By the similarity of {name}: how pairs and attention are spread, and the attention that a pair gets, 1 being "
        "its even share.",
        f"The {percent(top_pairs)} of the pairs that are most alike (cosine from {modality.borders[top]:.2f}) get "
        f"{percent(top_mass)} of the attention.",
    ]
    if modality.pairs[-1]:
        sentences.append(
            f"{percent(pairs[-1])} of the pairs lack content on a side and get {percent(mass[-1])} of the attention."
        )
    if modality.value_norm is not None:
        sentences.append(
            "E_K is what similarity adds to the logit of the attention, on average over candidates: a rising curve "
            "draws attention to what is alike. The length of a value is how far an item of the history can move the "
            "interest once it is looked at; E_V is what its similarity adds."
        )
    return " ".join(sentences)


def _similarity(modalities: Mapping[str, Modality], labels: np.ndarray) -> Picture:
    panels: list[Panel] = []
    sentences = []
    for name, modality in modalities.items():
        for kind, values in (("largest", modality.largest), ("mean", modality.mean)):
            known = np.isfinite(values)
            panels.append(_similarity_panel(name, kind, values[known], labels[known]))
            auc = _auc(values[known], labels[known])
            sentences.append(f"{decimal(auc, 3)} by the {kind} of {name}")
    text = (
        "Cosine of a candidate to the item of the history that is most alike (largest) and to all of it (mean), for "
        "clicked and for other candidates. Where the two curves lie apart, content alone says something about the "
        f"click: ranked by it and nothing else, AUC would be {listed(sentences)} (0.5 is chance)."
    )
    return Picture(panels, text)


def _similarity_panel(name: str, kind: str, values: np.ndarray, labels: np.ndarray) -> Panel:
    def paint(axes: Axes) -> None:
        bins = np.linspace(values.min(), values.max() + 1e-6, 41)
        for number, (group, mask) in enumerate((("not clicked", ~labels), ("clicked", labels))):
            weights = np.full(mask.sum(), 100 / max(mask.sum(), 1))
            axes.hist(values[mask], bins.tolist(), weights=weights, histtype="step", label=group, **line(number))
        axes.set(xlabel=f"{kind} {_cosine(name)}", ylabel="% of the group per bin")

    return draw(f"similarity-{kind}-{name}", f"{kind} cosine of {name} of clicked and other candidates", paint)


def _parts(probe: Probe, frequency: pd.Categorical) -> list[Block]:
    """How much each part of the model moves the score, and what ranking loses without it."""
    parts = sorted(probe.contributions, key=lambda part: list(_PARTS).index(part) if part in _PARTS else len(_PARTS))
    groups = [("all", np.ones(len(probe.labels), bool))]
    groups += [(str(bucket), np.asarray(frequency == bucket)) for bucket in frequency.categories]
    groups = [(bucket, mask) for bucket, mask in groups if 0 < probe.labels[mask].sum() < mask.sum()]
    if not parts or not groups:
        return []
    blocks: list[Block] = [_parts_table(probe, parts, groups)]
    if {_ENRICHED, _CENTRIC} <= set(parts):
        blocks = [_branches(probe, groups), *blocks]
    return blocks


def _branches(probe: Probe, groups: Sequence[tuple[str, np.ndarray]]) -> Picture:
    shares = centric_shares(probe, groups)
    silenced = {
        part: [_auc(probe.without[part][mask], probe.labels[mask]) for _, mask in groups]
        for part in (_ENRICHED, _CENTRIC)
    }
    full = [_auc(probe.logits[mask], probe.labels[mask]) for _, mask in groups]
    places = np.arange(len(groups))
    labels = [bucket for bucket, _ in groups]

    def share(axes: Axes) -> None:
        axes.barh(places, [100 * shares[bucket] for bucket in labels], 0.6, color=points(2)["color"])
        axes.axvline(50, color=INK, linestyle="--", linewidth=0.9)
        axes.set(xlim=(0, 100), xlabel="share of the centric branch (%)")
        axes.set_yticks(places, labels)
        axes.invert_yaxis()

    def loss(axes: Axes) -> None:
        for number, (name, values) in enumerate(
            (("whole model", full), ("enriched silent", silenced[_ENRICHED]), ("centric silent", silenced[_CENTRIC]))
        ):
            axes.plot(values, places + 0.16 * (number - 1), linestyle="none", label=name, **points(number))
        axes.axvline(0.5, color=INK, linestyle=":", linewidth=0.9)
        axes.set_yticks(places, labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlabel("AUC in the sample (0.5 is chance)")

    panels = [
        draw("centric-share", "Share of the centric branch by frequency of the item", share),
        draw("silenced", "AUC without either branch by frequency of the item", loss),
    ]
    weight = _weight_sentence(probe.enriched_weight)
    return Picture(
        panels,
        f"By impressions of the candidate in train. Left: of what both branches move the logit, the centric one moves "
        f"{percent(shares['all'])}. Right: AUC when a branch says what it says of an empty history; the further a "
        f"point lies left of that of the whole model, the more ranking owes to the branch. {weight}",
    )


def centric_shares(probe: Probe, groups: Sequence[tuple[str, np.ndarray]]) -> dict[str, float]:
    """By group: mean |contribution| of the centric branch over that of both branches."""
    enriched, centric = (np.abs(probe.contributions[part]) for part in (_ENRICHED, _CENTRIC))
    shares = {}
    for bucket, mask in groups:
        both = enriched[mask].mean() + centric[mask].mean()
        shares[bucket] = float(centric[mask].mean() / both) if both else float("nan")
    return shares


def _weight_sentence(weight: np.ndarray | None) -> str:
    if weight is None:
        return "The branches lie side by side in the head, without a weight."
    low, high = np.quantile(weight, [0.05, 0.95])
    if high - low < 1e-6:
        return f"The mixture gives the enriched branch a weight of {low:.2f} and the centric one {1 - low:.2f}."
    return (
        f"The gate gives the enriched branch {weight.mean():.2f} on average, {low:.2f} to {high:.2f} in 90 % of the "
        "candidates, and the centric branch the rest."
    )


def _parts_table(probe: Probe, parts: Sequence[str], groups: Sequence[tuple[str, np.ndarray]]) -> Table:
    rows = []
    for part in parts:
        moved = np.abs(probe.contributions[part]).mean()
        aucs = (decimal(_auc(probe.without[part][mask], probe.labels[mask])) for _, mask in groups)
        rows.append(({**parts_in_words(), **_PARTS}.get(part, part), decimal(float(moved), 3), *aucs))
    whole = (decimal(_auc(probe.logits[mask], probe.labels[mask])) for _, mask in groups)
    rows.insert(0, ("nothing: the whole model", "", *whole))
    columns = (
        "silenced part",
        "mean shift of the logit (log-odds)",
        *(f"AUC {bucket} (0.5 to 1)" for bucket, _ in groups),
    )
    return Table(
        "What each part moves, and the AUC of the sample without it, by frequency of the item",
        columns,
        rows,
        len(columns) - 1,
    )


def _auc(scores: np.ndarray, labels: np.ndarray) -> float:
    return float(auc_by_group(np.zeros(len(labels), np.int8), labels, scores).auc[0])


def _shown(modality: Modality) -> np.ndarray:
    """Buckets with enough pairs to say something, bool [S]."""
    return np.asarray(modality.pairs[:-1] >= max(_LEAST_SHARE * modality.pairs.sum(), 1))


def _limits(modality: Modality, shown: np.ndarray) -> tuple[float, float]:
    """Of the axis: the buckets that are shown."""
    return float(modality.borders[:-1][shown].min()), float(modality.borders[1:][shown].max())


def _cosine(name: str) -> str:
    return f"cosine of {name}"
