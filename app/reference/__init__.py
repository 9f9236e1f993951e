"""The reference: every setting, method, choice, preset and command as Markdown, from the code."""

from __future__ import annotations

from types import ModuleType

from app.reference.choices import choices_page
from app.reference.commands import commands_page
from app.reference.methods import methods_page
from app.reference.presets import presets_page
from app.reference.public_face import public_face_page
from app.reference.settings import settings_page

__all__ = ["reference_pages"]


def reference_pages(face: ModuleType) -> dict[str, str]:
    """Return the pages by file name, as they stand beside each other in one folder.

    Parameters
    ----------
    face : module
        ``fedbouquet``, which stands above this package.
    """
    return {
        "settings.md": settings_page(),
        "choices.md": choices_page(),
        "methods.md": methods_page(),
        "presets.md": presets_page(),
        "commands.md": commands_page(),
        "python.md": public_face_page(face),
    }
