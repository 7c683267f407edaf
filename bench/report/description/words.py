"""The passages of a description: what was run, on what, how it was scored, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.report.description.compute import compute, hours_text
from bench.report.description.model import UNKNOWN, DataFacts, GridFacts, Passage, RunFacts, SplitFacts, joined, number
from bench.report.description.recipe import SECTIONS, Words, methods, options, said, variants
from bench.report.environment import fact
from bench.report.headline import Rule
from bench.report.tally import Tally, counted_values
from bench.report.tuning.standing import images_said, said_settings

SHOWN = 20  # runs that are named one by one
WAITING = frozenset({"pending", "queued"})
# Names that people use; other packages keep theirs.
_NAMES = {"python": "Python", "torch": "PyTorch", "cuda": "CUDA", "cudnn": "cuDNN", "numpy": "NumPy", "scipy": "SciPy"}
_SAID = ("commit", "device_model", "threads")  # facts that are said elsewhere


def passages(grid: GridFacts, rule: Rule) -> list[Passage]:
    """Return the passages, in the order in which a paper tells them."""
    return [
        Passage("Data", data(grid.data)),
        Passage("Label splits", splits(grid.splits)),
        Passage("Methods and recipe", recipe(grid)),
        *([Passage("Choice of hyperparameters", tuning(grid))] if grid.tuning is not None else []),
        Passage("Evaluation and selection", evaluation(grid, rule)),
        Passage("Runs and statistics", runs(grid)),
        Passage("Hardware and compute", compute(grid.runs)),
        Passage("Software and determinism", f"{software(grid)} {determinism(grid.software)}"),
        Passage("How to repeat it", commands(grid)),
    ]


def data(found: Sequence[DataFacts]) -> str:
    """Say which datasets, how many images, and by which hash their content is known."""
    return " ".join(map(_dataset, found))


def _dataset(found: DataFacts) -> str:
    about = f" ({found.about.rstrip('.')})" if found.about else f" (source {UNKNOWN})"
    images = joined(f"{count:,} of {name}" for name, count in found.images.items()) or f"number {UNKNOWN}"
    scored = f", scored on {found.evaluated_on}" if found.evaluated_on else ""
    classes = f", {found.classes} classes" if found.classes else ""
    hashes = joined(f"{sha256[:12]} ({number(count, 'run')})" for sha256, count in found.fingerprints.most_common())
    if len(found.fingerprints) == 1:
        hashes = next(iter(found.fingerprints))[:12]
    prints = f"Its files have the SHA-256 fingerprint {hashes}." if hashes else f"Fingerprint of its files: {UNKNOWN}."
    text = f"{found.name}{about}: images: {images}{scored}{classes}; options: {found.options or 'none'}. {prints}"
    return text + (" The runs were NOT all made on the same data." if len(found.fingerprints) > 1 else "")


def splits(found: Sequence[SplitFacts]) -> str:
    """Say how many label splits there are, of which budgets and seeds."""
    budgets: dict[tuple[str, str, str], list[SplitFacts]] = {}
    for split in found:
        budgets.setdefault((split.dataset, split.protocol, split.labels), []).append(split)
    each = "; ".join(_budget(*key, some) for key, some in budgets.items())
    unknown = sum(not split.sha256 for split in found)
    listed = "The hashes of their lists of image ids are listed below"
    listed += f"; {unknown} are {UNKNOWN} where the data isn't." if unknown else "."
    return (
        f"{number(count_splits(found), 'label split')}, each drawn from its seed alone, never from the method, so that "
        f"methods are compared on the same labelled images: {each}. {listed}"
    )


def count_splits(found: Sequence[SplitFacts]) -> int:
    """Return how many different label splits there are; those whose hash is unknown differ by how they are drawn."""
    return len({split.sha256 or (split.dataset, split.protocol, split.labels, split.seed) for split in found})


def _budget(dataset: str, protocol: str, labels: str, found: Sequence[SplitFacts]) -> str:
    name = labels if protocol in ("", labels) else f"{protocol} {labels}"
    images = joined(sorted({_counts(split) for split in found if split.labelled is not None}))
    seeds = joined(sorted({split.seed for split in found}, key=_numeric))
    return f"{dataset}, {name}: {images or f'number {UNKNOWN}'} images, split seed{_s(seeds)} {seeds}"


def _counts(split: SplitFacts) -> str:
    held_out = f" ({split.held_out:,} of them held out to choose a checkpoint)" if split.held_out else ""
    unlabelled = "" if split.unlabelled is None else f" and {split.unlabelled:,} unlabelled"
    return f"{split.labelled:,} labelled{held_out}{unlabelled}"


def _numeric(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdecimal() else (1 << 62, text)


def _s(words: str) -> str:
    return "s" if " and " in words else ""


def _said_sections(grid: GridFacts) -> list[tuple[str, tuple[str, Words]]]:
    """Return the sections to speak of: a loss that is as by default is no part of an identity, and not worth a word."""
    return [(key, words) for key, words in SECTIONS.items() if key != "loss" or variants(grid.runs, key)]


def recipe(grid: GridFacts) -> str:
    """Say what the methods, the recipe and the seeds are, and what ``--set`` changed."""
    parts = [f"Methods: {methods(grid.runs)}."]
    parts += [f"{title}: {said(grid.runs, key, words)}." for key, (title, words) in _said_sections(grid)]
    parts.append(f"Seeds: {seeds(grid.runs)}.")
    changed = "; ".join(grid.deviations)
    parts.append(f"Deviations from the grid's recipe: {changed or 'none'}.")
    return " ".join(parts)


def tuning(grid: GridFacts) -> str:
    """Say what was searched, how often, on which images, what was chosen, and what it cost."""
    assert grid.tuning is not None
    chosen = [
        f"{one.name}: {said_settings(one.chosen)} (trial {one.chosen.number}, {one.budget} trials)"
        for one in grid.searched
        if one.chosen is not None
    ]
    open_ = len(grid.searched) - len(chosen)
    keys = sorted({key for one in grid.searched for trial in one.group.trials for key in trial.settings})
    trials, reported = (sum(one.hours[side] for one in grid.searched) for side in (0, 1))
    text = (
        f"Every method and protocol had {number(grid.tuning.trials, 'trial')}, trial 0 being the recipe as written; "
        f"searched were {joined(keys) or 'no hyperparameters'}; a setting is that of the trial with the highest mIoU on "
        f"{images_said(grid.tuning)} (evaluation '{grid.tuning.rule}'). {'; '.join(chosen)}."
    )
    text += f" Not chosen yet: {open_}." if open_ else ""
    return f"{text} Trials took {hours_text(trials)} hours, the reported runs {hours_text(reported)}."


def seeds(found: Sequence[RunFacts]) -> str:
    """Say which seeds there are of splits, initial weights and data."""
    known = [run.identity["seeds"] for run in found if run.identity.get("seeds")]
    if not known:
        return joined(sorted({str(run.cell.coords["seed"]) for run in found}, key=_numeric))
    values = {kind: sorted({int(some[kind]) for some in known if kind in some}) for kind in ("split", "init", "data")}
    if all(len(set(some.values())) == 1 for some in known):
        return f"{joined(map(str, values['data']))}, each for label split, initial weights and all other draws"
    names = {"split": "label split", "init": "initial weights", "data": "all other draws"}
    return "; ".join(f"{names[kind]} {joined(map(str, some))}" for kind, some in values.items())


def evaluation(grid: GridFacts, rule: Rule) -> str:
    """Say how runs were scored, how often, and which score counts."""
    protocols = Counter(run.evaluation for run in grid.done)
    how = counted_values(protocols) if len(protocols) > 1 else next(iter(protocols), UNKNOWN)
    settings = said(grid.runs, "evaluation", _intervals)
    times = joined(f"{count:,}" for count in evaluations(grid.runs)) or f"an {UNKNOWN} number of"
    return (
        f"mIoU in % from one confusion matrix over all evaluated images: {how}. Each run was evaluated {settings} while it "
        f"trained: {times} times. {rule.words}"
    )


def _intervals(section: Mapping[str, Any]) -> str:
    rest = options(section, ("every", "mode"))
    return f"every {section.get('every', 0):,} steps" + (f" ({rest})" if rest else "")


def evaluations(found: Sequence[RunFacts]) -> list[int]:
    """Return the numbers of evaluations per run, as planned: one every so many steps, and one at the end."""
    counts = set()
    for run in found:
        every = (run.identity.get("evaluation") or {}).get("every")
        steps = (run.identity.get("schedule") or {}).get("iterations") or run.cell.iterations
        if every and steps:
            counts.add(-(-int(steps) // int(every)))
    return sorted(counts)


def runs(grid: GridFacts) -> str:
    """Say how many runs there are, what ± means, and which are missing and why."""
    found, done = grid.runs, len(grid.done)
    text = f"Done: {done:,} of {number(len(found), 'planned run')}. {statistics(found)}"
    if went := sum(run.went_on for run in found):
        text += f" {number(went, 'run')} went on on other hardware than it began on."
    if changed := sum(run.mixed_code for run in found):
        text += f" {number(changed, 'run')} went on with other code than began it (mixed code)."
    if again := sum(run.attempts > 1 for run in found):
        text += f" {number(again, 'run')} took more than one attempt; a resumed run goes on exactly where it was."
    if merged := sum(run.merged for run in found):
        text += f" {number(merged, 'run')} came from another store, in a bundle with checksums."
    if waiting := sum(run.state in WAITING for run in found):
        text += f" Not begun: {number(waiting, 'run')}."
    missing = [f"{run.cell.id}: {run.status}" for run in found if not run.done and run.state not in WAITING]
    if missing:
        rest = f"; and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        text += f" Not done: {'; '.join(missing[:SHOWN])}{rest}."
    return text


def statistics(found: Sequence[RunFacts]) -> str:
    """Say what stands behind an entry of a table."""
    entries = Counter(run.place for run in found if run.done)
    if not entries:
        return "There is no score yet."
    counts = sorted({entries.get(run.place, 0) for run in found})
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    if counts[-1] == 1:
        return f"Each entry of a table rests on {each} run, so that no spread can be given."
    return f"Each entry of a table is the mean of {each} runs, ± their sample standard deviation over seeds (n − 1)."


def software(grid: GridFacts) -> str:
    """Say which versions and which code the runs were made with, and where they differ."""
    versions = [
        f"{_NAMES.get(column, column)} {_values(of)}" for column, of in grid.software.items() if _is_version(column)
    ]
    commits = Counter(run.commit for run in grid.runs if run.commit)
    dirty = sum(run.dirty for run in grid.runs)
    changed = f", with uncommitted changes in {number(dirty, 'run')}" if dirty else ""
    return f"Versions: {joined(versions) or UNKNOWN}. Code: commit {_values(commits) if commits else UNKNOWN}{changed}."


def _is_version(column: str) -> bool:
    return column in ("python", "cuda", "cudnn") or fact(column).path[:1] == ("packages",)


def _values(values: Counter[str]) -> str:
    return next(iter(values)) if len(values) == 1 else f"NOT the same in all runs: {counted_values(values)}"


def determinism(found: Tally) -> str:
    """Say which switches of determinism were in effect, and what else rounds sums."""
    facts = {column: values for column, values in found.items() if not _is_version(column) and column not in _SAID}
    if not facts:
        return f"Determinism: {UNKNOWN}."
    words = [f"{fact(column).label}: {_values(values)}" for column, values in facts.items()]
    threads = found.get("threads")
    counted = f"; CPU threads a run: {_values(threads)}" if threads else ""
    return (
        f"In effect, as PyTorch reported it: {'; '.join(words)}{counted}. Every random draw is a function of seed, purpose, "
        "step and slot. Results are the same bits on the same model of device, with the same versions and number of threads."
    )


def commands(grid: GridFacts) -> str:
    """Say which commands make the runs and the table again."""
    run, table = grid.commands
    what = "every hyperparameter, its label split and the code's versions"
    return f"The runs: {run}. The table: {table}. A run's id contains a hash of {what}."


def recipes(found: Iterable[RunFacts]) -> dict[str, list[str]]:
    """Return the JSON of each variant of the recipe's parts and sections, for programs."""
    listed = list(found)
    return {key: list(variants(listed, key)) for key in (*SECTIONS, "method", "evaluation", "seeds")}
