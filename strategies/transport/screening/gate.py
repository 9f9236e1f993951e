"""The gate that every answer passes, whichever way it came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from models.errors import ClientError, one_line
from models.results import ClientResult
from models.schema import NamedArrays
from strategies.transport.exchange import Action, Rejection, Remark, Reply
from strategies.transport.screening.checks import check_weight, kept_metrics, kept_notes
from strategies.transport.screening.norms import NormMemory, NormRule, clipped, update_norm

_NAMED = 3  # dropped things that a remark names


@dataclass(frozen=True)
class Asked:
    """What a client was asked; an answer is measured against it.

    Attributes
    ----------
    client : str
    action : {"train", "evaluate"}
    server_round : int
    start : NamedArrays or None
        What was sent.
    declared : int or None
        Examples that the client has, as far as the roster knows.
    stream : str
        Key of its node's stream.
    bytes_down : int
    """

    client: str
    action: Action
    server_round: int
    start: NamedArrays | None = None
    declared: int | None = None
    stream: str = ""
    bytes_down: int = 0

    def rejection(self, error: ClientError) -> Rejection:
        """Refuse the answer; foreign text becomes one escaped line."""
        code = one_line(error.code_name, 40)
        return Rejection(self.client, self.server_round, code, one_line(error.detail))

    def remark(self, code: str, detail: str) -> Remark:
        """Note something about the answer."""
        return Remark(self.client, self.server_round, code, one_line(detail))


class Gate:
    """Turns a client's result into an accepted reply or a rejection.

    Sizes, headers, keys, shapes and dtypes were checked while the result was read, before an array
    was built (`models.decoding`); here follow finiteness, norm, weight, metrics and notes.

    Parameters
    ----------
    rule : NormRule, optional
        What is done about updates far larger than usual.
    """

    def __init__(self, rule: NormRule | None = None) -> None:
        self.rule = rule or NormRule()
        self._norms = NormMemory()
        self._put_off = False

    def open_round(self, server_round: int) -> None:
        """Begin a round of training; what was accepted before is the measure now."""
        if not self._put_off:
            self._norms.open_round(server_round)

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Admit updates, in this block, without holding their norms against those before.

        For answers that are there before they count; `limit` makes up for it.
        """
        self._put_off = True
        try:
            yield
        finally:
            self._put_off = False

    def limit(self, reply: Reply, asked: Asked) -> Reply | Rejection:
        """Hold an admitted update against those accepted before, where that was put off."""
        if reply.arrays is None:
            return reply
        try:
            norm = update_norm(reply.arrays, asked.start)
            arrays, about = self._limited(reply.arrays, norm, asked)
        except ClientError as error:
            return asked.rejection(error)
        return replace(reply, arrays=arrays, remarks=(*reply.remarks, *about))

    def admit(self, result: ClientResult, asked: Asked, bytes_up: int = 0) -> Reply | Rejection:
        """Accept a client's result, or say why not."""
        if result.error is not None:
            return asked.rejection(ClientError(*result.error))
        try:
            return self._admitted(result, asked, bytes_up)
        except ClientError as error:
            return asked.rejection(error)

    def _admitted(self, result: ClientResult, asked: Asked, bytes_up: int) -> Reply:
        norm = 0.0
        arrays = result.arrays if asked.action == "train" else None
        if asked.action == "train":
            if arrays is None:
                raise ClientError("keys", "the answer holds no arrays")
            norm = update_norm(arrays, asked.start)
        examples = check_weight(result.num_examples, asked.declared)
        metrics, unusable = kept_metrics(result.metrics)
        notes, unread = kept_notes(result.notes, examples)
        remarks = [
            *_cut(result.num_examples, examples, asked),
            *_dropped("metric", unusable, asked),
            *_dropped("notes", unread, asked),
        ]
        if arrays is not None and not self._put_off:
            arrays, about = self._limited(arrays, norm, asked)
            remarks += about
        return Reply(
            asked.client,
            stream=asked.stream,
            arrays=arrays,
            num_examples=examples,
            metrics=metrics,
            notes=notes,
            bytes_up=bytes_up,
            bytes_down=asked.bytes_down,
            remarks=tuple(remarks),
        )

    def _limited(
        self, arrays: NamedArrays, norm: float, asked: Asked
    ) -> tuple[NamedArrays, list[Remark]]:
        """Hold an update against those accepted before, and remember its norm."""
        median = self._norms.median
        limit = self.rule.factor * median
        remarks = []
        if limit and norm > limit:
            times = f"above {self.rule.factor:g} times the median {median:.4g}"
            said = f"the update's norm {norm:.4g} is {times}"
            if self.rule.policy == "reject":
                raise ClientError("norm", said)
            if self.rule.policy == "clip":
                arrays = clipped(arrays, asked.start, limit / norm)
                norm, said = limit, f"{said}; clipped"
            remarks.append(asked.remark("norm", said))
        self._norms.accept(asked.client, norm)
        return arrays, remarks

    def state(self) -> dict[str, int | list[float]]:
        """Return what a resumed run needs; JSON values."""
        return self._norms.state()

    def restore(self, state: Mapping[str, int | Sequence[float]]) -> None:
        """Take `state`'s result back; an empty mapping forgets everything."""
        self._norms.restore(state)


def _cut(stated: object, examples: int, asked: Asked) -> list[Remark]:
    if stated == examples:
        return []
    return [asked.remark("weight", f"num-examples was more than the {examples} it declared; cut")]


def _dropped(code: str, what: Sequence[str], asked: Asked) -> list[Remark]:
    if not what:
        return []
    more = f" and {len(what) - _NAMED} more" if len(what) > _NAMED else ""
    return [asked.remark(code, f"dropped: {', '.join(what[:_NAMED])}{more}")]
