"""Running one strategy to its end: rounds, tables, progress, checkpoints."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from logging import INFO, WARNING

from flwr.supercore import log

from app.run_directory import Results, RunDirectory
from app.run_directory.checkpoint import Checkpoints
from app.run_directory.export import export_collected
from app.server.clock import make_exchange
from app.server.federation import Federation
from app.settings import Settings
from app.trackers.tracking import Tracking
from clients.data import drift_slots
from models.errors import one_line
from strategies.base import Strategy
from strategies.pooled import Pooled
from strategies.rounds.closing import Closing, make_closing
from strategies.rounds.context import Truth
from strategies.rounds.loop import RoundLoop
from strategies.rounds.options import LoopOptions
from strategies.rounds.record import Ledger, RoundRecord
from strategies.transport.exchange import Rejection

_PROGRESS_EVERY = 0.2


def train_rounds(
    federation: Federation,
    settings: Settings,
    strategy: Strategy,
    results: Results,
    directory: RunDirectory,
    checkpoints: Checkpoints | None = None,
    tracking: Tracking | None = None,
) -> RoundRecord:
    """Run all rounds that are left.

    Parameters
    ----------
    federation : Federation
    settings : Settings
    strategy : Strategy
    results : Results
        Where the tables go.
    directory : RunDirectory
        Where the progress goes.
    checkpoints : Checkpoints, optional
        Written as the settings say; with ``resume`` the newest is continued.
    tracking : Tracking, optional
        Told each round after its checkpoint, so that it knows no more than a resumed run does.

    Returns
    -------
    RoundRecord
        Of the last round.
    """
    own = results.folder.name if checkpoints is None else ""
    uid = directory.uid + own.replace("-", "_")
    exchange, participation = make_exchange(federation, settings, strategy)
    loop = RoundLoop(
        strategy,
        exchange,
        LoopOptions(
            num_rounds=settings.num_server_rounds,
            clients_per_round=settings.clients_per_round,
            seed=settings.seed,
            # One client that holds all data is no matter of a quorum.
            quorum=1 if isinstance(strategy, Pooled) else settings.quorum,
            round_timeout=settings.round_timeout,
            node_wait_timeout=settings.node_wait_timeout,
            forget_after=settings.forget_after,
            evaluate_every=settings.evaluate_every,
            # A baseline is what it is without any fine-tuning.
            evaluate_config={} if checkpoints is not None else {"personalise-epochs": 0},
            slots=drift_slots(settings.drift, settings.drift_args),
            truth=_truth(federation),
        ),
        evaluate_server=(lambda _, arrays: federation.evaluate(arrays, strategy, uid))
        if strategy.serves_all
        else None,
        participation=participation,
        closing=_closing(strategy, settings) if checkpoints is not None else None,
        progress=_Progress(directory, settings.num_server_rounds),
    )
    found = checkpoints.newest() if checkpoints is not None and settings.resume else None
    files = results.folder / "memory"
    if found is None:  # a memory without its checkpoint is of no use
        shutil.rmtree(files, ignore_errors=True)
    strategy.keep_in(files)
    loop.start(federation.initial)
    federation.grid.begin_run(uid, changes=strategy.changes)
    last = RoundRecord(0)
    federation.grid.gate.restore(found.screening if found is not None else {})
    if found is not None:
        federation.roster.recall(found.roster)
        strategy.restore(found.state)
        loop.resume(found.round + 1, found.ledger, found.loop)
        results.keep(found.history, found.round)
        last = RoundRecord.from_json(found.history[-1])
        log(INFO, "continuing after round %d", found.round)
    elif settings.resume and checkpoints is not None:
        log(INFO, "no checkpoint yet: starting from the beginning")
    if tracking is not None:
        tracking.start(results.lines)
    first, began, told = last.round, time.monotonic(), set[str]()
    # By checkpoint, the oldest round whose personal state somebody under way still reads.
    bases: dict[int, int] = {}
    for record in loop.rounds():
        last = _with_refused(record, federation, loop.ledger, told)
        results.add(last)
        results.clients(federation.roster, loop.ledger, last.assignment)
        final = last.round == settings.num_server_rounds
        if checkpoints is not None and (final or last.round % settings.checkpoint_every == 0):
            screening = federation.grid.gate.state()
            roster = federation.roster.to_dicts()
            checkpoints.save(
                *(last.round, strategy.state(), loop.ledger, results.lines, screening, roster),
                loop.state(),
            )
            strategy.saved(checkpoints.oldest)
            bases[last.round] = last.round if loop.oldest_base is None else loop.oldest_base - 1
            kept = [base for saved, base in bases.items() if saved >= checkpoints.oldest]
            oldest = min(checkpoints.oldest, *kept)
            federation.grid.begin_run(uid, oldest, strategy.changes)
        if tracking is not None:
            tracking.round(results.lines[-1])
        elapsed = time.monotonic() - began
        log(INFO, "%s", round_line(last, settings.num_server_rounds, elapsed, first))
    if settings.collect_personal and checkpoints is not None:
        schemas = federation.schemas(settings)
        for client in federation.roster.reachable:
            if client not in schemas:
                log(WARNING, "no adapter of %s: its base is on its node alone", one_line(client))
        collected = loop.collect(schemas)
        export_collected(directory, federation, settings, strategy, collected, last)
    return last


def _truth(federation: Federation) -> Truth | None:
    drift = federation.drift
    return None if drift is None else lambda client, slot: drift.concept(client, slot).number


def _closing(strategy: Strategy, settings: Settings) -> Closing | None:
    name = settings.closing or strategy.own_closing
    return make_closing(name, strategy, settings.closing_args)


def _with_refused(
    record: RoundRecord, federation: Federation, ledger: Ledger, told: set[str]
) -> RoundRecord:
    """Add those who were refused as a whole since the last round, so that nobody just vanishes."""
    fresh = [who for who in federation.refused if who not in told]
    told.update(fresh)
    reasons = {who: one_line(federation.refused[who]) for who in fresh}
    lost = [Rejection(who, record.round, "refused", why) for who, why in reasons.items()]
    for rejection in lost:
        if rejection.client in federation.roster:
            ledger.refused(rejection)
    return replace(record, rejected=(*record.rejected, *lost)) if lost else record


class _Progress:
    """Writes the round's progress, at most five times a second."""

    def __init__(self, directory: RunDirectory, rounds: int) -> None:
        self._directory = directory
        self._rounds = rounds
        self._written = 0.0

    def __call__(self, server_round: int, action: str, done: int, asked: int) -> None:
        now = time.monotonic()
        if done == asked or now - self._written > _PROGRESS_EVERY:
            self._written = now
            self._directory.progress(server_round, self._rounds, action, done, asked)


def round_line(record: RoundRecord, rounds: int, elapsed: float, first: int = 0) -> str:
    """Return one line for the log: who answered, loss, accuracy, time left.

    Parameters
    ----------
    record : RoundRecord
    rounds : int
        Of the run.
    elapsed : float
        Seconds since the run began or was resumed.
    first : int
        The round after which it began.
    """
    parts = [f"round {record.round}/{rounds}"]
    if record.round:
        parts.append(f"clients {record.clients_answered}/{record.clients_asked}")
    if record.train_loss is not None:
        parts.append(f"train loss {record.train_loss:.4f}")
    server, clients = record.server_metrics, record.client_metrics
    if "loss" in server:
        parts.append(f"loss {server['loss']:.4f}")
    if "perplexity" in server:
        parts.append(f"perplexity {server['perplexity']:.2f}")
    if "accuracy" in server:
        parts.append(f"accuracy {server['accuracy']:.4f}")
    if "client_accuracy_mean" in clients:
        worst = clients["client_accuracy_worst_decile"]
        parts.append(f"clients' accuracy {clients['client_accuracy_mean']:.4f} (worst {worst:.4f})")
    if record.rejected:
        parts.append(f"rejected {len(record.rejected)}")
    parts.append(f"{record.seconds:.1f} s")
    if first < record.round < rounds:
        left = elapsed / (record.round - first) * (rounds - record.round)
        parts.append(f"about {left:.0f} s left")
    return " | ".join(parts)
