"""A made-up news log in the public form of MIND: behaviors.tsv and news.tsv, neither with a header.

    python examples/news_log.py runs/news/data

A row of behaviors.tsv is a list of impressions: its id, the user, the time (11/15/2019 8:55:22 AM), the user's history
(N55 N12), and what was shown (N7-1 N3-0: clicked, not clicked). A user of this world reads two categories more than the
others, and everybody likes some news better than others. The same seed writes the same bytes.
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

import numpy as np

CATEGORIES = ("sports", "news", "finance", "travel", "lifestyle", "video", "foodanddrink", "weather")
SUBCATEGORIES = 3  # of each category
START, DAYS = dt.datetime(2019, 11, 9), 7
TASTE, APPEAL, RARE = 2.5, 0.7, -2.6  # in logits


def write_news_log(folder: Path, *, users: int, news: int, rows: int, shown: int, seed: int) -> None:
    """Writes both files.

    Args:
        folder: for the files; made if it is not there.
        users, news, rows: how many there are.
        shown: the most news of a row.
        seed: of everything that is drawn.
    """
    rng = np.random.default_rng(seed)
    category = rng.integers(len(CATEGORIES), size=news)
    subcategory = rng.integers(SUBCATEGORIES, size=news)
    appeal = rng.normal(0, APPEAL, news)
    taste = np.zeros((users, len(CATEGORIES)))
    for favourites in taste:
        favourites[rng.choice(len(CATEGORIES), 2, replace=False)] = TASTE
    ids = [f"N{number}" for number in rng.permutation(np.arange(10_000, 10_000 + news))]

    def clicks(user: int, slate: np.ndarray) -> np.ndarray:
        logits = RARE + taste[user, category[slate]] + appeal[slate]
        return rng.random(len(slate)) < 1 / (1 + np.exp(-logits))

    # What each has read before the log begins; some have read nothing.
    histories: list[list[int]] = []
    for user in range(users):
        seen = rng.choice(news, rng.integers(news // 3), replace=False)
        histories.append(seen[clicks(user, seen)].tolist())
    seconds = np.sort(rng.choice(DAYS * 86_400, rows, replace=False)).tolist()
    behaviors = []
    for number, second in enumerate(seconds, start=1):
        user = int(rng.integers(users))
        slate = rng.choice(news, rng.integers(2, shown + 1), replace=False)
        clicked = clicks(user, slate)
        time = START + dt.timedelta(seconds=second)
        # As MIND has it: no zero before the hour.
        moment = f"{time:%m/%d/%Y} {time.hour % 12 or 12}:{time:%M:%S %p}"
        history = " ".join(ids[item] for item in histories[user])
        pairs = " ".join(f"{ids[item]}-{int(click)}" for item, click in zip(slate, clicked, strict=True))
        behaviors.append(f"{number}\tU{user}\t{moment}\t{history}\t{pairs}\n")
        histories[user] += slate[clicked].tolist()
    catalogue = []
    for item, name in enumerate(ids):
        word = CATEGORIES[category[item]]
        part = f"{word}-{subcategory[item]}"
        title = f'The "{part}" story, no. {name[1:]}'
        catalogue.append("\t".join([name, word, part, title, "", f"https://news.example/{name}", "[]", "[]"]) + "\n")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "behaviors.tsv").write_text("".join(behaviors), encoding="utf-8")
    (folder / "news.tsv").write_text("".join(catalogue), encoding="utf-8")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Write a made-up news log in the public form of MIND.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--users", type=int, default=600)
    parser.add_argument("--news", type=int, default=400)
    parser.add_argument("--rows", type=int, default=6000, help="of behaviors.tsv")
    parser.add_argument("--shown", type=int, default=20, help="the most news of a row")
    parser.add_argument("--seed", type=int, default=7)
    parsed = vars(parser.parse_args())
    write_news_log(**parsed)


if __name__ == "__main__":
    main()
