"""The questions that reviewers ask of an experiment, answered as far as the store knows; the rest is for the authors.

They cover what conferences' checklists ask of experiments (details, significance, compute, access to code and data), in this
project's words.
"""

from __future__ import annotations

from bench.report.description.compute import figures, hours
from bench.report.description.model import UNKNOWN, GridFacts, Item, joined, number
from bench.report.description.words import count_splits, determinism, evaluations, seeds, software, statistics
from bench.report.headline import Rule
from bench.report.tally import counted_values, mixed


def checklist(grid: GridFacts, rule: Rule) -> list[Item]:
    """Return the questions with their answers."""
    return [*_access(grid), *_details(grid, rule), *_results(grid), *_cost(grid)]


def _access(grid: GridFacts) -> list[Item]:
    data = "; ".join(
        f"{found.name}: {found.about.rstrip('.') or f'source {UNKNOWN}'}; fingerprint "
        f"{joined(sha256[:12] for sha256 in found.fingerprints) or UNKNOWN}"
        for found in grid.data
    )
    run, table = grid.commands
    return [
        Item(
            "Can readers get the code, and in which state was it?",
            software(grid),
            "the address of the code, and its licence.",
        ),
        Item(
            "Can readers get the data, and tell that theirs are the same?",
            f"{data}. A run refuses to start on data that have changed.",
            "where the data can be had and under which licence; consent and privacy, where people can be recognised.",
        ),
        Item(
            "Which commands make the results again?",
            f"{run} and {table}.",
            "where the runs can be had, if you publish a bundle of them.",
        ),
    ]


def _details(grid: GridFacts, rule: Rule) -> list[Item]:
    times = joined(map(str, evaluations(grid.runs))) or UNKNOWN
    changed = "; ".join(grid.deviations)
    return [
        Item(
            "Are all settings given, and how were they chosen?",
            f"The passages above give every setting of every run. Changed from the grid's recipe: {changed or 'nothing'}.",
            "how they were chosen, on which images, and how many others were tried.",
        ),
        Item(
            "Which images were labelled?",
            f"{number(count_splits(grid.splits), 'label split')}, listed below with seeds and hashes of image ids; the "
            "label masks of unlabelled images can't be read during training.",
        ),
        Item(
            "How was the checkpoint chosen, and how often were the images of the score looked at?",
            f"{rule.words} Evaluations of a run: {times}.",
        ),
    ]


def _results(grid: GridFacts) -> list[Item]:
    missing = [run for run in grid.runs if not run.done]
    states = joined(f"{sum(r.state == s for r in missing)} {s}" for s in dict.fromkeys(r.state for r in missing))
    names = ", ".join(run.cell.id for run in missing[:5]) + (", …" if len(missing) > 5 else "")
    return [
        Item(
            "What do error bars show, and of how many runs?",
            f"{statistics(grid.runs)} Seeds: {seeds(grid.runs)}.",
            "the tests behind each claim that one method is better.",
        ),
        Item(
            "Is any run left out?",
            f"{number(len(missing), 'planned run')} without a result: {states} ({names})."
            if missing
            else "No planned run is.",
            "why, if a reader can't tell from the reasons." if missing else "",
        ),
        Item(
            "Were all runs made the same way?",
            f"No: {'; '.join(differing)}." if (differing := _differing(grid)) else _same(grid),
        ),
    ]


def _differing(grid: GridFacts) -> list[str]:
    data = [
        f"data of {found.name} {counted_values(found.fingerprints)}"
        for found in grid.data
        if len(found.fingerprints) > 1
    ]
    return [*data, *mixed(grid.software)]


def _same(grid: GridFacts) -> str:
    return "Yes: data, versions, devices and threads are the same." if grid.software else f"{UNKNOWN.capitalize()}."


def _cost(grid: GridFacts) -> list[Item]:
    found = figures(grid.runs)
    return [
        Item(
            "How much compute do the reported runs need?",
            f"{hours(found) if found['runs_counted'] else UNKNOWN.capitalize()} for {number(found['runs_counted'], 'run')}.",
        ),
        Item(
            "How much did the project need beyond them?",
            f"Runs that began and have no result: {found['runs_begun_not_counted']}; their hours aren't recorded.",
            "trials, earlier versions and other grids.",
        ),
        Item("How far can results be repeated bit for bit?", determinism(grid.software)),
        Item(
            "What are the limits of the findings, and who could be harmed by them?",
            "The store can't tell.",
            "limitations, and effects on people.",
        ),
    ]
