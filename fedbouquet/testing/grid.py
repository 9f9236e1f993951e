"""A Flower grid in this process: server and clients run in milliseconds, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import uuid4

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity


class LocalGrid(Grid):
    """Runs a ClientApp in this process, one message after the other.

    Parameters
    ----------
    app : ClientApp
    nodes : sequence of mapping
        The configuration of each node, e.g. ``{"partition-id": 0, "num-partitions": 2}``.
    run_config : mapping, optional
    tamper : callable, optional
        ``(message, reply) -> reply or None``, to let a test spoil or swallow answers.

    Attributes
    ----------
    sent : list of (str, int)
        Type and node of every message so far.
    """

    def __init__(
        self,
        app: ClientApp,
        nodes: Sequence[Mapping[str, str | int | float | bool]],
        run_config: Mapping[str, str | int | float | bool] | None = None,
        tamper: Callable[[Message, Message], Message | None] | None = None,
    ) -> None:
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
        self._app = app
        self.nodes = {1000 + i: dict(node) for i, node in enumerate(nodes)}
        self._run_config = dict(run_config or {})
        self._tamper = tamper
        self._answers: dict[str, Message] = {}
        self.sent: list[tuple[str, int]] = []

    def set_run(self, run: Run) -> None:
        """Not needed here."""

    @property
    def run(self) -> Run:
        """An empty run."""
        return Run.create_empty(run_id=1)

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Make a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the nodes' ids."""
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Run each message at once."""
        ids = []
        for message in messages:
            message_id = str(uuid4())
            message.metadata.__dict__["_message_id"] = message_id
            self.sent.append((message.metadata.message_type, message.metadata.dst_node_id))
            answer = self._answer(message)
            if self._tamper is not None:
                answer = self._tamper(message, answer)
            if answer is not None:
                self._answers[message_id] = answer
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the answers that are there."""
        return [self._answers.pop(i) for i in message_ids if i in self._answers]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push and pull."""
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message:
        node_id = message.metadata.dst_node_id
        context = Context(
            run_id=1,
            node_id=node_id,
            node_config=dict(self.nodes[node_id]),
            state=RecordDict({"nothing": ConfigRecord()}),
            run_config=dict(self._run_config),
        )
        try:
            return self._app(message, context)
        except Exception as error:  # as Flower's own runtime does
            return Message(Error(code=2, reason=f"{type(error).__name__}"), reply_to=message)
