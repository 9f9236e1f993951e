"""The page of what ``fedbouquet`` exports."""

from __future__ import annotations

import inspect
from types import ModuleType

from app.reference.markdown import page, plain, table


def public_face_page(face: ModuleType) -> str:
    """Return every name that ``fedbouquet``, the face, exports with its first line, as a page."""
    rows = [_row(name, getattr(face, name)) for name in face.__all__]
    return page(
        "# Python",
        "What `from fedbouquet import ...` offers to [authors of methods](../authoring.md) and to "
        "Flower apps of your own; `help(NAME)` says more.",
        table(["name", "what it is", "code"], rows),
    )


def _row(name: str, value: object) -> list[str]:
    first = (inspect.getdoc(value) or "").partition("\n\n")[0]
    return [f"`{name}`", plain(first), f"`{getattr(value, '__module__', '')}`"]
