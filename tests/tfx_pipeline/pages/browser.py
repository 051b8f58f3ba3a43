"""A real headless Chromium, asked through its DevTools pipe: what a page draws, logs and loads."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

# Every text of the page: its contrast to what lies behind it, by the rule of WCAG 2.1.
_CONTRASTS = """
(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c[3] === 255) return c;
    }
    return [255, 255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || ['TITLE', 'STYLE', 'title'].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const ink = element instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(rgba(ink)), light(behind(element))].sort((x, y) => y - x);
    found.push({text, ratio: (a + 0.05) / (b + 0.05)});
  }
  return found;
})()
"""

_PICTURES = """
[...document.querySelectorAll('figure svg')].map(svg => {
  const box = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].map(t => t.getBoundingClientRect().height).filter(h => h > 0);
  return {
    name: svg.querySelector('title').textContent, width: box.width, height: box.height,
    drawn: [...svg.querySelectorAll('path, use')].filter(e => {
      const b = e.getBoundingClientRect(); return b.width > 0 || b.height > 0;
    }).length,
    smallest: Math.min(...texts),
  };
})
"""


# Of the lines of pixels that have something in the left half of the page, the share that has nothing in the right one.
_HALF_EMPTY = """
(() => {
  const middle = document.body.getBoundingClientRect().left + document.body.getBoundingClientRect().width / 2;
  const left = new Set(), right = new Set();
  const mark = (box) => {
    for (let y = Math.round(box.top); y < box.bottom; y++) {
      if (box.left < middle) left.add(y);
      if (box.right > middle) right.add(y);
    }
  };
  document.querySelectorAll('main :is(p, figcaption, tr)').forEach(element => {
    const range = document.createRange();
    range.selectNodeContents(element);
    mark(range.getBoundingClientRect());
  });
  document.querySelectorAll('main svg').forEach(svg => mark(svg.getBoundingClientRect()));
  return [...left].filter(y => !right.has(y)).length / left.size;
})()
"""

_COVERED_LEGENDS = """
[...document.querySelectorAll('main svg')].filter(svg => {
  const legend = svg.querySelector('g[id*="-legend_"]');
  const plot = svg.querySelector('g[id*="-axes_1"] > g[id*="-patch_"]');
  if (!legend) return false;
  const a = legend.getBoundingClientRect(), b = plot.getBoundingClientRect();
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}).map(svg => svg.querySelector('title').textContent)
"""


class Browser:
    """One browser with one page at a time.

    Args:
        profile: an empty folder for its profile.
    """

    def __init__(self, profile: Path):
        # High numbers, so that the copies to 3 and 4 in the child overwrite neither.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for pair in (os.pipe(), os.pipe()) for end in pair]
        commands_read, commands_write, answers_read, answers_write = ends

        def connect() -> None:
            os.dup2(commands_read, 3)
            os.dup2(answers_write, 4)

        self._process = subprocess.Popen(
            [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            close_fds=False,
            preexec_fn=connect,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands_read)
        os.close(answers_write)
        self._out, self._in = os.fdopen(commands_write, "wb", 0), os.fdopen(answers_read, "rb", 0)
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None
        self.ask("Browser.close")
        self._process.wait(30)
        self._out.close()
        self._in.close()

    def open(self, page: Path, *, width: int = 1100, height: int = 900, scheme: str = "light") -> None:
        """Loads a page from disk and waits until all of it is there; `events` are those of this page."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events = []
        self.ask("Page.navigate", url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """What the page has logged: errors, warnings, exceptions."""
        self.evaluate("1")
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"]) for event in self.events if event["method"] in kinds]

    def requests(self) -> list[str]:
        """Addresses that the page has asked for, its own left out."""
        sent = [event["params"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent if one.get("type") != "Document"]

    def contrasts(self) -> list[dict[str, Any]]:
        """`text` and its contrast `ratio`, for all text that is shown."""
        return self.evaluate(_CONTRASTS)

    def pictures(self) -> list[dict[str, Any]]:
        """`name`, `width` and `height` in CSS pixels of every picture, how much is `drawn`, its `smallest` text."""
        return self.evaluate(_PICTURES)

    def half_empty(self) -> float:
        """Share of the page's height where only the left half has text, a table or a picture; headings do not count."""
        return self.evaluate(_HALF_EMPTY)

    def covered_legends(self) -> list[str]:
        """Names of pictures whose legend lies on their plot."""
        return self.evaluate(_COVERED_LEGENDS)

    def overflow(self) -> float:
        """By how many pixels the page is wider than its window."""
        return self.evaluate("document.documentElement.scrollWidth - window.innerWidth")

    def screenshot(self, file: Path, height: int | None = None) -> None:
        """The page from its top as PNG, all of it where no height is given."""
        box = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": box["width"], "height": height or box["height"], "scale": 1}
        answer = self.ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(answer["data"]))

    def print_pdf(self, file: Path) -> None:
        """The page as it prints."""
        file.write_bytes(base64.b64decode(self.ask("Page.printToPDF", printBackground=False)["data"]))

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command and returns its result; what happens meanwhile is kept in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            if "method" in answer:
                self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = self._in.read(1 << 16)
            assert part, "the browser has gone"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)
