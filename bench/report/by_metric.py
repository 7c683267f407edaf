"""Runs scored by another metric than mIoU, from the confusion matrices that they keep."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report.headline import RULES
from bench.report.metrics import METRICS, Margins, Metric, Percent, metric
from bench.report.model import Table
from bench.report.records import Record, Runs
from bench.report.rows import one_line
from bench.store.confusion import read_confusion
from bench.store.evaluations import TOLERANCE, own_ignored
from bench.store.run import Run

if TYPE_CHECKING:
    import pandas as pd

_NONE = "it keeps no confusion matrices, as runs made before they were kept; `evaluate RUN --select {}` writes them"


@dataclass
class Scored:
    """A metric of runs, and why some have none.

    Attributes:
        name, metric: which metric.
        missing: the runs without it, by reason and rule; each a list of ids.
    """

    name: str
    metric: Metric = field(init=False)
    missing: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Look the metric up; raises BenchError if there is none of that name."""
        self.metric = metric(self.name)

    def of(self, store: Path, run_id: str, miou: Mapping[str, Percent]) -> dict[str, tuple[Percent, list[Percent]]]:
        """Return per rule the metric of a run that is done, and its values per class (none where it has none)."""
        found: dict[str, tuple[Percent, list[Percent]]] = {}
        for rule, recorded in miou.items():
            try:
                margins = _margins(Run(store / run_id), rule, recorded)
                classes = self.metric.classes(margins) if self.metric.classes else []
            except BenchError as error:
                self.missing.setdefault((one_line(str(error)), rule), []).append(run_id)
                found[rule] = None, []
            else:
                found[rule] = self.metric.value(margins), classes
        return found

    def warnings(self) -> Iterator[str]:
        """Yield what is missing, and why."""
        for (reason, rule), runs in self.missing.items():
            some = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
            yield f"No {self.metric.title} under rule '{rule}' of {some}: {reason}."


def _margins(run: Run, which: str, miou: Percent) -> Margins:
    """Return the margins of an evaluation.

    Raises:
        BenchError: if there are none, they can't be read, or they aren't those of the recorded score.
    """
    kept = read_confusion(run, which)
    if kept is None:
        raise BenchError(_NONE.format(which))
    margins = Margins.of(kept.images, own_ignored(run))
    found = METRICS["miou"].value(margins)
    if found is None or miou is None or abs(found - miou) > TOLERANCE:
        said = "none" if found is None else f"{found:.2f}"
        raise BenchError(f"confusion-{which}.npz is of another evaluation (mIoU {said}, recorded {miou}); remove it")
    return margins


def scored(store: Path, runs: Runs, name: str, per_class: bool = False) -> tuple[Runs, Scored]:
    """Return the runs with the values of a metric in place of mIoU.

    Args:
        store: the run store.
        runs: from :func:`bench.report.records.load`.
        name: of the metric, one of :data:`bench.report.metrics.METRICS`.
        per_class: whether its values per class are needed.

    Raises:
        BenchError: if there is no such metric, or it has no values per class and they are needed.
    """
    found = Scored(name)
    if per_class and found.metric.classes is None:
        those = ", ".join(key for key, value in METRICS.items() if value.classes)
        raise BenchError(f"--per-class --metric {name}: it has no values per class; those have: {those}")
    return replace(runs, records=[_rescored(store, r, found) for r in runs.records], score=found.metric.title), found


def _rescored(store: Path, record: Record, found: Scored) -> Record:
    if record.run.state != "done":
        return record
    values = found.of(store, record.run.id, record.run.values)
    scores = {rule: value for rule, (value, _) in values.items()}
    unknown = frozenset(rule for rule, value in scores.items() if value is None)
    run = replace(record.run, values=scores, unknown=unknown)
    absent = [None] * len(json.loads(record.classes))
    iou = {rule: json.dumps(classes or absent) for rule, (_, classes) in values.items()}
    return replace(record, run=run, iou=iou, ignored=() if found.metric.by_pixel else record.ignored)


def explained(table: Table, found: Scored, papers: bool) -> Table:
    """Return a table with what its metric is, which runs have none and why, and the metric's name beside every number."""
    said = [f"{found.metric.title}: {found.metric.words}; from the confusion matrices of each run."]
    said += ["Papers report mIoU, so no published figure stands beside it."] if papers else []
    return replace(
        _with_facts(table, {"metric": found.name}),
        warnings=(*table.warnings, *found.warnings()),
        notes=(table.notes[0], *said, *table.notes[1:]),
        facts={**table.facts, "metric": found.name},
    )


def _with_facts(table: Table, facts: Mapping[str, str]) -> Table:
    """Return a table whose cells say more for programs."""
    sections = []
    for section in table.sections:
        rows = (replace(r, cells=tuple(replace(c, facts={**c.facts, **facts}) for c in r.cells)) for r in section.rows)
        sections.append(replace(section, rows=tuple(rows)))
    return replace(table, sections=tuple(sections))


def columns(store: Path, runs: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a metric as a column per rule, `NAME_last` and so on, of the runs of ``bench.report.frame``; NaN where none.

    Raises:
        BenchError: if there is no such metric.
    """
    import pandas as pd

    found, values = Scored(name), []
    for run, *miou in zip(runs["id"], *(runs[f"miou_{rule}"] for rule in RULES), strict=True):
        recorded = {rule: value for rule, value in zip(RULES, miou, strict=True) if pd.notna(value)}
        values.append(found.of(store, run, recorded))
    made = {f"{name.replace('-', '_')}_{rule}": [v[rule][0] if rule in v else None for v in values] for rule in RULES}
    return pd.DataFrame(made, index=runs.index, dtype="float64")
