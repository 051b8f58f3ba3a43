"""What is said of content: for models with every part, and for those with some."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tfx_pipeline.pages.kit.page import Page, Picture, Prose, Section, Table, render
from tfx_pipeline.pages.run.content_section import centric_shares, content_section, without_content
from tfx_pipeline.pages.run.probe import Modality, Probe

ROWS = 400
RNG = np.random.default_rng(0)


def modality(**values) -> Modality:
    """Four buckets and the missing one; attention twice even in the last."""
    similarity = RNG.uniform(-1, 1, ROWS).astype(np.float32)
    defaults = {
        "borders": np.linspace(-1, 1, 5),
        "pairs": np.array([100, 200, 300, 100, 50]),
        "attention": np.array([80.0, 160.0, 240.0, 200.0, 70.0]),
        "value_norm": np.array([1.0, 1.1, 1.2, 2.0, 0.5]),
        "plain_value_norm": 0.9,
        "key_shift": np.array([-0.2, 0.0, 0.1, 0.7, 0.0]),
        "largest": similarity,
        "mean": similarity / 2,
    }
    return Modality(**{**defaults, **values})


def probe(**values) -> Probe:
    labels = RNG.random(ROWS) < 0.3
    logits = (labels + RNG.normal(size=ROWS)).astype(np.float32)
    parts = {"enriched": 0.6 * logits, "centric": 0.2 * logits, "item": 0.2 * logits}
    defaults = {
        "requests": 50,
        "labels": labels,
        "item_ids": np.array([b"i"] * ROWS, object),
        "logits": logits,
        "contributions": parts,
        "without": {part: RNG.normal(size=ROWS).astype(np.float32) for part in parts},
        "modalities": {"text": modality()},
        "enriched_weight": np.full(ROWS, 0.5, np.float32),
    }
    return Probe(**{**defaults, **values})


@pytest.fixture
def frequency() -> pd.Categorical:
    return pd.Categorical.from_codes(np.arange(ROWS) % 3, ["cold", "rare", "tail", "head"])


def html(section: Section) -> str:
    return render(Page("t", "s", [], [], [section]))


def pictures(section: Section) -> list[Picture]:
    return [block for block in section.blocks if isinstance(block, Picture)]


def test_attention_of_the_most_alike_pairs_is_said(frequency):
    attention, similarity, branches = pictures(content_section(probe(), frequency))
    # The last bucket: 100 of 750 pairs, 200 of 750 of the attention.
    assert "13.3\u00a0% of the pairs that are most alike (cosine from 0.50) get 26.7\u00a0%" in attention.caption
    assert "6.7\u00a0% of the pairs lack content on a side and get 9.3\u00a0%" in attention.caption
    assert len(attention.panels) == 4
    assert len(similarity.panels) == 2
    assert "weight of 0.50 and the centric one 0.50" in branches.caption


def test_share_of_the_centric_branch_is_of_what_both_move(frequency):
    everything = np.ones(ROWS, bool)
    assert centric_shares(probe(), [("all", everything)]) == {"all": pytest.approx(0.25)}
    section = content_section(probe(), frequency)
    assert "moves 25.0\u00a0%" in pictures(section)[-1].caption


def test_every_part_has_a_row_and_every_bucket_with_rows_a_column(frequency):
    (table,) = (block for block in content_section(probe(), frequency).blocks if isinstance(block, Table))
    assert [column.split(" (")[0] for column in table.columns[2:]] == ["AUC all", "AUC cold", "AUC rare", "AUC tail"]
    assert len(table.rows) == 4
    assert table.rows[0][0] == "nothing: the whole model"
    assert {len(row) for row in table.rows} == {len(table.columns)}


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (None, "side by side"),
        (np.full(ROWS, 0.25, np.float32), "weight of 0.25 and the centric one 0.75"),
        (np.linspace(0, 1, ROWS, dtype=np.float32), "The gate gives the enriched branch 0.50 on average, 0.05 to 0.95"),
    ],
)
def test_mixture_is_said_in_each_mode(frequency, weight, words):
    section = content_section(probe(enriched_weight=weight), frequency)
    assert words in pictures(section)[-1].caption


def test_model_with_one_interest_has_no_branches(frequency):
    whole = probe()
    logits = whole.logits
    one = dataclasses.replace(whole, contributions={"history": logits}, without={"history": 0 * logits})
    section = content_section(one, frequency)
    assert len(pictures(section)) == 2
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert table.rows[1][:1] == ("the history",)
    assert table.rows[1][2] == "0.5000"


def test_model_without_attention_shows_similarity_alone(frequency):
    bare = modality(attention=None, value_norm=None, plain_value_norm=None, key_shift=None)
    section = content_section(probe(modalities={"text": bare}), frequency)
    assert len(pictures(section)[0].panels) == 2
    assert "Cosine of a candidate" in pictures(section)[0].caption


def test_sample_without_a_single_pair_is_said_and_drawn(frequency):
    nothing = np.full(ROWS, np.nan, np.float32)
    empty = modality(
        pairs=np.zeros(5, int), attention=np.zeros(5), value_norm=np.full(5, np.nan), largest=nothing, mean=nothing
    )
    section = content_section(probe(modalities={"text": empty}), frequency)
    assert any("No pair of the sample" in block.text for block in section.blocks if isinstance(block, Prose))
    assert "nan" not in html(section)


def test_model_without_content_has_a_sentence():
    assert "it ranks by ids" in html(without_content("din", "it ranks by ids"))


def test_model_that_compares_no_contents_shows_its_parts_in_words(frequency):
    logits = probe().logits
    parts = {"content": logits, "similarity": 0 * logits}
    section = content_section(probe(modalities={}, contributions=parts, without=parts), frequency)
    assert "compares no two of them" in html(section) and "falls into a bucket" not in html(section)
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    words = [row[0] for row in table.rows]
    assert {"attention over content", "similarity histograms and recent cosines"} <= set(words)
