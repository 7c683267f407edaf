"""The other processes of a cell that several train: started, told of each step, and ended with the first one.

The first process is the cell's: it alone has the store, evaluates, writes, and hears signals. The others compute with it,
step by step, and end when it does, however that ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine, streams
from bench.errors import MachineError
from bench.run.child import Child
from bench.run.peer import LOST, STEP, Place, enter, lost_another
from bench.spec.resources import Resources
from bench.store.failures import Failure, Fault
from bench.store.job import Job
from bench.store.run import Run, State

if TYPE_CHECKING:
    import torch

    from bench.train.group import Group

REPORTS = 5.0  # seconds in which a process that others have lost is known to have ended
STUCK = 30.0  # seconds that the first process may still wait for one that has ended; on a GPU it may wait for good
START = 600.0  # seconds in which the others must be ready


class PeerFailed(Exception):  # noqa: N818 (an outcome, not a mistake)
    """Another process of the cell failed or was killed. Attributes: what that means for the run."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class _Peer:
    """Another process, seen from the first one."""

    def __init__(self, job: Job, place: Place) -> None:
        self.name = f"process {place.rank + 1} of {place.size}"
        self.link, theirs = multiprocessing.Pipe()
        with contextlib.closing(theirs):
            self.child = Child(enter, job, place, theirs, modules=job.modules)
        self.ready = self.lost_others = False
        self._failure: Failure | None = None

    def look(self, seconds: float) -> None:
        """Wait until it says something, or has ended."""
        wait([self.link, self.child.alive], seconds)
        with contextlib.suppress(EOFError, OSError):
            while self.link.poll():
                said = self.link.recv()
                if isinstance(said, Failure):
                    self._failure = replace(said, reason=f"{self.name}: {said.reason}")
                else:
                    self.ready = True

    @property
    def failure(self) -> Failure | None:
        """What its end means, where it has ended."""
        if self._failure is None and self.child.ended:
            code = self.child.exit_code()
            how = (
                f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with {code}"
            )
            if code == -signal.SIGKILL:
                how += " (the kernel does this when memory runs out)"
            self._failure = Failure(State.FAILED, f"{self.name} {how}", Fault.NODE)
            self.lost_others = code == LOST
        return self._failure

    def end(self) -> None:
        """End it: it does by itself when nobody is at the other end."""
        self.link.close()
        if not wait([self.child.alive], STUCK):
            self.child.send(signal.SIGKILL)
            wait([self.child.alive], STUCK)


class Team:
    """The processes that train a cell, from the first one.

    Args:
        run, job: the cell.
        resources: of all of them together.
        device: of the first one.

    Attributes:
        each: resources of each process.
        group: for the stepper; None where one process is all.
    """

    def __init__(self, run: Run, job: Job, resources: Resources, device: torch.device) -> None:
        self.run, self.device = run, device
        self.job = replace(job, resources={**resources.model_dump(mode="json"), "device": device.type})
        self.size, self.each = resources.processes, resources.of_process()
        self.gpus = gpus_for_all(self.size) if device.type == "cuda" and self.size > 1 else None
        self.group: Group | None = None
        self._peers: list[_Peer] = []
        self._ended = threading.Event()
        if self.size > 1:
            from bench.train.group import Group

            self.group = Group(0, self.size, self._step)

    @contextlib.contextmanager
    def at_work(self, step: int) -> Iterator[None]:
        """Start the others at a step, the checkpoint's or 0, and end them in the end.

        Raises:
            PeerFailed: if one of them fails or is killed.
        """
        if self.group is None:
            yield
            return
        with tempfile.TemporaryDirectory(prefix="bench-meeting-") as folder:
            try:
                meeting = Path(folder) / "meeting"
                for rank in range(1, self.size):
                    gpu = None if self.gpus is None else self.gpus[rank]
                    self._peers.append(_Peer(self.job, Place(rank, self.size, gpu, str(meeting), step)))
                self._all_ready()
                threading.Thread(target=self._watch, name="peers", daemon=True).start()
                self.group.join(meeting, self.device)
                yield
            except (RuntimeError, OSError) as error:
                failure = self._failure() if lost_another(error) else None
                if failure is None:
                    raise
                streams.say(traceback.format_exc())
                raise PeerFailed(failure) from None
            finally:
                self._end()

    def _all_ready(self) -> None:
        deadline = time.monotonic() + START
        for peer in self._peers:
            while not peer.ready:
                peer.look(1.0)
                if (failure := peer.failure) is not None:
                    raise PeerFailed(failure)
                if time.monotonic() > deadline:
                    raise MachineError(f"{peer.name} was not ready within {START:.0f} s")

    def _step(self) -> None:
        for peer in self._peers:
            peer.link.send(STEP)  # an OSError where it has ended

    def _failure(self) -> Failure | None:
        """Return what the end of one of the others means: of the one whose end is why others ended, where one does soon."""
        deadline = time.monotonic() + REPORTS
        while True:
            for peer in self._peers:
                peer.look(0.0)
            ended = [peer for peer in self._peers if peer.failure is not None]
            first = next((peer for peer in ended if not peer.lost_others), None)
            if first is not None or time.monotonic() > deadline:
                return first.failure if first is not None else ended[0].failure if ended else None
            time.sleep(0.05)

    def _watch(self) -> None:
        """End this process where it waits for good for one that has ended: a GPU's collectives notice nothing."""
        wait([peer.child.alive for peer in self._peers])
        if self._ended.wait(STUCK):
            return
        failure = next(peer.failure for peer in self._peers if peer.child.ended)
        assert failure is not None
        self.run.write_state(failure.state, reason=failure.reason, fault=failure.fault.value)
        streams.say(failure.reason)
        os._exit(1)

    def _end(self) -> None:
        self._ended.set()
        for peer in self._peers:
            peer.end()
        self._peers = []
        assert self.group is not None
        self.group.leave()


def gpus_for_all(size: int) -> list[str]:
    """Return the GPUs of a cell's processes, as ``CUDA_VISIBLE_DEVICES`` spells them.

    Raises:
        MachineError: if there are fewer.
    """
    found = machine.gpus()
    if len(found) < size:
        raise MachineError(
            f"resources.processes: each of {size} processes needs a GPU, and there are {len(found)} here: ask for more, or "
            f"set it to {max(len(found), 1)}"
        )
    return found[:size]
