"""`recommend`: requests out of the logs, pages as they are printed, and sentences where there is no page."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from serving import contract
from serving.contract import ModelContract
from tests.serving.client.servers import CATALOGUE, FEATURES, RANKED
from tfx_pipeline.cli import main
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import Evaluation
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.evaluation.item_facts import write_item_facts
from tfx_pipeline.trained.recommend import Page, print_page, recommend
from tfx_pipeline.trained.version import Version

LOG = """user_id,item_id,timestamp,label
u1,i3,1700000100,1
u1,i1,1700000200,1
u1,i7,1700000250,0
u2,i9,1700000300,1
"""
NO_TENSORS: dict = {"inputs": {}, "outputs": {}}
FOUND = ModelContract(
    "two",
    50,
    FEATURES,
    dict.fromkeys(("rank", "retrieve", "recommend", "user_vector"), NO_TENSORS),
    retrieval_items=len(CATALOGUE),
    ranked_candidates=RANKED,
)


@pytest.fixture
def model(tmp_path) -> Path:
    """What lies beside a graph, as version 3 of a served model, with its logs."""
    version = tmp_path / "shop" / "3"
    (version / "assets.extra").mkdir(parents=True)
    (version / "saved_model.pb").touch()
    (version / contract.CONTRACT_FILE).write_text(FOUND.to_json())
    counts = np.arange(len(CATALOGUE))
    write_item_facts(str(version), CATALOGUE, counts, counts % 2 == 0, Evaluation())
    (tmp_path / "log.csv").write_text(LOG)
    titles = "\n".join(f"{item},Title of {item}" for item in CATALOGUE)
    (tmp_path / "items.csv").write_text(f"item_id,title\n{titles}\n")
    tables = {
        "interactions": {"path": str(tmp_path / "log.csv")},
        "items": {"path": str(tmp_path / "items.csv"), "title_column": "title"},
    }
    logs = IngestionConfig.model_validate({"data": tables, "history": {"max_length": 2}, "split": {"fractions": {}}})
    (version / contract.LOGS_FILE).write_text(logs.model_dump_json())
    return version


@pytest.fixture
def whole(model, small_models) -> Path:
    """The same with a graph."""
    shutil.copytree(small_models / "1", model, dirs_exist_ok=True)
    return model


@pytest.fixture
def refuse(capfd):
    """refuse(status, *arguments): the sentence of a command that is refused."""

    def run(status: int, *arguments: object) -> str:
        assert main(["recommend", *map(str, arguments)]) == status
        printed = capfd.readouterr()
        assert printed.out == ""
        assert "Traceback" not in printed.err
        return printed.err

    return run


def padded(k: int, *items: str) -> dict[str, np.ndarray]:
    """Outputs [k] of `recommend`."""
    count, rest = len(items), k - len(items)
    return {
        contract.ITEM_ID: np.array([item.encode() for item in items] + [b""] * rest, object),
        contract.SCORE: np.array([*np.linspace(0.9, 0.1, count), *[0.0] * rest], np.float32),
        contract.RETRIEVAL_RANK: np.array([*range(count, 0, -1), *[0] * rest], np.int32),
        contract.RETRIEVAL_SCORE: np.array([*range(count), *[0] * rest], np.float32),
    }


class Asked:
    """A recommender that answers some items, and keeps what it was asked."""

    def __init__(self, *items: str):
        self._items = items

    def __call__(self, version, request, k, exclude):
        self.request, self.k, self.exclude = request, k, exclude
        return padded(k, *self._items)


def text_of(page: Page) -> str:
    out = Console(width=200, record=True, file=io.StringIO())
    print_page(page, out)
    return out.export_text()


def test_the_request_is_the_users_of_the_logs_and_the_page_says_how_items_came_in(model):
    asked = Asked("i8", "i5")
    page = recommend(Version.find(model.parent), "u1", top=2, recommender=asked)
    assert asked.request == {"user_id": "u1", "history_item_id": ["i3", "i1"]}
    assert (asked.k, asked.exclude) == (2, [])
    assert (page.catalogue, page.ranked, page.excluded, page.excluded_seen) == (60, 20, 0, None)
    assert [entry.item for entry in page.page] == ["i8", "i5"]
    first = json.loads(json.dumps(page.to_json()))["page"][0]
    assert first == {
        "item": "i8",
        "score": pytest.approx(0.9),
        "retrieval_rank": 2,
        "retrieval_score": 0.0,
        "title": "Title of i8",
        "train_impressions": 8,
        "has_content": True,
    }
    text = text_of(page)
    assert "user u1, history of 2 items (from the logs)" in text
    row = next(line for line in text.splitlines() if "Title of i8" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "1",
        "i8",
        "0.9000",
        "2",
        "0.0000",
        "Title of i8",
        "8",
        "yes",
    ]
    assert "items: 60 to retrieve from, up to 20 of them ranked\n" in text
    assert "ids left out" not in text
    assert f"model: {model}" in text


def test_what_the_user_had_and_what_is_given_is_left_out(model):
    asked = Asked("i8")
    page = recommend(
        Version(model), "u1", top=1, exclude=["i9", "", "i9", "nobody"], exclude_seen=True, recommender=asked
    )
    # Shown and not clicked is not seen.
    assert asked.exclude == ["i1", "i3", "i9", "nobody"]
    assert (page.excluded, page.excluded_seen) == (4, 2)
    assert "ids left out: 4, 2 of them as the user had them\n" in text_of(page)
    recommend(Version(model), "u1", top=1, history=["i5"], exclude_seen=True, recommender=asked)
    assert asked.exclude == ["i1", "i3", "i5"]


@pytest.mark.parametrize("left", [(), ("i8", "i5")])
def test_a_short_page_is_an_answer_that_says_so(model, left):
    page = recommend(Version(model), "NOSUCH", top=5, exclude=CATALOGUE, recommender=Asked(*left))
    assert [entry.item for entry in page.page] == list(left)
    said = f"items left of the catalogue for a page of 5: {len(left)}; the others are excluded"
    assert page.notes == [said]
    assert said in text_of(page)
    assert page.history == []


def test_without_the_logs_what_was_seen_is_not_known(model):
    (model / contract.LOGS_FILE).unlink()
    with pytest.raises(DataError, match="--exclude-seen leaves out what the user clicked in the logs"):
        recommend(Version(model), "u1", top=1, exclude_seen=True, recommender=Asked("i8"))
    page = recommend(Version(model), "u1", top=1, recommender=Asked("i8"))
    assert page.page[0].title is None
    assert "title" not in text_of(page)


@pytest.mark.parametrize("top", [0, -1, RANKED + 1, 10**6])
def test_a_page_that_the_model_cannot_fill_is_refused(model, top):
    with pytest.raises(DataError, match=r"--top wants a whole number from 1 to 20, got .* ranks 20 .* of 60 items"):
        recommend(Version(model), "u1", top=top, recommender=Asked("i8"))


def test_objectives_are_columns(model):
    of_two = ModelContract(**{**vars(FOUND), "objectives": {"click": None, "buy": "click"}, "formula": "click * buy"})
    (model / contract.CONTRACT_FILE).write_text(of_two.to_json())

    def answer(version, request, k, exclude):
        return padded(k, "i8") | {"score/click": np.array([0.5], np.float32), "score/buy": np.array([0.25], np.float32)}

    page = recommend(Version(model), "u1", top=1, recommender=answer)
    assert page.to_json()["page"][0]["objectives"] == {"click": 0.5, "buy": 0.25}
    assert page.notes == ["score is click * buy; buy is given click"]
    assert "0.2500" in text_of(page)


def test_a_model_without_retrieval_says_what_to_do(model, refuse):
    alone = ModelContract("dmf", 50, FEATURES, {"rank": NO_TENSORS})
    (model / contract.CONTRACT_FILE).write_text(alone.to_json())
    with pytest.raises(ModelError, match="has no retrieval stage"):
        recommend(Version(model), "u1", top=3)
    printed = refuse(1, "--model", model.parent, "--user", "u1", "--top", 3)
    assert printed == (
        f"stopped: {model} has no retrieval stage; train and push a model with `stages: {{retrieval: ...}}` in the "
        f"configuration, or let this one rank the whole catalogue: dmf rank --model {model} --top 3\n"
    )


def test_either_a_model_or_a_configuration_is_needed(tmp_path, refuse, capfd):
    for arguments in ([], ["--model", "m", "--config", "c"]):
        with pytest.raises(SystemExit) as stopped:
            main(["recommend", "--user", "u", *arguments])
        assert stopped.value.code == 2
    capfd.readouterr()
    assert "--set overrides keys of --config" in refuse(2, "--model", "m", "--user", "u", "--set", "name=a")
    assert "cannot read configuration" in refuse(2, "--config", tmp_path / "no.yaml", "--user", "u")


@pytest.mark.slow
def test_a_whole_model_answers_at_the_command_line(whole, tmp_path, capfd, refuse):
    def asked(*arguments: str) -> dict:
        assert main(["recommend", "--user", "u1", "--json", *arguments]) == 0
        return json.loads(capfd.readouterr().out)

    model = ["--model", str(whole.parent)]
    page = asked(*model, "--top", "20")
    scores = [entry["score"] for entry in page["page"]]
    assert scores == sorted(scores, reverse=True)
    assert sorted(entry["retrieval_rank"] for entry in page["page"]) == list(range(1, 21))
    assert page["page"][0]["title"].startswith("Title of i")
    gone = tmp_path / "gone.txt"
    gone.write_text(page["page"][1]["item"])
    first = page["page"][0]["item"]
    rest = asked(*model, "--exclude", f"{first},-5", "--exclude-from", str(gone), "--exclude-seen", "--top", "3")
    assert (rest["excluded"], rest["excluded_seen"]) == (len({first, "-5", gone.read_text(), "i1", "i3"}), 2)
    assert not {entry["item"] for entry in rest["page"]} & {first, gone.read_text(), "i1", "i3"}
    nothing = asked(*model, "--exclude", ",".join(CATALOGUE))
    assert nothing["page"] == []
    by_index = asked(*model, "--approximate", "--top", "20")
    assert (page["retrieved_by"], by_index["retrieved_by"]) == ("exact search", "approximate index")
    for one, other in zip(by_index["page"], page["page"], strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert "of the 20 items that an exact search retrieves, the index has 20" in by_index["notes"]
    assert main(["recommend", "--user", "u1", *model, "--approximate"]) == 0
    assert "of them ranked, retrieved by the approximate index" in " ".join(capfd.readouterr().out.split())
    short = asked(*model, "--approximate", "--exclude", ",".join(CATALOGUE[2:]))
    assert sorted(entry["item"] for entry in short["page"]) == CATALOGUE[:2]
    assert asked(*model, "--approximate", "--exclude", ",".join(CATALOGUE))["page"] == []
    # What the graph refuses is a sentence too.
    lying = ModelContract(**{**vars(FOUND), "ranked_candidates": 50})
    (whole / contract.CONTRACT_FILE).write_text(lying.to_json())
    assert "k must be from 1 to 20" in refuse(1, *model, "--user", "u1", "--top", 30)


@pytest.mark.slow
def test_an_index_that_is_not_the_models_is_refused(whole, small_models, refuse):
    asked = ["--model", whole.parent, "--user", "u1", "--approximate"]
    for name in ("approximate_index.usearch", "approximate_index.json"):
        shutil.copy(small_models / "2" / "assets.extra" / name, whole / "assets.extra" / name)
    assert f"the index of {whole} is of catalogue" in refuse(1, *asked)
    (whole / "assets.extra" / "approximate_index.usearch").write_bytes(b"")
    assert "is damaged, or of another version" in refuse(1, *asked)
    (whole / "assets.extra" / "approximate_index.json").unlink()
    assert "has no approximate index" in refuse(1, *asked)
