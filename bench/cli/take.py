"""``export``, ``predict`` and ``frame``: predictors and results that leave the store, and masks of any images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.evaluations import MODE, SIZE, STRIDE, asked_for
from bench.cli.formats import RAW, Select
from bench.cli.inspect import find_run
from bench.cli.options import DATA, JSON, STORE, store_path, takes_request
from bench.cli.output import console, counted, print_json

if TYPE_CHECKING:
    from bench.plan.request import Request
    from bench.store.run import Run

_WHICH = Annotated[Select, typer.Option("--select", help="Which weights of the run.")]


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's directory or id; it must be done.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")],
    select: _WHICH = Select.LAST,
    onnx: Annotated[
        bool,
        typer.Option("--onnx/--no-onnx", help="Also model.onnx, for images of any size, compared with onnxruntime."),
    ] = True,
    benchmark: Annotated[
        str | None,
        typer.Option(
            "--eval-results", metavar="ID", help="Also .eval_results for the Hugging Face Hub; ID of its dataset."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what `export` wrote there before.")] = False,
    data: DATA = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Write a run's predictor: safetensors, a config that rebuilds it, ONNX, and a model card from the store."""
    from bench.data.roots import DataRoots
    from bench.export.sources import Source
    from bench.export.write import export_run

    source = Source.open(find_run(run, store_path(store)), select.value, DataRoots.parse(data or []))
    written = export_run(source, output, onnx=onnx, force=force, benchmark=benchmark or "")
    if as_json:
        print_json({"folder": str(output), "files": written.files, **written.config.model_dump(mode="json")})
        return
    out, config = console(), written.config
    out.print(f"{config.trained.run}, {config.trained.weights} weights, mIoU {config.trained.miou:.2f}: wrote {output}")
    for name, size in written.files.items():
        out.print(f"  {name}  {size / 1e6:.1f} MB" if size >= 1e6 else f"  {name}  {size / 1e3:.1f} kB")
    if config.onnx:
        apart, sizes = config.onnx["largest_difference"], config.onnx["compared_at"]
        said = " and ".join(f"{height}×{width}" for height, width in sizes)
        out.print(f"onnxruntime and torch differ by at most {apart:.1g} at {said}")


def _place(name: str, store: Path | None) -> Run | Path:
    from bench.export.sources import exported_folder

    return exported_folder(name) or find_run(name, store_path(store))


def predict(
    run: Annotated[str, typer.Argument(metavar="RUN|DIR", help="A run's directory or id, or what `export` wrote.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES…", help="Image files, and folders of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The folder to write to.")],
    select: _WHICH = Select.LAST,
    mode: MODE = None,
    size: SIZE = None,
    stride: STRIDE = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also the probability of each class: (K, H, W) float16, .npy.")
    ] = False,
    overlays: Annotated[
        bool, typer.Option("--overlays/--no-overlays", help="The image in the classes' colours.")
    ] = True,
    own_size: Annotated[
        bool,
        typer.Option(
            "--own-size/--evaluated-size", help="Masks as large as the image, or as large as `evaluate` scores them."
        ),
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    data: DATA = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Predict images as the run is evaluated: index masks (PNG with the dataset's colours), overlays, probabilities."""
    from bench.cli.progress import progress_bar
    from bench.data.roots import DataRoots
    from bench.export.images import Asked, named, predict_files
    from bench.export.sources import open_trained
    from bench.spec.sections import OtherEvaluation

    found, asked = named(images), asked_for(None, mode, size, stride) or OtherEvaluation()
    wanted = Asked(output, overlays, probabilities, own_size, force)
    trained = open_trained(_place(run, store), select.value, DataRoots.parse(data or []), asked=asked)
    with progress_bar(f"predicting {counted(len(found), 'image')}", as_json) as watch:
        files = predict_files(trained, found, wanted, watch)
    if as_json:
        classes = [{"index": i, "name": name} for i, name in enumerate(trained.classes)]
        print_json(
            {"run": trained.name, "classes": classes, "images": len(found), "files": [str(path) for path in files]}
        )
        return
    console().print(
        f"{trained.name}: {counted(len(found), 'image')} predicted, wrote {counted(len(files), 'file')} to {output}"
    )


@takes_request
def frame(
    request: Request,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A .csv or .parquet file.")],
    raw: RAW = False,
    as_json: JSON = False,
) -> None:
    """Write one row per run of a grid, with everything that was recorded and all hyperparameters: CSV or Parquet."""
    from bench import api
    from bench.errors import BenchError
    from bench.files import write_atomically, write_if_changed
    from bench.report.formats.spreadsheet import frame_csv
    from bench.text import REPLACE

    kind = output.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise BenchError(f"--output {output}: a frame is written as .csv or .parquet")
    if raw and kind != ".csv":
        raise BenchError(f"--raw --output {output}: is for CSV; Parquet's texts are as they are anyway")
    made = api.frame(request.grid, request.store, request.data, request.sets)
    output.parent.mkdir(parents=True, exist_ok=True)
    if kind == ".parquet":
        write_atomically(output, lambda file: made.to_parquet(file))
    else:
        write_if_changed(output, frame_csv(made, raw).encode(errors=REPLACE))
    facts = {"file": str(output), "version": api.FRAME_VERSION, "runs": len(made), "columns": list(made.columns)}
    if as_json:
        print_json(facts)
    else:
        console().print(
            f"wrote {output}: {counted(len(made), 'run')}, {len(made.columns)} columns, frame version {api.FRAME_VERSION}"
        )
