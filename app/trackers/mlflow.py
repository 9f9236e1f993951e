"""MLflow: a run in the store of ``MLFLOW_TRACKING_URI``, else in ``mlflow.db`` of the out-dir."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from app.trackers.tracker import Ending, TrackedRun
from models.files import write_text

EXPERIMENT = "bouquet"
_STATES = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
_FOREIGN = re.compile(r"[^\w\-./ ]", re.ASCII)
# The store's limits for one call, and for a name.
_METRICS, _PARAMS, _NAME = 1000, 100, 250


class MLflow:
    """A tracker that writes to an MLflow store; the run's id is kept in the run directory."""

    def start(self, run: TrackedRun, kept: int) -> int:
        """Open the run, the same one again where it is still there; points are never taken back."""
        local = f"sqlite:///{run.folder.parent / 'mlflow.db'}"
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or local)
        place = run.folder / "mlflow-run"
        found = self._known(place)
        if found is None:
            found = self._create(run)
            write_text(place, f"{found}\n")
        self._id = found
        self._client.update_run(found, status="RUNNING")
        there = self._client.get_run(found).data
        # A value once given stays, so only what is new is told.
        fresh = [Param(k, str(v)) for k, v in run.settings.items() if k not in there.params]
        for first in range(0, len(fresh), _PARAMS):
            self._client.log_batch(found, params=fresh[first : first + _PARAMS])
        return int(there.metrics.get("round", -1))

    def _known(self, place: Path) -> str | None:
        if not place.is_file():
            return None
        known = place.read_text().strip()
        try:
            active = self._client.get_run(known).info.lifecycle_stage == "active"
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None  # another store than before
        return known if active else None

    def _create(self, run: TrackedRun) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        tags = {**run.tags, "bouquet.uid": run.uid}
        created = self._client.create_run(number, tags=tags, run_name=run.name)
        return str(created.info.run_id)

    def round(self, number: int, scalars: Mapping[str, float]) -> None:
        """Write one round's numbers; ``round`` last, which says that all are there."""
        now = int(time.time() * 1000)
        names = sorted(scalars, key=lambda name: name == "round")
        points = [Metric(metric_name(name), scalars[name], now, number) for name in names]
        for first in range(0, len(points), _METRICS):
            self._client.log_batch(self._id, metrics=points[first : first + _METRICS])

    def end(self, ending: Ending) -> None:
        """Write how the run ended as tags, and the table as its description."""
        for name, value in ending.facts.items():
            self._client.set_tag(self._id, name, value)
        if ending.table:
            self._client.set_tag(self._id, "mlflow.note.content", f"```\n{ending.table}\n```")
        self._client.set_terminated(self._id, _STATES.get(ending.state, "FAILED"))


def metric_name(name: str) -> str:
    """Return a name that MLflow takes: other characters by their number, ``<`` is ``_3c``."""
    plain = _FOREIGN.sub(lambda c: f"_{ord(c[0]):x}", name)
    # It reads names as paths, which must be in their shortest form.
    parts = [part if part.strip(".") else f"_{part}" for part in plain.split("/")]
    return "/".join(parts)[:_NAME]


TRACKER = MLflow
