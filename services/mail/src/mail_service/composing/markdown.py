"""What a model writes as Markdown: as HTML that is safe to show, and as plain text. Pure.

Two nets, one behind the other: the Markdown parser takes no HTML (what looks like it is shown as it was
written), and nh3 lets pass only what is listed here. There are no pictures, forms, scripts or styles of the
model's, and links lead to the web or to an address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from mail_service.composing.brand import Colours

MAX_CHARACTERS = 200_000
_SCHEMES = {"http", "https", "mailto"}
_TAGS = {
    *("p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}


def to_html(markdown: str, colours: Colours) -> str:
    """HTML for the inside of a mail, with the styles that mail programs without style sheets need."""
    rendered: str = _parser().render(_bounded(markdown))
    return nh3.clean(
        rendered,
        tags=_TAGS,
        attributes={"a": {"href"}, "ol": {"start"}},
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer",
        set_tag_attribute_values=_styles(colours),
    )


def to_text(markdown: str) -> str:
    """The same words without marks; addresses of links follow in brackets."""
    tree = SyntaxTreeNode(_parser().parse(_bounded(markdown)))
    return "\n\n".join(filter(None, (_block(child) for child in tree.children))).strip()


def _bounded(markdown: str) -> str:
    return markdown[:MAX_CHARACTERS]


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True})
    # Definitions of links would vanish: they stay as they were written.
    parser.enable(["table", "strikethrough"]).disable("reference")
    parser.validateLink = _may_be_linked  # type: ignore[method-assign]
    parser.add_render_rule("image", _picture)
    return parser


def _may_be_linked(url: str) -> bool:
    scheme, colon, _ = url.strip().lower().partition(":")
    return bool(colon) and scheme in _SCHEMES


def _picture(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Its description: fetching a picture would tell its owner who reads the mail, and when."""
    return escapeHtml(tokens[index].content)


def _styles(colours: Colours) -> dict[str, dict[str, str]]:
    cell = f"border:1px solid {colours.line};padding:6px 8px;text-align:left;vertical-align:top"
    return {
        tag: {"style": style}
        for tag, style in {
            "table": "border-collapse:collapse;margin:0 0 16px",
            "th": cell,
            "td": cell,
            "blockquote": f"margin:0 0 16px;padding:0 0 0 12px;border-left:3px solid {colours.line}",
            "pre": f"margin:0 0 16px;padding:10px;border:1px solid {colours.line};white-space:pre-wrap;"
            "word-break:break-word;font-family:Consolas,Menlo,monospace;font-size:14px",
            "code": "font-family:Consolas,Menlo,monospace;font-size:14px",
            "p": "margin:0 0 16px",
            "ul": "margin:0 0 16px;padding:0 0 0 22px",
            "ol": "margin:0 0 16px;padding:0 0 0 22px",
            "li": "margin:0 0 4px",
            "a": f"color:{colours.accent};word-break:break-word",
            "h1": "font-size:20px;line-height:1.3;margin:24px 0 12px",
            "h2": "font-size:18px;line-height:1.3;margin:20px 0 10px",
            "h3": "font-size:16px;line-height:1.3;margin:16px 0 8px",
            "hr": f"border:0;border-top:1px solid {colours.line};margin:20px 0",
        }.items()
    }


# --- plain text ---------------------------------------------------------------------------------


def _block(node: SyntaxTreeNode) -> str:
    write = _BLOCKS.get(node.type)
    return write(node) if write is not None else _blocks(node) or node.content


def _blocks(node: SyntaxTreeNode) -> str:
    return "\n\n".join(filter(None, (_block(child) for child in node.children)))


def _items(node: SyntaxTreeNode) -> Iterator[str]:
    first = int(node.attrs.get("start", 1))
    for number, item in enumerate(node.children, start=first):
        mark = f"{number}. " if node.type == "ordered_list" else "- "
        text = "\n".join(filter(None, (_block(child) for child in item.children)))
        yield mark + _indented(text, " " * len(mark)).removeprefix(" " * len(mark))


def _inline(node: SyntaxTreeNode) -> str:
    match node.type:
        case "softbreak" | "hardbreak":
            return "\n"
        case "image":
            return node.content
        case "link":
            text = "".join(_inline(child) for child in node.children)
            address = str(node.attrs.get("href", "")).removeprefix("mailto:")
            return text if not address or address in text else f"{text} <{address}>"
        case _ if node.children:
            return "".join(_inline(child) for child in node.children)
        case _:
            return node.content


def _indented(text: str, by: str) -> str:
    return "\n".join((by + line).rstrip() for line in text.split("\n"))


def _run(node: SyntaxTreeNode) -> str:
    return "".join(_inline(child) for child in node.children)


def _table(node: SyntaxTreeNode) -> str:
    rows = [row for part in node.children for row in part.children]
    return "\n".join(" | ".join(_block(cell) for cell in row.children) for row in rows)


_BLOCKS: dict[str, Callable[[SyntaxTreeNode], str]] = {
    **dict.fromkeys(("heading", "paragraph", "inline", "th", "td"), _run),
    **dict.fromkeys(("bullet_list", "ordered_list"), lambda node: "\n".join(_items(node))),
    **dict.fromkeys(("fence", "code_block"), lambda node: _indented(node.content.rstrip("\n"), "    ")),
    "blockquote": lambda node: _indented(_blocks(node), "| "),
    "hr": lambda _: "----",
    "table": _table,
}
