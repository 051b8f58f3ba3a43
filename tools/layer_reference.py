"""Writes docs/layers: a page per public layer from its docstring and signature, and an index.

The index also lists the metrics and the models of the registry.

    .venv/bin/python -m tools.layer_reference            # writes the pages, removes those of layers that are gone
    .venv/bin/python -m tools.layer_reference --check    # exit status 1 when a page is missing, old or left over
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from dmf_keras import layers, metrics, models
from tools.docstrings import Docstring, Entry, parse

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "layers"
INDEX = "README.md"

_WRITTEN = "<!-- Written by `.venv/bin/python -m tools.layer_reference`; edit the docstrings instead. -->"

_INTRODUCTION = f"""# Layers

{_WRITTEN}

Terms are explained in the [glossary](../GLOSSARY.md).

What all layers share (masks, empty histories, precision, backends, saving) is in [LIBRARY.md](../LIBRARY.md).
B is requests, L history items, N candidates, D the width of an input. The examples of all pages run as they stand after

```python
import keras
import numpy as np
```
"""

_MODELS = """## Models

Of `dmf_keras.models`, by the name in the registry; [MODELS.md](../MODELS.md) says more of each.
"""


def pages() -> dict[str, str]:
    """File name -> text of every page of docs/layers."""
    public = [getattr(layers, name) for name in sorted(layers.__all__)]
    return {INDEX: _index(public)} | {page_name(cls): _page(cls) for cls in public}


def page_name(cls: type) -> str:
    """The page of a layer is named as its module."""
    return cls.__module__.rpartition(".")[2] + ".md"


def own_members(cls: type) -> dict[str, Any]:
    """Public methods and properties of a layer, `call` first, else in the order of the source.

    Left out are what overrides Keras, such as `build`, which users do not call and Keras documents, and what a layer
    has from a base class that is not public itself.
    """
    members: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        if owner.__name__ in layers.__all__:
            members |= {name: value for name, value in vars(owner).items() if not name.startswith("_")}
    own = {name: member for name, member in members.items() if not hasattr(keras.layers.Layer, name)}
    shown = {"call": members["call"]} | own
    return {name: member for name, member in shown.items() if callable(member) or isinstance(member, property)}


def signature(name: str, function: Callable[..., Any]) -> str:
    """The call as code, one line where it fits, without `self` and without types; a method's are in its docstring."""
    parameters = [_parameter(p) for p in inspect.signature(function).parameters.values() if p.name != "self"]
    line = f"{name}({', '.join(parameters)})"
    return line if len(line) <= 100 else "\n".join([f"{name}(", *(f"    {p}," for p in parameters), ")"])


def _parameter(parameter: inspect.Parameter) -> str:
    text = str(parameter.replace(annotation=inspect.Parameter.empty))
    return text.replace("'", '"')


def _page(cls: type[keras.layers.Layer]) -> str:
    docstring = parse(inspect.getdoc(cls) or "")
    name, module = cls.__name__, cls.__module__
    source = f"../../{module.replace('.', '/')}.py"
    parts = [
        f"# {name}",
        _WRITTEN,
        f"`dmf_keras.layers.{name}`, [source]({source}), [all layers]({INDEX})",
        _code("python", signature(name, cls.__init__)),
        _text(docstring.text),
        *_arguments("## Arguments", docstring.entries("Args", "Attributes")),
        "`name`, `dtype` and `trainable` as every Keras layer.",
        *_raises(docstring),
        *_body("## Examples", docstring.sections.get("Examples", "")),
    ]
    for member_name, member in own_members(cls).items():
        parts += _member(member_name, member)
    parts += _body("## References", docstring.sections.get("References", ""))
    return _linked("\n\n".join(filter(None, parts)), name) + "\n"


def _member(name: str, member: Any) -> Iterator[str]:
    docstring = parse(inspect.getdoc(member) or "")
    if isinstance(member, property):
        yield f"## {name}"
        yield _text(docstring.text) + " A property."
        return
    yield f"## {name}"
    yield _code("python", signature("layer" if name == "call" else f"layer.{name}", inspect.unwrap(member)))
    yield _text(docstring.text)
    yield from _arguments("", docstring.entries("Args"))
    if "Returns" in docstring.sections:
        yield f"**Returns** {_text(docstring.sections['Returns'])}"
    yield from _raises(docstring)
    yield from _body("", docstring.sections.get("Examples", ""))
    yield from _body("", docstring.sections.get("References", ""))


def _arguments(heading: str, entries: Sequence[Entry]) -> Iterator[str]:
    if entries:
        yield heading
        yield _table(("argument", "meaning"), [(entry.label, entry.meaning) for entry in entries])


def _raises(docstring: Docstring) -> Iterator[str]:
    for entry in docstring.entries("Raises"):
        yield f"**Raises** {entry.label}: {entry.meaning}"


def _body(heading: str, body: str) -> Iterator[str]:
    if body:
        yield heading
        yield _text(body)


def _text(text: str) -> str:
    """A docstring's paragraphs as Markdown: what is indented is a formula, what follows `>>>` an example."""
    blocks: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.splitlines()
        example = next((i for i, line in enumerate(lines) if line.startswith(">>>")), len(lines))
        prose = "\n".join(lines[:example])
        in_list = blocks and re.match(r"\d+\. |- ", blocks[-1])
        if prose and all(line.startswith("    ") for line in lines[:example]) and not in_list:
            prose = _code("text", inspect.cleandoc(prose))
        blocks += [prose, _code("pycon", "\n".join(lines[example:])) if lines[example:] else ""]
    return "\n\n".join(filter(None, blocks))


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _linked(page: str, own_name: str) -> str:
    """The page with links to papers and to the pages of other layers, outside code."""
    others = {name: page_name(getattr(layers, name)) for name in layers.__all__ if name != own_name}
    parts = re.split(r"(^```.*?^```$)", page, flags=re.MULTILINE | re.DOTALL)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", parts[i])
        parts[i] = re.sub(
            r"`(\w+)`", lambda found: f"[{found[0]}]({others[found[1]]})" if found[1] in others else found[0], parts[i]
        )
    return "".join(parts)


def _summary(documented: Any) -> str:
    """The first sentence of a docstring, or its first paragraph where the sentence ends in a formula."""
    paragraph = " ".join(parse(inspect.getdoc(documented) or "").text.split("\n\n")[0].split())
    return re.split(r"(?<=[a-z0-9)`\]])\. ", paragraph)[0].rstrip(".") + "."


def _index(public: Sequence[type]) -> str:
    parts = [
        _INTRODUCTION.rstrip(),
        _table(("layer", ""), [(f"[{cls.__name__}]({page_name(cls)})", _summary(cls)) for cls in public]),
        "## Metrics\n\nOf `dmf_keras.metrics`: functions on arrays with their results, and metrics of Keras for `fit`.",
        _table(("metric", ""), [(f"`{name}`", _summary(getattr(metrics, name))) for name in sorted(metrics.__all__)]),
        _MODELS.rstrip(),
        _table(("name", "class", ""), list(_model_rows())),
    ]
    return "\n\n".join(parts) + "\n"


def _model_rows() -> Iterator[tuple[str, str, str]]:
    public = [getattr(models, name) for name in models.__all__]
    by_config = {vars(cls).get("config_class"): cls for cls in public if isinstance(cls, type)}
    for name in models.model_names():
        cls = by_config[type(models.model_config(name, {}))]
        yield f"`{name}`", f"`{cls.__name__}`", _summary(cls)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the pages, or with `--check` compares them; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write docs/layers from the docstrings of the layers.")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when a page is not up to date")
    only_check = parser.parse_args(arguments).check
    texts = pages()
    present = {path.name: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md")}
    differing = sorted(name for name in texts | present if texts.get(name) != present.get(name))
    if only_check:
        for name in differing:
            sys.stderr.write(f"{PAGES / name} is not up to date; run: python -m tools.layer_reference\n")
        return 1 if differing else 0
    PAGES.mkdir(parents=True, exist_ok=True)
    for name in differing:
        if name not in texts:
            (PAGES / name).unlink()
            continue
        partial = PAGES / f"{name}.partial"
        partial.write_text(texts[name], encoding="utf-8")
        os.replace(partial, PAGES / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
