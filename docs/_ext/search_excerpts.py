"""Excerpts in the search of a site that is opened as files: a browser loads no page of a folder into another.

On a server the search fetches each page that it lists, and shows the words around those that were searched. Here the
texts of all pages are a script of the search page, and answer in the place of these requests.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

SCRIPT = "page_texts.js"

_CODE = """if (location.protocol === "file:") {
  const texts = %s;
  const load = window.fetch;
  window.fetch = (url, ...options) => {
    const text = texts[String(url).replace(/^(\\.\\/)+/, "")];
    if (text === undefined) return load(url, ...options);
    return Promise.resolve(new Response(`<div role="main">${text}</div>`));
  };
}
"""


def text_of(page: str) -> str:
    """The text of a page's main part, as HTML without tags."""
    main = re.search(r'<article[^>]*role="main".*?>(.*?)</article>', page, re.DOTALL)
    if main is None:
        return ""
    body = re.sub(r'<(script|style|svg)\b.*?</\1>|<a class="headerlink".*?</a>', " ", main[1], flags=re.DOTALL)
    return html.escape(" ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split()), quote=False)


def script(texts: dict[str, str]) -> str:
    """The program with the texts of pages by their file."""
    return _CODE % json.dumps(texts)


def add_script(app: Any, pagename: str, *_: Any) -> None:
    """Have the search page load it."""
    if pagename == "search":
        app.add_js_file(SCRIPT)


def write_script(app: Any, error: Exception | None) -> None:
    """Write it, of all pages that were built."""
    if error is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    pages = {f"{page}.html": folder / f"{page}.html" for page in sorted(app.env.found_docs)}
    texts = {name: text_of(path.read_text("utf-8")) for name, path in pages.items() if path.is_file()}
    (folder / "_static" / SCRIPT).write_text(script(texts), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("html-page-context", add_script)
    app.connect("build-finished", write_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
