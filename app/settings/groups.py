"""The groups of a run: which there are, and who is to know them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from app.settings.settings import Settings
from clients.data import Examples, order_labels
from models.adapters import ADAPTERS
from models.errors import ConfigurationError, DataError, nearest, one_line
from models.fairness.counts import UNKNOWN

_NAMED = 5

Groups = Mapping[str, Collection[str]]
"""By group column, the values that clients have."""


def check_groups(settings: Settings, found: Groups) -> None:
    """Refuse a group column that no client has; one that some lack is unknown there."""
    for column in settings.group_columns:
        if not {*found.get(column, ())} - {UNKNOWN}:
            raise DataError(
                f"group-columns: no client has a column '{column}' with a value in it; "
                "name a column of the clients' data, or leave it out"
            )


def unknown_groups(settings: Settings, clients: Mapping[str, Groups]) -> list[str]:
    """Say which clients know nothing of a group column.

    Parameters
    ----------
    settings : Settings
    clients : mapping
        By client, the values that it has, by group column.
    """
    found = []
    for column in settings.group_columns:
        without = [name for name, has in clients.items() if {*has.get(column, ())} == {UNKNOWN}]
        if without:
            some = ", ".join(without[:_NAMED]) + (", ..." if len(without) > _NAMED else "")
            count = f"{len(without)} of {len(clients)} clients"
            found.append(f"group-columns: '{column}' is unknown at {count}: {one_line(some)}")
    return found


def with_groups(settings: Settings, found: Groups) -> Settings:
    """Fill in the groups that the adapter is to have, where it has any: those that clients know.

    Parameters
    ----------
    settings : Settings
    found : mapping
        By group column, the values that clients have.

    Raises
    ------
    ConfigurationError
        It needs groups, and nothing says which.
    """
    if not ADAPTERS[settings.adapter].takes_groups:
        return settings
    given = dict(settings.adapter_args)
    column = str(given.get("column") or next(iter(settings.group_columns), ""))
    if column and column not in settings.group_columns:
        raise ConfigurationError(
            f"adapter-args: column = '{column}': {nearest(column, settings.group_columns)}; "
            "name it in group-columns too"
        )
    groups = given.get("groups") or list(order_labels({*found.get(column, ())} - {UNKNOWN}))
    if not groups:
        raise ConfigurationError(
            f"adapter = '{settings.adapter}' has singular values for each group, and nothing says "
            "which groups there are: set group-columns to a column of the data"
        )
    filled = {**given, "column": column, "groups": groups}
    return settings.model_copy(update={"adapter_args": filled})


def groups_of(parts: Iterable[Examples]) -> dict[str, set[str]]:
    """Return the values in some examples, by group column."""
    groups: dict[str, set[str]] = {}
    for part in parts:
        for column, values in part.group_values().items():
            groups.setdefault(column, set()).update(values)
    return groups


def comparison_errors(settings: Settings, objective: str) -> list[str]:
    """Say why an objective that compares groups would compare none, or others than the adapter."""
    if objective != "fairness":
        return []
    if not settings.group_columns:
        return [
            "'fairness' compares groups, and nothing says which; set group-columns to a column of "
            "the data"
        ]
    column = str(dict(settings.objective_args).get("column") or "")
    if column and column not in settings.group_columns:
        known = nearest(column, settings.group_columns)
        return [f"column = '{column}': {known}; name it in group-columns too"]
    adapter = ADAPTERS.get(settings.adapter)
    own = str(dict(settings.adapter_args).get("column") or settings.group_columns[0])
    if column and adapter is not None and adapter.takes_groups and column != own:
        return [
            f"column = '{column}', and the groups of adapter '{settings.adapter}' are of '{own}'; "
            "a batch carries one: leave it out, or set column in adapter-args too"
        ]
    return []
