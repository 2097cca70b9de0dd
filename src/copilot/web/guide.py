"""A runbook as HTML. HTML in its Markdown is shown, not obeyed: runbooks are text."""

from functools import cache
from itertools import pairwise

from markdown_it import MarkdownIt

from copilot.sources.runbooks import Runbook
from copilot.sources.sections import anchor


def guide_html(runbook: Runbook) -> str:
    """The runbook as an `<article>`; its headings bear the anchors that passages of runbooks are cited by."""
    markdown = _markdown()
    tokens = markdown.parse(runbook.markdown)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor(inline.content))
    for token in (child for t in tokens for child in t.children or ()):
        if token.type == "link_open" and not str(token.attrGet("href") or "").startswith("#"):
            token.attrSet("rel", "noopener noreferrer")
    return f'<article class="guide">\n{markdown.renderer.render(tokens, markdown.options, {})}</article>\n'


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
