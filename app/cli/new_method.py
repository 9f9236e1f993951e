"""``bouquet new-method``: a small package with a method that works, to be made one's own."""

from __future__ import annotations

import keyword
import re
from importlib.metadata import version
from pathlib import Path
from string import Template

from rich.console import Console

from app.plugins.checks import NAME_FORM, is_name
from app.plugins.template import FILES
from app.registry import registry
from models.errors import ConfigurationError
from models.files import write_text

_IMPORTED = re.compile(r"^from \S+ import (.+)$", re.MULTILINE)


def write_method(name: str, folder: Path | None, console: Console) -> Path:
    """Write the package and say what to do next.

    Parameters
    ----------
    name : str
        The method's, such as ``my-method``.
    folder : Path or None
        Where the package goes; by default a new folder of the method's name, here.
    console : Console

    Raises
    ------
    ConfigurationError
        The name will not do, or is taken, or the folder holds something.
    """
    if not is_name(name):
        raise ConfigurationError(
            f"'{name}' is no name of a method: {NAME_FORM}, such as 'my-method'"
        )
    if name in registry().methods:
        package = registry().package(name)
        owner = f"the package {package}" if package else "a built-in method"
        raise ConfigurationError(f"the name '{name}' is taken by {owner}; choose another")
    folder = (folder or Path(name)).absolute()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigurationError(f"{folder} is there already; name an empty folder with --out")
    words = {
        "name": name,
        "package": f"bouquet-{name}",
        "module": f"bouquet_{name.replace('-', '_')}",
        "kind": _class_name(name),
        "version": version("fedbouquet"),
    }
    for file, text in FILES.items():
        path = folder / Template(file).substitute(words)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, Template(text).substitute(words))
    lines = (
        f"{folder}: a method that works; its idea is one override in {words['module']}.py",
        f"  pip install -e {folder}",
        f"  bouquet methods {name}",
        f"  bouquet run {name}",
        f"  pytest {folder}",
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return folder


def _class_name(method: str) -> str:
    """Return the name of the method's class: none that Python or the template has for itself."""
    made = "".join(word.capitalize() for word in method.split("-"))
    imports = [line for text in FILES.values() for line in _IMPORTED.findall(text)]
    taken = {name for line in imports for name in line.split(", ")}
    return f"{made}Method" if keyword.iskeyword(made) or made in taken else made
