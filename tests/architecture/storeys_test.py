"""The order of storeys, as docs/ARCHITECTURE.md has it: imports lead down, and files make no circles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.import_graph import PICTURE, House, main, picture, read_house

ROOT = Path(__file__).resolve().parents[2]
MAX_ENTRIES = 16


@pytest.fixture(scope="module")
def house() -> House:
    return read_house(ROOT)


def test_every_room_has_one_storey(house):
    written = sorted(room for storey in house.storeys for room in storey)
    assert written == sorted(house.rooms), "docs/ARCHITECTURE.md, Storeys: one row names each room"


def test_imports_lead_down(house):
    assert {arrow: house.arrows[arrow] for arrow in house.upward} == {}


def test_files_make_no_circles(house):
    assert house.circles == []


def test_pipeline_has_few_rooms():
    entries = [path.name for path in (ROOT / "tfx_pipeline").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MAX_ENTRIES, f"{len(entries)} entries: {sorted(entries)}"


def test_picture_shows_the_storeys(house):
    drawn = (ROOT / PICTURE).read_text(encoding="utf-8")
    assert drawn == picture(house), "python -m tools.import_graph --picture draws it anew"


@pytest.fixture
def small_house(tmp_path) -> Path:
    """A checkout of three rooms in two packages, which keeps its order."""
    files = {
        "tfx_pipeline/__init__.py": "",
        "tfx_pipeline/high/__init__.py": "",
        "tfx_pipeline/high/a.py": "from tfx_pipeline.low import b\nimport serving.contract\n",
        "tfx_pipeline/low/__init__.py": "",
        "tfx_pipeline/low/b.py": "import os\n",
        "serving/contract.py": "",
        "docs/ARCHITECTURE.md": "# A\n\n## Storeys\n\n| room | |\n|---|---|\n| `tfx_pipeline/high` | x |\n"
        "| `tfx_pipeline/low` | y |\n\n| room | |\n|---|---|\n| `serving/contract.py` | z |\n\n"
        "## Next\n| `other` | |\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_reads_a_house_that_keeps_its_order(small_house, capsys):
    house = read_house(small_house)
    assert house.storeys == [["serving/contract.py"], ["tfx_pipeline/low"], ["tfx_pipeline/high"]]
    assert set(house.arrows) == {
        ("tfx_pipeline/high", "tfx_pipeline/low"),
        ("tfx_pipeline/high", "serving/contract.py"),
    }
    assert house.layers == [["serving/contract.py", "tfx_pipeline/low"], ["tfx_pipeline/high"]]
    assert main(["--root", str(small_house)]) == 0
    assert capsys.readouterr().out.startswith("3 rooms, 2 layers, 2 arrows, 0 upward, 0 circles of files\n")


@pytest.mark.parametrize("statement", ["from tfx_pipeline.high import a", "def late():\n    from ..high.a import x"])
def test_sees_an_import_that_leads_up(small_house, capsys, statement):
    (small_house / "tfx_pipeline/low/b.py").write_text(f"{statement}\n", encoding="utf-8")
    house = read_house(small_house)
    assert house.upward == [("tfx_pipeline/low", "tfx_pipeline/high")]
    assert house.circles == [["tfx_pipeline/high/a.py", "tfx_pipeline/low/b.py"]]
    assert main(["--root", str(small_house)]) == 1
    assert "upward: tfx_pipeline/low -> tfx_pipeline/high" in capsys.readouterr().out


def test_sees_a_room_of_no_storey(small_house):
    (small_house / "serving/stray.py").write_text("import serving.contract\n", encoding="utf-8")
    assert read_house(small_house).upward == [("serving/stray.py", "serving/contract.py")]
