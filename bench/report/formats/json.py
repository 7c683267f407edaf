"""A table as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bench.report.formats.view import flat, plain, rounded
from bench.report.model import Facts, Stat, Table, TableCell


def _stat(stat: Stat) -> Facts:
    values = [rounded(value) for value in stat.values]
    found = {"mean": rounded(stat.mean), "sd": rounded(stat.sd), "n": stat.n, "values": values, "text": stat.text}
    return {**found, **{name: plain(value) for name, value in stat.facts.items()}}


def _cell(keys: dict[str, str], cell: TableCell, rules: Sequence[str]) -> Facts:
    runs = [
        {"id": run.id, "seed": run.seed, "evaluation": run.evaluation, "split_sha256": run.split} for run in cell.done
    ]
    stats = {rule: _stat(stat) for rule, stat in cell.stats.items() if rule in rules}
    facts = {name: plain(value) for name, value in cell.facts.items()}
    return {"coords": keys, "planned": cell.planned, "states": cell.states, "runs": runs, **facts, **stats}


def as_data(table: Table) -> Facts:
    """Return the table as JSON types: sections of cells with every rule's mean, sd, n and values per seed, all in %."""
    rules = table.rules
    sections = [
        {"title": section.title, "keys": dict(section.keys), "cells": [_cell(*entry, rules) for entry in flat(section)]}
        for section in table.sections
    ]
    missing = [
        {"id": run.id, "where": run.where, "seed": run.seed, "state": run.state, "status": run.status}
        for run in table.unfinished
    ]
    return {
        "name": table.name,
        "title": table.title,
        "rule": table.rule.name,
        "rule_of_grid": table.rule.grid,
        "unit": "%",
        "done": table.done,
        "planned": table.planned,
        "sections": sections,
        "warnings": list(table.warnings),
        "notes": list(table.notes),
        **{name: plain(value) for name, value in table.facts.items()},
        "unfinished": missing,
    }


def render(table: Table) -> str:
    """Return :func:`as_data` as JSON text."""
    return json.dumps(as_data(table), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
