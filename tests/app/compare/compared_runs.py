"""Finished runs of a comparison, made up, with numbers that are known exactly."""

from __future__ import annotations

import csv
import json

from app.compare.cells import Cell


def finished(cell: Cell, accuracies: list[float], moved: int = 1000, curve: int = 2) -> None:
    """Write what a run leaves behind: `curve` rounds up to the clients' mean, and the clients."""
    cell.folder.mkdir(parents=True)
    middle = sum(accuracies) / len(accuracies)
    lines = [
        {
            "round": number,
            "client_accuracy_mean": middle * number / curve,
            "accuracy": middle,
            "client_accuracy_worst_decile": min(accuracies),
            "bytes_up": moved if number else 0,
            "bytes_down": moved if number else 0,
            "seconds": 1.0,
        }
        for number in range(curve + 1)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (cell.folder / "metrics.jsonl").write_text(text)
    (cell.folder / "config.toml").write_text("")
    (cell.folder / "status.json").write_text('{"state": "finished", "code": 0, "message": ""}')
    with (cell.folder / "clients.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["client", "accuracy_after"])
        table.writerows([f"client-{i}", value] for i, value in enumerate(accuracies))
