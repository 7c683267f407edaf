"""Trackio: a project per grid, in ``STORE/.track/trackio/GRID`` or where ``TRACKIO_DIR`` says.

``TRACKIO_DIR=STORE/.track/trackio/GRID trackio show`` shows it. Nothing is sent unless ``TRACKIO_SPACE_ID`` or
``TRACKIO_SERVER_URL`` names a server.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import redirect_stdout

from bench.track.tracker import Record


class Trackio:
    """Writes a run of the project that the grid is, under the cell's id.

    A record that begins anew deletes the one before. Of one that goes on, steps that it has are not written again: a resumed
    run is bit-identical.
    """

    def __init__(self, record: Record) -> None:
        folder = record.folder.parent
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("TRACKIO_DIR", str(folder.resolve()))  # read when it is imported
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        self._known: dict[str, int] = {}
        if record.step == 0:
            SQLiteStorage.delete_run(record.grid, record.run)
        for row in SQLiteStorage.get_logs(record.grid, record.run):
            self._known |= {name: max(self._known.get(name, -1), int(row["step"])) for name in row}
        with redirect_stdout(io.StringIO()):  # how to show it, which belongs into no log
            self._run = trackio.init(
                project=record.grid,
                name=record.run,
                config={"name": record.name, **record.config},
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        # Else the next record, or the process's end, finishes this one as well.
        trackio.context_vars.current_run.set(None)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write values of a step."""
        new = {name: value for name, value in values.items() if step > self._known.get(name, -1)}
        if new:
            self._run.log(new, step=step)

    def close(self) -> None:
        """Write what is still held back."""
        with redirect_stdout(io.StringIO()):
            self._run.finish()


def begin(record: Record) -> Trackio:
    """Begin a record, or go on with it."""
    return Trackio(record)
