from __future__ import annotations

import inspect
import re

import keras
import pytest

from dmf_keras import layers, metrics, models
from tools import layer_reference as tool
from tools.docstrings import parse
from tools.layer_reference import INDEX, PAGES, page_name, pages, signature

LAYERS = [getattr(layers, name) for name in layers.__all__]
SHARED = {"self", "kwargs"}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return pages()


def test_the_pages_are_up_to_date(texts):
    present = {path.name: path.read_text(encoding="utf-8") for path in PAGES.iterdir()}
    assert sorted(present) == sorted(texts), "run: python -m tools.layer_reference"
    old = [name for name, text in texts.items() if present[name] != text]
    assert old == [], "run: python -m tools.layer_reference"


def test_the_index_lists_all_that_is_public(texts):
    index = texts[INDEX]
    for cls in LAYERS:
        assert f"| [{cls.__name__}]({page_name(cls)}) | " in index
    for name in (*metrics.__all__, *models.model_names()):
        assert f"| `{name}` | " in index
    assert not re.search(r"\| *\|$", index.replace("|  |\n| ---", ""), re.MULTILINE), "a line without a summary"


@pytest.mark.parametrize("cls", LAYERS, ids=lambda cls: cls.__name__)
def test_a_page_has_every_argument_and_every_method(cls, texts):
    page = texts[page_name(cls)]
    for part in ("## Arguments", "## Examples", "## call", ">>> "):
        assert part in page
    assert signature(cls.__name__, cls.__init__) in page
    for name in inspect.signature(cls).parameters.keys() - SHARED:
        assert re.search(rf"^\| .*`{name}`.* \| \S", page, re.MULTILINE), f"{name} has no line"
    for name in ("encode_history", "attend", "set_rows", "adapt", "encode_user", "score"):
        assert (f"\n## {name}\n" in page) == hasattr(cls, name)


@pytest.mark.parametrize("cls", LAYERS, ids=lambda cls: cls.__name__)
def test_docstrings_name_the_parameters_that_exist(cls):
    """Those of a class all, in their order; those of a method some."""
    documented = [name for entry in parse(inspect.getdoc(cls)).entries("Args") for name in entry.names]
    assert documented == [name for name in inspect.signature(cls.__init__).parameters if name not in SHARED]
    for method_name, member in tool.own_members(cls).items():
        if isinstance(member, property):
            continue
        documented = [name for entry in parse(inspect.getdoc(member)).entries("Args") for name in entry.names]
        parameters = [name for name in inspect.signature(member).parameters if name in documented]
        assert documented == parameters, f"{cls.__name__}.{method_name}"


def test_links_lead_somewhere(texts):
    targets = [target for text in texts.values() for target in re.findall(r"\]\(([^)]+)\)", text)]
    local = [target for target in targets if not target.startswith("https://arxiv.org/abs/")]
    assert len(local) > len(texts)
    assert [target for target in local if not (PAGES / target).exists()] == []


class _Sample(keras.layers.Layer):
    """Adds.

        y = x + |b|

    Text of `Dice`, after arXiv:1706.06978.

    Args:
        one, two: of the same kind; values are a | b
            and more.
        three: the "last".

    Examples:

    >>> 1 + 1
    2

    Then:
    >>> 2 + 2
    4

    References:
        Someone, arXiv:2510.11066.
    """

    def __init__(self, one: int, two: str = "x", three: float = 0.5) -> None:
        super().__init__()

    def call(self, inputs, mask=None):
        """Adds [B].

        Raises:
            ValueError: never.
            TypeError: hardly
                ever.
        """


def test_a_docstring_becomes_markdown(monkeypatch):
    monkeypatch.setattr(layers, "__all__", [*layers.__all__, "_Sample"])
    monkeypatch.setattr(layers, "_Sample", _Sample, raising=False)
    page = tool._page(_Sample)
    for part in (
        '```python\n_Sample(one, two="x", three=0.5)\n```',
        "Adds.\n\n```text\ny = x + |b|\n```\n\nText of [`Dice`](dice.md), after [arXiv:1706.06978](https://arxiv.org",
        '| `one`, `two` | of the same kind; values are a \\| b and more. |\n| `three` | the "last". |',
        "## Examples\n\n```pycon\n>>> 1 + 1\n2\n```\n\nThen:\n\n```pycon\n>>> 2 + 2\n4\n```\n",
        "```python\nlayer(inputs, mask=None)\n```\n\nAdds [B].\n\n**Raises** `ValueError`: never.\n",
        "**Raises** `TypeError`: hardly ever.\n",
        "## References\n\nSomeone, [arXiv:2510.11066](https://arxiv.org/abs/2510.11066).\n",
    ):
        assert part in page


def test_text_before_the_first_argument_is_refused():
    with pytest.raises(ValueError, match=r"Args: must begin with `name: meaning`. Received: 'loose words'"):
        parse("Adds.\n\nArgs:\n    loose words\n    one: of them").entries("Args")


def test_writing_repairs_and_removes_and_the_check_tells(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "PAGES", tmp_path / "layers")
    assert tool.main(["--check"]) == 1
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0
    assert sorted(path.name for path in tool.PAGES.iterdir()) == sorted(pages())
    (tool.PAGES / "gone.md").write_text("# Gone\n", encoding="utf-8")
    (tool.PAGES / "dice.md").write_text("# Dice\n", encoding="utf-8")
    capsys.readouterr()
    assert tool.main(["--check"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert ["dice.md is not" in told[0], "gone.md is not" in told[1], len(told)] == [True, True, 2]
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0
    assert not (tool.PAGES / "gone.md").exists()
