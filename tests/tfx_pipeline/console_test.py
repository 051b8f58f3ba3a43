"""What the console makes of text that comes from outside: itself, on one line, and nothing else."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.live import Live
from rich.progress import Progress
from rich.table import Table

from tfx_pipeline.console import Console, lines, styled, task_column, visible
from tfx_pipeline.trained.rank import RankedItem, Ranking, print_ranking

# What comes from outside, and what is shown of it.
FOREIGN = {
    "[official video] Clip": "[official video] Clip",
    "AC[/DC]": "AC[/DC]",
    "[/] and [b]bold[/b]": "[/] and [b]bold[/b]",
    "[link=https://example.org]here": "[link=https://example.org]here",
    "\\[red] slash": "\\[red] slash",
    ":smile: at 10:30:00": ":smile: at 10:30:00",
    "\x1b[31mred\x1b[0m": r"\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x9b2J": r"\x9b2J",
    "two\nlines\rover\tstops": r"two\nlines\rover\tstops",
    "\x00\x08\x7f\x85\u2028": r"\x00\x08\x7f\x85\u2028",
    "abc\u202egpj.exe\u2066": r"abc\u202egpj.exe\u2066",
    "half \ud800": r"half \ud800",
    "Café, 東京, עברית, 👩\u200d🎤": "Café, 東京, עברית, 👩\u200d🎤",
}


def terminal() -> Console:
    """A console that takes its stream for a terminal without colours, wide enough to break nothing."""
    return Console(file=io.StringIO(), width=200, force_terminal=True, no_color=True, highlight=False)


def written(console: Console) -> str:
    """What the stream of `terminal` was sent, without the moves of the cursor that rich itself makes."""
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for move in ("\x1b[?25l", "\x1b[?25h", "\x1b[2K", "\x1b[1A", "\x1b[1m", "\x1b[3m", "\x1b[0m", "\r"):
        text = text.replace(move, "")
    return text


def in_a_table(text: str, out: Console) -> None:
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    out.print(table)


def in_a_status(text: str, out: Console) -> None:
    with out.status(text):
        pass


def in_a_later_status(text: str, out: Console) -> None:
    with out.status("at first") as status:
        status.update(text)


def in_a_progress_line(text: str, out: Console) -> None:
    with Progress(task_column("{task.description}"), console=out) as progress:
        progress.add_task(text)


def in_a_live_line(text: str, out: Console) -> None:
    with Live("at first", console=out, auto_refresh=False) as line:
        line.update(text, refresh=True)


@pytest.mark.parametrize(
    "show",
    [
        lambda text, out: out.print(text),
        lambda text, out: out.print(text, markup=True, emoji=True),
        lambda text, out: out.print(f"before {text}", "after", soft_wrap=True),
        lambda text, out: out.print(styled("part ", (text, "bold"))),
        lambda text, out: out.print(lines("a line", text)),
        lambda text, out: out.print(ValueError(text)),
        in_a_table,
        in_a_status,
        in_a_later_status,
        in_a_progress_line,
        in_a_live_line,
    ],
)
@pytest.mark.parametrize(("text", "shown"), FOREIGN.items(), ids=map(ascii, FOREIGN))
def test_foreign_text_is_shown_as_it_is_wherever_it_stands(text, shown, show):
    out = terminal()
    show(text, out)
    assert shown in written(out)
    assert "\x1b" not in written(out)


def test_a_path_is_text(tmp_path):
    out = terminal()
    out.print(Path("out [v1]") / "\x1b[2J", soft_wrap=True)
    assert written(out) == "out [v1]/\\x1b[2J\n"


def test_ordinary_text_is_not_touched():
    text = "id_1: 'a' (100 %) \\ ~ — é 東京 \u200f"
    assert visible(text) == text
    assert styled("pushed ", ("model", "bold")).plain == "pushed model"
    assert lines("a", "b").plain == "a\nb"


def test_style_stands_beside_the_text():
    out = Console(file=io.StringIO(), force_terminal=True, color_system="standard", highlight=False)
    out.print(styled(("[red]", "bold"), " 1"))
    assert out.file.getvalue() == "\x1b[1m[red]\x1b[0m 1\n"


def test_a_ranking_shows_ids_and_titles_as_they_are():
    titles = ["[remix] Night Drive", "AC[/DC] live", ":smile:", "\x1b[2Jgone"]
    entries = [RankedItem(f"[/b]{n}", 0.5, title, 3, True) for n, title in enumerate(titles)]
    out = terminal()
    print_ranking(Ranking("[u]\n1", "out [v1]/7", [], "given [x]", entries, None, None, []), out)
    printed = written(out)
    for words in ("[/b]0", *titles[:3], r"\x1b[2Jgone", r"user [u]\n1, history", "(given [x])", "model: out [v1]/7\n"):
        assert words in printed


_NOISY = """
import contextlib, logging, os, sys
from pathlib import Path
from tfx_pipeline.console import console, quiet_libraries

with quiet_libraries(Path(sys.argv[1])):
    with contextlib.suppress(OSError):
        print("noise of Python")
    with contextlib.suppress(OSError):
        os.write(1, b"noise of C")
    logging.info("noise of logging")
    console().print("progress")
print("after")
console().print("the end")
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("full", [False, True])
def test_a_log_without_room_hides_nothing_that_is_said_to_the_user(full, tmp_path):
    log = "/dev/full" if full else str(tmp_path / "logs/noise.log")
    result = subprocess.run([sys.executable, "-c", _NOISY, log], capture_output=True, text=True, check=False)
    assert result.stderr == "progress\nthe end\n"
    assert result.stdout.endswith("after\n")
    if not full:
        assert result.stdout == "after\n"
        noise = Path(log).read_text()
        assert all(f"noise of {source}" in noise for source in ("Python", "C", "logging"))
