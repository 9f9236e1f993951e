"""A tiny HTML builder in which text is escaped unless it was built here."""

from __future__ import annotations

import html
from typing import TypeAlias

from app.report.record import safe

_VOID = frozenset({"img", "meta"})


class Html(str):
    """Markup that is safe to write as it is."""

    __slots__ = ()


Child: TypeAlias = "Html | str | int | None"


def escape(text: str) -> Html:
    """Turn any text into markup that shows that text."""
    return Html(html.escape(safe(text), quote=True))


def element(tag: str, *children: Child, **attributes: str) -> Html:
    """Build ``<tag attribute="...">children</tag>``.

    Parameters
    ----------
    *children : Html, str, int or None
        `Html` stands as it is, everything else is escaped, None is left out.
    **attributes : str
        Always escaped; a trailing underscore in a name is dropped (``class_``), others become
        hyphens.
    """
    said = "".join(_attribute(name, value) for name, value in attributes.items())
    opened = f"<{tag}{said}>"
    return Html(opened if tag in _VOID else f"{opened}{join(*children)}</{tag}>")


def join(*children: Child) -> Html:
    """Put children one after another, escaping what is not markup."""
    return Html(
        "".join(
            child if isinstance(child, Html) else escape(str(child))
            for child in children
            if child is not None
        )
    )


def table(head: list[str], rows: list[list[Child]], numeric_from: int, class_: str = "") -> Html:
    """Build a table whose columns from `numeric_from` on hold numbers."""

    def side(column: int) -> str:
        return "num" if column >= numeric_from else "txt"

    top = element(
        "tr", *(element("th", h, scope="col", class_=side(c)) for c, h in enumerate(head))
    )
    body = [
        element("tr", *(element("td", cell, class_=side(c)) for c, cell in enumerate(row)))
        for row in rows
    ]
    built = element("table", element("thead", top), element("tbody", *body), class_=class_)
    return element("div", built, class_="scroll", tabindex="0")


def _attribute(name: str, value: str) -> str:
    written = name.rstrip("_").replace("_", "-")
    return f' {written}="{html.escape(value, quote=True)}"'
