"""Greeting and preparing nodes: how the roster is learned and what a node is given once."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from logging import INFO, WARNING

from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore import log

from models.errors import DataError, ModelError, ParticipationError, one_line
from models.messages import BASE, HELLO, PREPARE
from models.records import to_blob
from strategies.transport.greeting import Greeting, read_greeting
from strategies.transport.polling import Poller, pull_all
from strategies.transport.preparation import Preparation
from strategies.transport.roster import Client, Roster, natural_key

_SETTLING = 5.0  # seconds; a SuperNode asks its SuperLink every 3
_GREETINGS = 3  # of a node whose process was lost meanwhile


@dataclass
class Registrar:
    """Keeps the roster in step with the nodes.

    Parameters
    ----------
    grid : Grid
        Flower's own.
    hello : mapping
        What nodes are told in *hello*: where the data is, the model, the state folder.
    code : str
        Hash of this side's code; a node that runs other code is refused.
    timeout : float
        Seconds to wait for nodes and for their answers.
    plugins : mapping
        Versions of the packages that bring the run's methods, by name; a node that has others, or
        on which they do not load, is refused.
    """

    grid: Grid
    hello: Mapping[str, str]
    code: str
    timeout: float = 120.0
    plugins: Mapping[str, str] = field(default_factory=dict)
    roster: Roster = field(default_factory=Roster)
    refused: dict[str, str] = field(default_factory=dict)
    preparation: Preparation | None = None
    greetings: dict[int, Greeting] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)
    _lost: dict[int, int] = field(default_factory=dict)
    _waiting: dict[int, Greeting] = field(default_factory=dict)

    def gather(self, needed: int) -> None:
        """Wait until at least `needed` clients are known.

        Raises
        ------
        ParticipationError
            Fewer came in time; says how many.
        DataError
            As before, or none of the connected nodes can take part; says why.
        """
        began = time.monotonic()
        deadline = began + self.timeout
        quiet_since = began
        poller = Poller()
        while True:
            known = len(self._seen)
            self._greet_new(deadline)
            if len(self.roster) >= max(1, needed):
                return
            now = time.monotonic()
            if len(self._seen) > known:
                quiet_since = now
            # Nodes that are just starting get a moment to come; those refused will not change.
            hopeless = self._seen and not len(self.roster) and now - quiet_since >= _SETTLING
            if hopeless or now >= deadline:
                message = (
                    f"too few clients after {now - began:.0f} s (node-wait-timeout is "
                    f"{self.timeout:g} s): have {len(self.roster)}, need {max(1, needed)}; "
                    f"{len(self._seen)} nodes are connected{self._reasons()}"
                )
                raise DataError(message) if self.refused else ParticipationError(message)
            poller.rest(deadline)

    def refresh(self) -> None:
        """Greet and prepare nodes that came, mark those that went."""
        present = set(self.grid.get_node_ids())
        for gone in [n for n in self.roster.nodes if n not in present]:
            log(WARNING, "node of %s is not connected any more", self.roster.nodes[gone].stream)
            self.roster.leave(gone)
        self._seen &= present
        fresh = self._let_in(present)
        if present - self._seen:
            fresh += self._greet_new(time.monotonic() + self.timeout)
        if fresh and self.preparation is not None:
            self.prepare(self.preparation, fresh)

    def prepare(self, preparation: Preparation, nodes: Sequence[int] | None = None) -> None:
        """Give nodes the plan, and the base where they lack it; refuse clients with another base.

        Parameters
        ----------
        preparation : Preparation
        nodes : sequence of int, optional
            Only these; all by default.
        """
        self.preparation = preparation
        wanted = list(self.roster.nodes) if nodes is None else list(nodes)
        blobs: dict[str, ArrayRecord] = {}
        messages: dict[int, Message] = {}
        for node_id in wanted:
            content = RecordDict({"config": ConfigRecord({"plan": preparation.plan})})
            for fingerprint, ship in preparation.lacking(self.greetings[node_id]).items():
                if fingerprint not in blobs:
                    blobs[fingerprint] = to_blob(ship())
                content[f"{BASE}{fingerprint}"] = blobs[fingerprint]
            messages[node_id] = Message(content, node_id, PREPARE)
        answers = self._ask(messages, time.monotonic() + self.timeout)
        for node_id in wanted:
            answer = answers.get(node_id, "no answer in time")
            problem = answer if isinstance(answer, str) else _said(answer)
            if not problem and isinstance(answer, dict):
                problem = preparation.problem(self.greetings[node_id], answer["base"])
                if answer["base"] == preparation.base and self.greetings[node_id].variant:
                    self.roster.same_model(node_id)
            if problem:
                self._refuse(node_id, problem)
            if isinstance(answer, str):
                self._greet_later(node_id)
        if nodes is None and wanted and not self.roster.reachable:
            raise ModelError(f"no client is left to train:{self._reasons()}")

    def reprepare(self, node_id: int) -> None:
        """Give one node plan and base again; it lost them."""
        if self.preparation is not None:
            greeting = self.greetings[node_id]
            self.greetings[node_id] = replace(greeting, base=None, shipped=())
            self.prepare(self.preparation, [node_id])

    def greet_again(self, node_id: int) -> str:
        """Send one more greeting, whose reply says nothing new; return the message's id."""
        content = RecordDict({"config": ConfigRecord(dict(self.hello))})
        (message_id,) = self.grid.push_messages([Message(content, node_id, HELLO)])
        return str(message_id)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Union of all clients' label names, numbers in numeric order."""
        names = {label for greeting in self.greetings.values() for label in greeting.labels}
        return tuple(sorted(names, key=natural_key))

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of data the clients hold."""
        return frozenset(greeting.kind for greeting in self.greetings.values())

    # ---- below ---------------------------------------------------------------------------

    def _greet_new(self, deadline: float) -> list[int]:
        new = [node for node in self.grid.get_node_ids() if node not in self._seen]
        if not new:
            return []
        content = {node: RecordDict({"config": ConfigRecord(dict(self.hello))}) for node in new}
        messages = {node: Message(content[node], node, HELLO) for node in new}
        answers = self._ask(messages, deadline)
        joined = []
        for node_id, answer in sorted(answers.items()):
            self._seen.add(node_id)
            error = answer if isinstance(answer, str) else _said(answer)
            if error or isinstance(answer, str):
                self.refused[f"node {node_id}"] = error
                log(WARNING, "a node cannot take part: %s", error)
                if isinstance(answer, str):
                    self._greet_later(node_id)
                continue
            try:
                greeting = read_greeting(node_id, answer)
            except (KeyError, TypeError, ValueError) as problem:
                self.refused[f"node {node_id}"] = f"unreadable hello ({type(problem).__name__})"
                continue
            if greeting.code != self.code:
                self.refused[greeting.node.stream] = (
                    f"it runs other code ({greeting.code}) than the server ({self.code}): "
                    "stop the local SuperLink that another checkout started, or update the node"
                )
                continue
            if lacking := greeting.lacks(self.plugins):
                self.refused[greeting.node.stream] = one_line(lacking, 1000)
                log(WARNING, "%s refused: %s", greeting.node.stream, one_line(lacking, 1000))
                continue
            clash = [c.id for c in greeting.clients if self._held_elsewhere(c)]
            if clash:
                # A SuperNode that was killed stays connected for a minute after its successor came.
                self._waiting[node_id] = greeting
                self.refused[greeting.node.stream] = (
                    f"client-id '{clash[0]}' is taken by another connected node; "
                    "this one can take part when that one is gone"
                )
                continue
            self._welcome(greeting)
            joined.append(node_id)
        return joined

    def _welcome(self, greeting: Greeting) -> None:
        names = [c.id for c in greeting.clients]
        for name in (*names, f"node {greeting.node.id}"):
            self.refused.pop(name, None)
        self.greetings[greeting.node.id] = greeting
        self.roster.join(greeting.node, greeting.clients)
        log(INFO, "node with %d clients: %s%s", len(names), names[0], _more(names))

    def _let_in(self, present: Collection[int]) -> list[int]:
        """Welcome nodes whose clients no other connected node has any more."""
        joined = []
        for node_id, greeting in list(self._waiting.items()):
            if node_id not in present:
                del self._waiting[node_id]
            elif not any(map(self._held_elsewhere, greeting.clients)):
                self._welcome(self._waiting.pop(node_id))
                joined.append(node_id)
        return joined

    def _greet_later(self, node_id: int) -> None:
        """Greet a node again at the next refresh: only its process was lost."""
        self._lost[node_id] = self._lost.get(node_id, 0) + 1
        if self._lost[node_id] < _GREETINGS:
            self._seen.discard(node_id)

    def _held_elsewhere(self, client: Client) -> bool:
        if client.id not in self.roster:
            return False
        known = self.roster[client.id].node
        return known != client.node and known in self.roster.nodes

    def _ask(
        self, messages: Mapping[int, Message], deadline: float
    ) -> dict[int, dict[str, object] | str]:
        ids = list(self.grid.push_messages(list(messages.values())))
        asked = dict(zip(ids, messages, strict=True))
        answers: dict[int, dict[str, object] | str] = {}
        for message in pull_all(self.grid, asked, deadline):
            node_id = asked[message.metadata.reply_to_message_id]
            if message.has_error():
                answers[node_id] = f"its ClientApp failed: {one_line(message.error.reason)}"
                continue
            try:
                config = message.content.config_records["config"]
                answers[node_id] = dict(json.loads(str(config["answer"])))
            except (KeyError, TypeError, ValueError) as problem:
                answers[node_id] = f"unreadable answer ({type(problem).__name__})"
        return answers

    def _reasons(self) -> str:
        """Return one line a reason, with all who were refused for it."""
        refused: dict[str, list[str]] = {}
        for who, why in self.refused.items():
            refused.setdefault(why, []).append(who)
        return "".join(f"\n  - {', '.join(who)}: {why}" for why, who in refused.items())

    def _refuse(self, node_id: int, problem: str) -> None:
        names = [c.id for c in self.roster if c.node == node_id]
        for name in names:
            self.refused[name] = problem
        log(WARNING, "%s%s refused: %s", names[0] if names else node_id, _more(names), problem)
        self.roster.leave(node_id)


def _said(answer: Mapping[str, object]) -> str:
    """Return a node's own explanation; it may be long, since it tells how to mend the node."""
    return one_line(str(answer.get("error") or ""), 1000)


def _more(names: Sequence[str]) -> str:
    return f" ... {names[-1]}" if len(names) > 1 else ""
