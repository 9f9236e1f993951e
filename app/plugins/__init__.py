"""Methods of installed packages: what a method is, and how entry points become methods."""

from app.plugins.method import Method
from app.plugins.packages import GROUP, Package
from app.plugins.reading import Broken, Plugins, read_plugins

__all__ = ["GROUP", "Broken", "Method", "Package", "Plugins", "read_plugins"]
