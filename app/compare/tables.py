"""A comparison as CSV and JSON, and as cells of text."""

from __future__ import annotations

import csv
import io
import json

from app.compare.comparison import Comparison, findings
from app.compare.outcomes import Measure
from app.compare.statistics import Interval
from app.report.wording import UNKNOWN, duration, percent, points, size


def written(value: Interval | None, measure: Measure) -> str:
    """Write a mean and half of its interval in the measure's unit."""
    if value is None:
        return UNKNOWN
    half = value.half
    match measure.unit:
        case "percent":
            return percent(value.mean) + (f" ± {100 * half:.1f}" if half is not None else "")
        case "points":
            return points(value.mean) + (f" ± {100 * half:.1f}" if half is not None else "")
        case "bytes":
            return size(value.mean)
        case "seconds":
            return duration(value.mean)
    return f"{value.mean:g}"


def runs_csv(comparison: Comparison) -> str:
    """Return one line a run: method, seed and every score."""
    out = io.StringIO()
    keys = [measure.key for measure in comparison.measures]
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["method", "seed", *keys])
    for one in comparison.outcomes:
        table.writerow([one.method, one.seed, *(one.scores.get(key, "") for key in keys)])
    return out.getvalue()


def comparison_csv(comparison: Comparison) -> str:
    """Return one line a method: seeds, mean and half width of each score."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    keys = [measure.key for measure in comparison.measures]
    heads = [name for key in keys for name in (key, f"{key}_half_width")]
    table.writerow(["method", "seeds", *heads])
    for row in comparison.rows:
        cells: list[object] = []
        for key in keys:
            found = row.scores.get(key)
            half = found.half if found is not None else None
            cells += ["" if found is None else found.mean, "" if half is None else half]
        table.writerow([row.method, len(row.seeds), *cells])
    return out.getvalue()


def comparison_json(comparison: Comparison) -> str:
    """Return everything as JSON."""
    value = {
        "name": comparison.name,
        "seeds": comparison.seeds,
        "target": comparison.target,
        "findings": findings(comparison),
        "missing": comparison.missing,
        "methods": [
            {
                "method": row.method,
                "seeds": row.seeds,
                "scores": {
                    key: {"mean": s.mean, "half_width": s.half, "count": s.count}
                    for key, s in row.scores.items()
                },
            }
            for row in comparison.rows
        ],
        "pairs": [
            {
                "one": pair.one,
                "other": pair.other,
                "difference": pair.difference.mean,
                "half_width": pair.difference.half,
                "p_value": pair.p_value,
                "distinguishable": pair.distinguishable,
                "clients_better": pair.clients_better,
                "clients_p_value": pair.clients_p_value,
            }
            for pair in comparison.pairs
        ],
        "runs": [
            {"method": one.method, "seed": one.seed, "scores": dict(one.scores)}
            for one in comparison.outcomes
        ],
        "settings": dict(comparison.settings),
    }
    return json.dumps(value, indent=1, default=str)
