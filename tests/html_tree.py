"""A page of HTML as a tree, where every element must be closed."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree.ElementTree import Element, TreeBuilder

VOID = ("meta", "br", "wbr", "hr", "img", "input", "link")


class Parser(HTMLParser):
    """Makes a tree of a page, and insists that every element is closed, in the right order."""

    def __init__(self) -> None:
        super().__init__()
        self.builder, self.stack = TreeBuilder(), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.builder.end(tag)
        else:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.stack, f"<{tag}/> closes nothing in HTML"
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        self.builder.end(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack[-1] == tag, f"</{tag}> closes <{self.stack[-1]}> at {self.getpos()}"
        self.builder.end(self.stack.pop())

    def handle_data(self, data: str) -> None:
        if self.stack:
            self.builder.data(data)


def parsed(text: str) -> Element:
    parser = Parser()
    parser.feed(text)
    parser.close()
    assert not parser.stack, f"{parser.stack} are not closed"
    return parser.builder.close()
