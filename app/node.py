"""A node's side before any training: what it is, greeting, preparing.

Top-level imports stay light: *hello* must not load torch.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import shutil
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from app.places import code_hash
from app.plugins.packages import installed
from clients.data.spec import DataSpec
from models.errors import BouquetError, DataError, ModelError
from models.files import state_folder, write_text

NodeConfig = Mapping[str, object]


def is_simulated(node: NodeConfig) -> bool:
    """Whether the node holds a share of a divided data set rather than data of its own."""
    return "partition-id" in node and "data-path" not in node


def own_site(node: NodeConfig) -> dict[str, str]:
    """Return data path by client id, for a node with data of its own."""
    if is_simulated(node):
        return {}
    path, client = str(node.get("data-path", "")), str(node.get("client-id", ""))
    if not path:
        raise DataError(
            "this node has neither data-path nor partition-id; start flower-supernode with "
            '--node-config \'client-id="hospital-a" data-path="/data/a"\''
        )
    if not Path(path).is_absolute():
        raise DataError(f"data-path '{path}' is relative; give an absolute path")
    return {client or Path(path).name: path}


def own_model(node: NodeConfig) -> str:
    """Return the base model that a node has of its own; empty where it takes the run's."""
    return "" if is_simulated(node) else str(node.get("model", ""))


def own_state(node: NodeConfig, told: str) -> Path:
    """Return the node's state folder; a simulated node takes the server's."""
    own = str(node.get("state-dir", ""))
    return state_folder(own or (told if is_simulated(node) else ""))


def greet(node: NodeConfig, told: Mapping[str, str]) -> dict[str, object]:
    """Answer *hello*: the node's clients and what it is.

    Parameters
    ----------
    node : mapping
        The node's configuration.
    told : mapping
        ``data`` (a DataSpec as JSON), ``model``, ``state-dir``, ``plugins`` (versions by package,
        as JSON, of what the run's methods need).

    Returns
    -------
    dict
        ``clients`` (a card each), ``base`` (fingerprint, or None where it would have to be
        shipped), ``shipped`` (bases here), ``workers``, ``persistent``, ``pools``, ``code``,
        ``versions``, ``plugins`` (versions of packages with methods), ``broken-plugins`` (reasons);
        or ``error``.
    """
    try:
        return _greet(node, told)
    except BouquetError as error:
        return {"error": str(error)}
    except Exception as error:  # a node must answer whatever is wrong with it
        return {"error": f"{type(error).__name__} while reading its data"}


def _greet(node: NodeConfig, told: Mapping[str, str]) -> dict[str, object]:
    from models.checkpoint import fingerprint, resolve_checkpoint

    spec = DataSpec.from_json(told["data"])
    state = own_state(node, told["state-dir"])
    bases = state / "bases"
    site = own_site(node)
    base = None
    # A base that is not here may still be shipped; preparing says what is wrong otherwise.
    with contextlib.suppress(ModelError):
        folder = resolve_checkpoint(own_model(node) or told["model"], bases)
        base = fingerprint(folder, bases) if folder else None
    if site:
        from clients.data.cards import site_card

        cards = [site_card(spec, path, client, state / "cards") for client, path in site.items()]
        if not shares_labels(node):
            cards = [{**card, "label_counts": None} for card in cards]
    else:
        from clients.data import describe_client, load_federation

        federation = load_federation(spec)
        mine = own_share(federation.client_ids, node)
        cards = [
            {**describe_client(federation.client(client)), "examples": most}
            for client in mine
            for most in (federation.most_examples(client),)
        ]
    if "rank" in node:
        cards = [{**card, "rank": _rank(node["rank"])} for card in cards]
    if own_model(node):
        cards = [{**card, "variant": own_model(node)} for card in cards]
    workers, persistent = _workers(node)
    plugins = installed()
    wanted = dict(json.loads(told.get("plugins", "{}"))).keys() & plugins.keys()
    return {
        "clients": cards,
        "base": base,
        "shipped": sorted(p.parent.name for p in bases.glob("*/config.json")),
        "workers": workers,
        "persistent": persistent,
        "pools": not site,
        "code": code_hash(),
        "versions": {name: _version(name) for name in ("flwr", "torch", "transformers", "peft")},
        "plugins": plugins,
        "broken-plugins": _broken(wanted) if wanted else {},
        "seconds": time.time(),
        "free-bytes": shutil.disk_usage(state).free if state.is_dir() else None,
    }


def _broken(packages: Collection[str]) -> dict[str, str]:
    """Return why methods of packages cannot be used here, by package."""
    from app.registry import registry  # loads the packages: only where the run needs one

    found = [broken for broken in registry().broken if broken.package.name in packages]
    return {broken.package.name: str(broken) for broken in found}


def _rank(stated: object) -> int:
    if not str(stated).isdecimal() or int(str(stated)) < 1:
        raise DataError(f"this node's rank is '{stated}'; give a whole number of at least 1")
    return int(str(stated))


def own_share(clients: tuple[str, ...], node: NodeConfig) -> list[str]:
    """Return the clients that a node of a divided data set hosts."""
    index, count = int(str(node["partition-id"])), int(str(node["num-partitions"]))
    mine = [client for i, client in enumerate(clients) if i % count == index]
    if not mine:
        raise DataError(
            f"node {index} of {count} has no client: there are only {len(clients)} clients; "
            f"start at most {len(clients)} nodes or raise num-clients"
        )
    return mine


def _truthy(value: object) -> bool:
    return str(value).lower() in {"1", "true", "yes"}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def cpus_given() -> int:
    """CPUs that Ray gave this actor; 0 outside Ray."""
    if "ray" not in sys.modules:
        return 0
    import ray

    if not ray.is_initialized():
        return 0
    return int(ray.get_runtime_context().get_assigned_resources().get("CPU", 0))


def _workers(node: NodeConfig) -> tuple[int, bool]:
    """Return how many messages this node can work on at once, and whether processes stay."""
    cpus = cpus_given()
    if not cpus:
        return 1, False
    import ray

    actors = int(ray.cluster_resources().get("CPU", cpus) // cpus)
    return max(1, actors // int(str(node["num-partitions"]))), True


# ---- preparing ---------------------------------------------------------------------------


def get_ready(
    node: NodeConfig, told: str, plan_text: str, sent: Mapping[str, bytes]
) -> dict[str, object]:
    """Answer *prepare*: keep the plan, and the bases that were sent, by fingerprint.

    Returns
    -------
    dict
        ``base`` (the fingerprint found here) or ``error``.
    """
    from clients.plan import Plan
    from models.checkpoint import fingerprint, resolve_checkpoint, unpack_checkpoint

    try:
        plan = Plan.from_json(plan_text)
        state = own_state(node, told)
        bases = state / "bases"
        for mark, data in sent.items():
            unpack_checkpoint(data, mark, bases)
        own = own_model(node)
        if not own and not plan.base:
            return {
                "error": "the server has no base model to give: state `model` in this node's "
                "configuration"
            }
        known = {**dict(plan.variants), plan.model: plan.base}
        others = [model for model, _ in plan.variants] if is_simulated(node) else []
        found = ""
        for model in [own] if own else [plan.model, *others]:
            wanted = known.get(model, "")
            folder = resolve_checkpoint(model, bases, wanted)
            if folder is None:
                return {
                    "error": f"it has no base {wanted or model} and none was sent; set "
                    "ship-model='on', or install the checkpoint on the node"
                }
            mark = fingerprint(folder, bases)
            if found and mark != wanted:
                return {
                    "error": f"its base '{model}' has fingerprint {mark}, the server's has "
                    f"{wanted}: install the same checkpoint there"
                }
            found = found or mark
        write_text(plan_file(state, plan.hash), plan_text)
        return {"base": found}
    except BouquetError as error:
        return {"error": str(error)}
    except Exception as error:  # as in `greet`
        return {"error": f"{type(error).__name__} while preparing"}


def plan_file(state: Path, name: str) -> Path:
    """Return where a plan is kept, by its hash."""
    return state / "plans" / f"{name}.json"


def shares_personal(node: NodeConfig) -> bool:
    """Whether a client's own adapter may leave the node: always in simulation, else if it says."""
    return is_simulated(node) or _truthy(node.get("share-personal"))


def shares_labels(node: NodeConfig) -> bool:
    """Whether counts by label may leave the node: always in simulation, else if it says."""
    return is_simulated(node) or _truthy(node.get("share-label-counts"))


def shares_error_text(node: NodeConfig) -> bool:
    """Whether a failure's own words may leave the node: always in simulation, else if it says."""
    return is_simulated(node) or _truthy(node.get("share-error-text"))


def answer(content: Mapping[str, object]) -> str:
    """Write a query's answer as JSON."""
    return json.dumps(content)
