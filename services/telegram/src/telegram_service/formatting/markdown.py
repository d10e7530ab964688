"""From Markdown to a document.

The parser is markdown-it-py (CommonMark). What it would drop or change in silence is switched off or written
out: HTML and character references stay as they were written, definitions of links too, tables are shown as
their source, and a link that Telegram would refuse shows its address.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from telegram_service.formatting.document import VERBATIM, Block, Kind, Run, Style

INDENT = "  "
BULLET = "•"
RULE = "———"
_OPENING = {"strong_open": Kind.BOLD, "em_open": Kind.ITALIC, "s_open": Kind.STRIKETHROUGH}
_CLOSING = {"strong_close", "em_close", "s_close", "link_close"}


def read_markdown(text: str) -> list[Block]:
    """The document that a text means; an empty one for a text of spaces."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    writer = _Writer(lines)
    for token in _parser().parse("\n".join(lines)):
        writer.take(token)
    return [block for block in map(_trimmed, writer.blocks) if block.runs]


@cache
def _parser() -> MarkdownIt:
    # Made once: that takes longer than reading an answer, and it keeps nothing from one text to the next.
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    # Addresses stay as they were written, so that a link that is shown as text is what somebody typed.
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]
    # Character references are shown as written; definitions of links would vanish.
    return parser.disable(["entity", "reference", "html_block", "html_inline"])


@dataclass
class _Writer:
    """Takes the parser's tokens in turn."""

    lines: Sequence[str]
    blocks: list[Block] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    """The lists around the next text, by the type of the token that opened each."""
    quotes: int = 0
    marker: str = ""
    """Of the list item whose first text is to come."""
    heading: bool = False
    in_table: bool = False
    was_in_list: bool = False
    """The last block."""

    def take(self, token: Token) -> None:
        """One token of the block level; those of the inline level are its children."""
        if token.type == "table_open":
            assert token.map is not None
            self._add([Run("\n".join(self.lines[slice(*token.map)]), (Style(Kind.PRE),))])
        if token.type in {"table_open", "table_close"}:
            self.in_table = token.type == "table_open"
        elif not self.in_table:
            self._take_block(token)

    def _take_block(self, token: Token) -> None:
        match token.type:
            case "inline":
                self._add(_inline(token.children or ()))
            case "fence" | "code_block":
                self._code(token)
            case "hr":
                self._add([Run(RULE)])
            case "heading_open" | "heading_close":
                self.heading = token.type == "heading_open"
            case "blockquote_open" | "blockquote_close":
                self.quotes += 1 if token.type == "blockquote_open" else -1
            case "bullet_list_open" | "ordered_list_open":
                self._end_marker()
                self.lists.append(token.type)
            case "bullet_list_close" | "ordered_list_close":
                self.lists.pop()
            case "list_item_open":
                ordered = self.lists[-1] == "ordered_list_open"
                self.marker = f"{token.info}. " if ordered else f"{BULLET} "
            case "list_item_close":
                self._end_marker()

    def _code(self, token: Token) -> None:
        language, _, rest = token.info.strip().partition(" ")
        if rest.strip():
            # More than a language, such as the name of a file: for readers.
            self._add([Run(token.info.strip())])
        if token.content.strip():
            self._add([Run(token.content.rstrip("\n"), (Style(Kind.PRE, language),))])
        elif language and not rest.strip():
            self._add([Run(language)])

    def _end_marker(self) -> None:
        """An item without text of its own is shown all the same."""
        if self.marker:
            self._add([])

    def _add(self, runs: Sequence[Run]) -> None:
        gap = "\n" if self.lists and self.was_in_list else "\n\n"
        indent = INDENT * max(0, len(self.lists) - 1)
        lead = indent + (self.marker or " " * len(f"{BULLET} ")) if self.lists else ""
        if _is_pre(runs):
            # A block of code begins its line, or it would not be one.
            if self.marker:
                self._append([Run(lead.rstrip())], gap)
                gap = "\n"
            lead = ""
        self.marker = ""
        self._append([Run(lead), *runs], gap)

    def _append(self, runs: Sequence[Run], gap: str) -> None:
        outer = [Style(Kind.QUOTE)] if self.quotes else []
        outer += [Style(Kind.BOLD)] if self.heading else []
        self.blocks.append(Block(tuple(_merged(_within(outer, run) for run in runs)), gap))
        self.was_in_list = bool(self.lists)


def _inline(tokens: Iterable[Token]) -> list[Run]:
    runs: list[Run] = []
    styles: list[Style] = []
    endings: list[str] = []
    begun = 0
    for token in tokens:
        if token.type in _OPENING:
            styles.append(Style(_OPENING[token.type]))
        elif token.type == "link_open":
            address = str(token.attrs.get("href", ""))
            endings.append("" if token.info == "auto" else _written_out(token, address))
            styles.append(Style(Kind.LINK, address))
            begun = len(runs)
        elif token.type in _CLOSING:
            style = styles.pop()
            if style.kind is Kind.LINK:
                if len(runs) == begun and _is_taken(style.argument):
                    # A link without a text is shown by its address.
                    runs.append(_within([*styles, style], Run(style.argument)))
                runs.append(_within(styles, Run(endings.pop())))
        else:
            runs += [_within(styles, run) for run in _leaf(token, inside_link=bool(endings))]
    return _merged(runs)


def _leaf(token: Token, *, inside_link: bool) -> list[Run]:
    if token.type in {"softbreak", "hardbreak"}:
        return [Run("\n")]
    if token.type == "code_inline":
        return [Run(token.content, (Style(Kind.CODE),))]
    if token.type == "image":
        address = str(token.attrs.get("src", ""))
        shown = Run(token.content or address, (Style(Kind.LINK, address),))
        return [shown, Run(_written_out(token, address, address_shown=not inside_link))]
    return [Run(token.content)]


def _written_out(token: Token, address: str, *, address_shown: bool = True) -> str:
    """What follows a link: its title, and its address where there is no link to hold it."""
    title = str(token.attrs.get("title", ""))
    parts = [] if address_shown and _is_taken(address) else [address]
    parts += [title]
    return f" ({', '.join(filter(None, parts))})" if any(parts) else ""


def _is_taken(address: str) -> bool:
    """Whether Telegram makes a link of it; anything else it shows as plain text, without the address."""
    try:
        parts = urlsplit(address)
        hostname = parts.hostname or ""
    except ValueError:
        return False
    plain = address.isprintable() and " " not in address
    return plain and parts.scheme in {"http", "https"} and "." in hostname.strip(".")


def _within(outer: Sequence[Style], run: Run) -> Run:
    """A run with the styles around it, as far as Telegram lets them stand together: a link holds no code,
    and code nothing at all; only a quotation may be around everything."""
    by_kind: dict[Kind, Style] = {}
    for style in (*outer, *run.styles):
        if style.kind is not Kind.LINK or _is_taken(style.argument):
            by_kind.setdefault(style.kind, style)
    if Kind.LINK in by_kind:
        by_kind.pop(Kind.CODE, None)
    elif any(kind in by_kind for kind in VERBATIM):
        by_kind = {kind: style for kind, style in by_kind.items() if kind in {*VERBATIM, Kind.QUOTE}}
    return Run(run.text, tuple(by_kind.values()))


def _merged(runs: Iterable[Run]) -> list[Run]:
    """Neighbours of one look are one run; empty ones are none."""
    merged: list[Run] = []
    for run in runs:
        if not run.text:
            continue
        if merged and merged[-1].styles == run.styles:
            merged[-1] = Run(merged[-1].text + run.text, run.styles)
        else:
            merged.append(run)
    return merged


def _is_pre(runs: Sequence[Run]) -> bool:
    return any(style.kind is Kind.PRE for run in runs for style in run.styles)


def _trimmed(block: Block) -> Block:
    """Without spaces at its end and empty lines at its beginning: Telegram takes them away, and entities
    would no longer fit."""
    runs = list(block.runs)
    while runs and not runs[-1].text.rstrip():
        runs.pop()
    if runs:
        runs[-1] = Run(runs[-1].text.rstrip(), runs[-1].styles)
    while runs and not runs[0].text.strip("\n"):
        runs.pop(0)
    return Block(tuple(runs), block.gap)
