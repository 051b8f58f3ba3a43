"""Links of the documentation lead somewhere, and every page leads to the glossary."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GLOSSARY = DOCS / "GLOSSARY.md"
FOLDERS = ("docs", "serving", "dmf_keras", "tfx_pipeline", "examples", "tools")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])


def without_blocks(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Anchors of the page's headings, as GitHub makes them."""
    counts: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", without_blocks(page), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).strip().replace(" ", "-")
        found.add(f"{anchor}-{counts[anchor]}" if counts[anchor] else anchor)
        counts[anchor] += 1
    return found


def links(page: Path) -> list[str]:
    """Where the page leads within the repository."""
    text = re.sub(r"`[^`\n]*`", "code", without_blocks(page))
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def broken(page: Path) -> list[str]:
    """The page's links to a file or a heading that is not there."""
    result = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            result.append(link)
        elif anchor and anchor not in anchors(target):
            result.append(f"{link} (headings: {', '.join(sorted(anchors(target)))})")
    return result


def glossary_line(page: Path) -> str:
    """The line by which `page` leads to the glossary."""
    path = "/".join([*[".."] * len(page.parent.relative_to(DOCS).parts), "GLOSSARY.md"])
    return f"Terms are explained in the [glossary]({path})."


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    assert broken(page) == []


def test_broken_links_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# Other\n## `dmf rank`: a page\n## Twice\n## Twice\n```\n# no heading\n```\n")
    page = tmp_path / "page.md"
    good = "[a](other.md) [b](other.md#dmf-rank-a-page) [c](other.md#twice-1) [d](#page) [e](https://example.org/#gone)"
    page.write_text(f"# Page\n{good}\n[`f`](gone.md) [g](other.md#gone) [h](other.md#no-heading) `[i](code.md)`\n")
    assert [link.partition(" ")[0] for link in broken(page)] == ["gone.md", "other.md#gone", "other.md#no-heading"]


# The pages of single layers are reached from their index, and are for those who look up one class.
@pytest.mark.parametrize(
    "page",
    [page for page in (*sorted(DOCS.glob("*.md")), DOCS / "layers" / "README.md") if page != GLOSSARY],
    ids=lambda page: page.relative_to(DOCS).as_posix(),
)
def test_page_leads_to_the_glossary(page):
    assert glossary_line(page) in page.read_text(encoding="utf-8").splitlines()


def test_readme_leads_to_every_page():
    linked = set(links(ROOT / "README.md"))
    assert [page.name for page in sorted(DOCS.glob("*.md")) if f"docs/{page.name}" not in linked] == []


def test_every_term_names_its_page():
    entries = re.findall(r"^### (.+)\n((?:(?!#).*\n?)*)", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    terms = [term for term, _ in entries]
    assert len(terms) > 40
    assert sorted(terms) == sorted(set(terms))
    assert [term for term, meaning in entries if not re.search(r"\]\([\w/]+\.md(#[\w-]+)?\)", meaning)] == []


def test_files_that_a_contribution_touches_are_there():
    text = without_blocks(DOCS / "CONTRIBUTING.md")
    named = [path for path in re.findall(r"`([a-z_]+/[\w./]+)`", text) if not re.search(r"[A-Z]{2}", path)]
    assert len(named) > 20
    # Within a section about the pipeline its own name is left out.
    assert [path for path in named if not (ROOT / path).exists() and not (ROOT / "tfx_pipeline" / path).exists()] == []
