"""A plot as the page shows it."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from app.report.markup import Html, element


@dataclass(frozen=True)
class Picture:
    """A plot: the PNG, what it is for someone who cannot see it, a caption."""

    name: str
    png: bytes
    description: str
    caption: str


def shown(picture: Picture) -> Html:
    """Return the picture inside the page itself."""
    data = base64.b64encode(picture.png).decode("ascii")
    source = f"data:image/png;base64,{data}"
    image = element("img", src=source, alt=picture.description, loading="lazy")
    caption = element("figcaption", picture.caption) if picture.caption else None
    return element("figure", image, caption, id=picture.name)
