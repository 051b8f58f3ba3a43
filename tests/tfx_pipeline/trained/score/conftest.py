"""The tiny world's model beside logs of its own, and its scores computed a second, slower way."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serving import contract
from serving.export.servable import Servable, request_arrays
from tfx_pipeline.trained.score.report import ScoreReport
from tfx_pipeline.trained.version import Version

T0 = 1_700_000_000
MAX_HISTORY = 4
Row = Mapping[str, Any]


def rows_of(seed: int, start: int, requests: int) -> list[dict[str, Any]]:
    """Rows of requests that begin `start` seconds after T0, one after the other, with clicks, ties and repeats."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(requests):
        # Two requests at each second: an event of the same instant is no history.
        shown = {"user": f"u{rng.integers(0, 6)}", "at": T0 + start + number // 2, "session": f"{seed}-{number}"}
        for item in rng.choice(44, rng.integers(1, 5), replace=False):
            row = {**shown, "item": f"i{item}", "clicked": int(rng.random() < 0.4), "income": float(number)}
            rows.append(row)
            if rng.random() < 0.1:
                rows.append(dict(row))
    return rows


@dataclasses.dataclass(frozen=True)
class World:
    """A folder with a model, the log and the user table that it was trained on, and logs to be scored."""

    folder: Path
    model: Path
    own: list[dict[str, Any]]
    users: list[dict[str, Any]]

    def write(self, name: str, rows: Sequence[Row]) -> Path:
        """Writes a table as its ending says."""
        path, table = self.folder / name, pd.DataFrame(list(rows))
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".csv":
            table.to_csv(path, index=False)
        elif path.suffix == ".jsonl":
            table.to_json(path, orient="records", lines=True)
        else:
            table.to_parquet(path)
        return path

    def configure(self, **changes: Any) -> None:
        """Says anew how logs are read: sections of `logs.json`, each with what changes of it."""
        file = self.model / contract.LOGS_FILE
        values = json.loads(file.read_text())
        for section, changed in changes.items():
            values[section] = {**values[section], **changed}
        file.write_text(json.dumps(values))

    def score(self, log: Path, batch: int = 256) -> tuple[ScoreReport, pd.DataFrame]:
        """What `dmf score` tells and writes."""
        from tfx_pipeline.trained.score.score import score

        output = self.folder / "out" / "scores.parquet"
        report = score(Version(self.model), log, output, lambda *_: None, batch=batch)
        return report, pd.read_parquet(output)

    def expected(self, rows: Sequence[Row], *, also: Sequence[Row] = (), shown: bool = False) -> list[float]:
        """Scores of rows, each asked of `rank` by itself, with a history that is looked for in all rows anew.

        Args:
            rows: of the log to be scored, none of them twice.
            also: rows of before, as those of the model's own log.
            shown: whether histories are of all that was shown.
        """
        profiles = {row["user"]: row for row in self.users}
        events = {(row["at"], row["user"], row["session"], row["item"]): row["clicked"] for row in [*also, *rows]}
        scores = []
        with Servable(self.model, optimised=False) as servable:
            for row in rows:
                history = [
                    item
                    for (at, user, _, item), clicked in sorted(events.items(), key=lambda event: event[0][0])
                    if user == row["user"] and at < row["at"] and (clicked or shown)
                ]
                profile = profiles.get(row["user"], {})
                request = {
                    contract.USER_ID: row["user"],
                    contract.HISTORY_ITEM_ID: history[-MAX_HISTORY:],
                    contract.CANDIDATE_ITEM_ID: [row["item"]],
                    "income": row["income"],
                    **{name: profile.get(name) for name in ("age", "gender")},
                }
                arrays = request_arrays(request, Version(self.model).contract)
                scores.append(float(servable.run(contract.RANK, arrays)[contract.SCORE][0, 0]))
        return scores


def once(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows without those that equal an earlier one."""
    return [dict(row) for row in {tuple(row.items()): row for row in rows}.values()]


@pytest.fixture
def world(trained: Path, tmp_path: Path) -> World:
    """The tiny world's model with an own log of 60 requests, and profiles of all users but the first."""
    model = tmp_path / "shop" / "7"
    shutil.copytree(trained / "Format-Serving", model)
    users = [
        {"user": f"u{n}", "age": None if n == 2 else 20.0 + n, "gender": "fm"[n % 2] if n != 3 else None}
        for n in range(1, 6)
    ]
    made = World(tmp_path, model, rows_of(1, 0, 60), users)
    columns = {"user": "user", "item": "item", "time": "at", "label": "clicked", "request": "session"}
    config = {
        "data": {
            "interactions": {"path": str(made.write("own/log.csv", made.own)), "columns": columns},
            "items": {"path": str(tmp_path / "nowhere.csv")},
            "users": {"path": str(made.write("users.jsonl", users)), "id_column": "user"},
        },
        "history": {"max_length": MAX_HISTORY},
        "split": {"fractions": {}},
        "profile": {"age": "numeric", "gender": "categorical"},
        "context": {"income": "numeric"},
    }
    (model / contract.LOGS_FILE).write_text(json.dumps(config))
    return made


@pytest.fixture
def refuses(world: World, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Returns refuses(log, output): what `dmf score` says to standard error when it ends with status 1."""
    from tfx_pipeline.cli import main

    def run(log: Path, output: Path) -> str:
        assert main(["score", str(log), "--model", str(world.model), "-o", str(output)]) == 1
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err and printed.out == ""
        return printed.err

    return run
