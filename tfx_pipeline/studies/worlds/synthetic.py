"""Writes synthetic logs, catalogue, profiles and embeddings, and the truth that only a generator knows.

Users, items and probabilities: `world`. Into an otherwise clean log go the troubles of real ones, in small numbers:
items launched late, users who join late, missing and zero embeddings, delisted items, broken rows, exact duplicates.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.errors import DataError
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.files.source_digests import code_digest
from tfx_pipeline.files.writing import recover, write_lines, write_text, writing_folder
from tfx_pipeline.studies.worlds.calibration import calibrate
from tfx_pipeline.studies.worlds.parts import WORLDS, Weights, World, measured_shares
from tfx_pipeline.studies.worlds.population import Items, Users, make_items, make_users, with_hidden_interest
from tfx_pipeline.studies.worlds.purchases import Bought, draw
from tfx_pipeline.studies.worlds.recall import make_recall
from tfx_pipeline.studies.worlds.titles import TOPICS, item_titles
from tfx_pipeline.studies.worlds.world import DAYS, DEVICES, Impressions, simulate

START = dt.datetime(2025, 3, 1)
TRUTH = "truth.parquet"
TRUTH_PARTS = "truth_parts.parquet"
MARKER = "demo.json"
_DELISTED_PER_MILLE = 3
# Broken rows per thousand good ones, by what is broken.
_BROKEN_PER_MILLE = {"user_id": 0.3, "item_id": 0.2, "clicked": 0.2, "time": 0.2}
_DUPLICATES_PER_MILLE = 0.5


def write_demo_logs(
    directory: str | Path,
    *,
    world: World = WORLDS["demo"],
    seed: int = 7,
    users: int = 2_000,
    items: int = 1_000,
    requests: int = 20_000,
    candidates: int = 8,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Writes the data of a world; called again with the same arguments it leaves every file untouched.

    Files:
        `interactions.parquet`: request_id, user_id, item_id, time (ISO 8601), clicked, device; position, where the
            world has an examination; bought, where it has purchases.
        `items.csv`: item_id, title, category. `users.jsonl`: user_id, gender, age.
        `text_embeddings.parquet` and `image_embeddings.npz`: item_id, embedding, 48 and 32 wide.
        `truth.parquet`: request_id, user_id, item_id, time_us, clicked, probability (of a click on what is examined);
            without the planted troubles; where the world has purchases also bought and purchase_probability, that of a
            purchase given a click.
        `truth_parts.parquet`: float32, what each part adds to the logit of the same row of `truth.parquet`.
        `demo.json`: the arguments, and under "measured" what came of them: `shares` of the parts and of the noise in
        the variance of the utility, `weights` of the parts, `click_rate`.

    Args:
        directory: appears complete or not at all; if there, it must be of this function, and is replaced when the
            arguments or the generator have changed.
        world: what makes users click.
        seed: the same seed gives the same bytes.
        users: at least 20.
        items: in the catalogue, at least 50; those delisted come on top.
        requests: at least as many as users, at most one a second of the log's 30 days.
        candidates: on average per request, at least 2.
        progress: told in words what is being done.

    Returns:
        The directory.

    Raises:
        DataError: the directory holds something else.
        ValueError: numbers outside what is stated, or too few items from the start to fill the requests.
    """
    _check_sizes(world, users, items, requests, candidates)
    directory = Path(directory)
    arguments = {
        "generator": code_digest([__name__], ignore=["tfx_pipeline.errors", "tfx_pipeline.files"]),
        "world": dataclasses.asdict(world),
        "seed": seed,
        "users": users,
        "items": items,
        "requests": requests,
        "candidates": candidates,
    }
    recover(directory)
    if _is_there(directory, arguments):
        return directory

    say = progress or (lambda words: None)
    rng = np.random.default_rng(seed)
    delisted = max(1, items * _DELISTED_PER_MILLE // 1000)
    catalogue, people = make_items(rng, items + delisted, world.parts.cold_items), make_users(rng, users)
    if world.recall == "hidden":
        # A source of its own, so that the rest of the world is as in the others.
        catalogue = with_hidden_interest(np.random.default_rng([seed, 2]), catalogue)

    def play(weights: Weights, chance: np.random.Generator) -> Impressions:
        return simulate(
            chance,
            catalogue,
            people,
            requests,
            candidates,
            weights,
            make_recall(world, catalogue, weights),
            examination=world.examination,
        )

    weights = world.weights
    if weights is None:
        say("looking for the weights that give the shares")
        weights = calibrate(
            world.parts,
            lambda tried: play(tried, copy.deepcopy(rng)).contributions,
            lambda distance: say(f"looking for the weights that give the shares: {distance:.3f} off"),
        )
    say("playing the log")
    impressions = play(weights, rng)
    bought = None
    if world.purchases is not None:
        # A source of its own, so that a world without purchases has the clicks of one with them.
        bought = draw(np.random.default_rng([seed, 1]), world.purchases, impressions, len(catalogue.topics))

    say("writing")
    measured = {
        "shares": measured_shares(impressions.contributions),
        "weights": dataclasses.asdict(weights),
        "click_rate": float(impressions.label.mean()),
        **(bought.measured(impressions.label) if bought is not None else {}),
    }
    with writing_folder(directory, replace=True) as folder:
        _write_catalogue(folder, rng, catalogue, delisted)
        _write_users(folder, rng, people)
        _write_log(folder, rng, impressions, bought)
        write_text(folder / MARKER, json.dumps({**arguments, "measured": measured}, indent=2) + "\n")
    return directory


def _check_sizes(world: World, users: int, items: int, requests: int, candidates: int) -> None:
    if users < 20 or items < max(50, 2 * candidates) or requests < users or candidates < 2:
        raise ValueError(
            f"wanted users >= 20, items >= 50 and >= 2 x candidates, requests >= users, candidates >= 2; "
            f"got users={users}, items={items}, requests={requests}, candidates={candidates}"
        )
    if requests > DAYS * 86_400:
        raise ValueError(
            f"wanted at most {DAYS * 86_400:,} requests, one a second of the log's {DAYS} days, got {requests:,}"
        )
    early = items * (1 - world.parts.cold_items)
    if early < 4 * candidates:
        raise ValueError(
            f"wanted 4 x candidates = {4 * candidates} items from the start, got {early:.0f} of {items} "
            f"with cold_items {world.parts.cold_items:g}"
        )


def _is_there(directory: Path, arguments: dict[str, Any]) -> bool:
    """Whether the directory holds what these arguments give.

    Raises:
        DataError: it holds something that is not of `write_demo_logs`.
    """
    if not directory.is_file() and not (directory.is_dir() and any(directory.iterdir())):
        return False
    try:
        written = dict(read_json(directory / MARKER))
    except (OSError, ValueError, TypeError):
        raise DataError(
            f"{directory} is or holds what is not the demo's (no {MARKER}); move it or choose another directory"
        ) from None
    return {name: written.get(name) for name in arguments} == arguments


def _names(prefix: str, numbers: np.ndarray) -> np.ndarray:
    return np.char.add(prefix, np.char.zfill(numbers.astype(str), 6))


def _item_names(numbers: np.ndarray) -> np.ndarray:
    return _names("i", numbers)


def _write_catalogue(directory: Path, rng: np.random.Generator, items: Items, delisted: int) -> None:
    count = len(items.topics)
    table = pd.DataFrame(
        {
            "item_id": _item_names(np.arange(count)),
            "title": item_titles(rng, items.topics, items.styles),
            "category": np.array(list(TOPICS))[items.topics],
        }
    )
    # Delisted items are in the log, being among the most shown, and have embeddings, but nobody can rank them any more.
    shown_most = np.argsort(np.where(items.launched > 0, -np.inf, items.popularity))[-count // 10 :]
    kept = np.setdiff1d(np.arange(count), rng.choice(shown_most, delisted, replace=False))
    table.iloc[kept].to_csv(directory / "items.csv", index=False, lineterminator="\n")

    rows = np.flatnonzero(items.has_text)
    embeddings = pa.FixedSizeListArray.from_arrays(pa.array(items.text[rows].ravel()), items.text.shape[1])
    pq.write_table(
        pa.table({"item_id": _item_names(rows), "embedding": embeddings.cast(pa.list_(pa.float32()))}),
        directory / "text_embeddings.parquet",
    )
    # Some encoders answer a broken picture with zeros.
    image = np.where(items.has_image[:, None], items.image, 0)
    rows = np.flatnonzero(items.has_image | (rng.random(count) < 0.3))
    np.savez(directory / "image_embeddings.npz", item_id=_item_names(rows), embedding=image[rows])


def _write_users(directory: Path, rng: np.random.Generator, users: Users) -> None:
    unknown_age, unknown_gender = rng.random((2, len(users.age))) < 0.02
    profiles = (
        {
            "user_id": name,
            "gender": None if unknown_gender[number] else str(users.gender[number]),
            "age": None if unknown_age[number] else int(users.age[number]),
        }
        for number, name in enumerate(_names("u", np.arange(len(users.age))).tolist())
    )
    write_lines(directory / "users.jsonl", (json.dumps(profile) for profile in profiles))


def _write_log(directory: Path, rng: np.random.Generator, log: Impressions, bought: Bought | None) -> None:
    moments = np.datetime64(START, "s") + log.time_s.astype("timedelta64[s]")
    clean = pd.DataFrame(
        {
            "request_id": _names("r", log.request),
            "user_id": _names("u", log.user),
            "item_id": _item_names(log.item),
            "clicked": log.label.astype(np.int8),
        }
    )
    if log.position is not None:
        clean["position"] = log.position.astype(np.int16)
    if bought is not None:
        clean["bought"] = bought.label.astype(np.int8)
    truth = clean.assign(time_us=moments.astype("datetime64[us]").astype(np.int64), probability=log.probability)
    if bought is not None:
        truth["purchase_probability"] = bought.probability
    pq.write_table(pa.Table.from_pandas(truth, preserve_index=False), directory / TRUTH)
    added = {part: contribution.astype(np.float32) for part, contribution in log.contributions.items()}
    pq.write_table(pa.table(added), directory / TRUTH_PARTS)

    rows = clean.assign(time=np.char.add(np.datetime_as_string(moments), "Z"), device=np.array(DEVICES)[log.device])
    pieces = [rows, _sample(rng, rows, _DUPLICATES_PER_MILLE)]
    for column, per_mille in _BROKEN_PER_MILLE.items():
        broken = _sample(rng, rows, per_mille)
        broken[column] = {"clicked": 7, "time": "yesterday"}.get(column)
        pieces.append(broken)
    # Broken rows stand among the good ones, each after the row it was copied from.
    everything = pd.concat(pieces).sort_index(kind="stable").astype({"clicked": np.int8})
    pq.write_table(pa.Table.from_pandas(everything, preserve_index=False), directory / "interactions.parquet")


def _sample(rng: np.random.Generator, rows: pd.DataFrame, per_mille: float) -> pd.DataFrame:
    return rows.iloc[rng.choice(len(rows), max(1, round(len(rows) * per_mille / 1000)), replace=False)].copy()
