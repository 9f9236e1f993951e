"""The ClientApp: what Flower loads on every node."""

from __future__ import annotations

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from app import node, packs
from app.places import enter_bundle
from app.server.stopping import stop_with_flower
from clients.task import Task
from models.errors import ClientError
from models.messages import BASE, PackHeader, RunIdentity, is_pack, pack_results
from models.records import from_blob, from_stock, to_stock

enter_bundle()
stop_with_flower()

app = ClientApp()


def _state_dir(context: Context) -> str:
    return str(context.run_config.get("state-dir", ""))


def _reply(message: Message, content: dict[str, object]) -> Message:
    config = ConfigRecord({"answer": node.answer(content)})
    return Message(RecordDict({"config": config}), reply_to=message)


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Say which clients this node has."""
    told = {k: str(v) for k, v in message.content.config_records["config"].items()}
    return _reply(message, node.greet(context.node_config, told))


@app.query("prepare")
def prepare(message: Message, context: Context) -> Message:
    """Take the plan, and the base model where one is sent."""
    plan = str(message.content.config_records["config"]["plan"])
    sent = {
        name.removeprefix(BASE): from_blob(record)
        for name, record in message.content.array_records.items()
        if name.startswith(BASE)
    }
    return _reply(message, node.get_ready(context.node_config, _state_dir(context), plan, sent))


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train a pack of clients, or this node's one client for a plain strategy."""
    return _run(message, context, "train")


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluate a pack of clients, or this node's one client for a plain strategy."""
    return _run(message, context, "evaluate")


def _run(message: Message, context: Context, action: str) -> Message:
    if not is_pack(message.content):
        return _run_plain(message, context, action)
    pack = PackHeader.from_content(message.content)
    share_text = node.shares_error_text(context.node_config)
    told = _state_dir(context)
    results = packs.run_pack(context.node_config, told, pack, action, share_text=share_text)
    return Message(pack_results(results, pack.wire, pack.server_round), reply_to=message)


def _run_plain(message: Message, context: Context, action: str) -> Message:
    """Answer a plain Flower strategy: one client, arrays by key, metrics with num-examples."""
    session, client = packs.plain_session(context.node_config, context.run_config)
    config = next(iter(message.content.config_records.values()), ConfigRecord())
    options = {k: v for k, v in config.items() if isinstance(v, str | int | float | bool)}
    server_round = int(config.get("server-round", 0))
    schema = session.plan.parsed_schema
    arrays = from_stock(next(iter(message.content.array_records.values())), dict(schema.facts))
    differences = schema.differences(arrays.schema)
    if differences:
        raise ClientError("schema", "; ".join(differences[:3]))
    # Flower's run id: a plain strategy has no run directory, and cannot resume.
    run = RunIdentity(f"flower_{context.run_id}", max(0, server_round - 1))
    task = Task(client, arrays, server_round, options, run)
    result = packs.run_client(session, task, action)
    metrics = MetricRecord({**result.metrics, "num-examples": result.num_examples})
    content = RecordDict({"metrics": metrics})
    if result.arrays is not None:
        content["arrays"] = to_stock(result.arrays)
    return Message(content, reply_to=message)
