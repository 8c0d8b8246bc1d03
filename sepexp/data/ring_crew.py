"""The processes that fill a ring, as their parent sees them."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from sepexp.data.chunks import Chunks
from sepexp.data.ring import Ring
from sepexp.data.ring_worker import Done, Task
from sepexp.errors import UserError

# The child's own sys.path makes it find what this process finds. Nothing else is imported, not
# even the program's main module, as multiprocessing would do.
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from sepexp.data.ring_worker import main; main(*map(int, sys.argv[2:]))"
)
# Several workers share the cores: each one's linear algebra stays in its own thread. And glibc
# keeps freed arrays instead of giving their pages back, which saves a third of a pitch shift.
SETTINGS = {
    "SEPEXP_WORKER": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
}
GRACE = 2.0  # seconds to finish a row before a worker is killed


class Worker(NamedTuple):
    process: subprocess.Popen
    pipe: Connection


class Crew:
    """Workers that each fill their share of every batch, so that the next one is never far.

    Example k of the rank is worker k modulo their number, whatever the batch size: small batches
    keep all of them busy too.

    Raises:
        UserError: The examples can't be sent to another process.
    """

    def __init__(self, chunks: Chunks, ring: Ring, *, batch_size: int, workers: int) -> None:
        try:
            pickled = pickle.dumps(chunks)
        except Exception as error:  # noqa: BLE001  # pickling calls foreign code
            raise UserError(
                f"the data can't be sent to loader workers ({error}): keep own classes in a "
                "module that can be imported, or set data.num_workers=0"
            ) from None
        self.ring, self.batch_size = ring, batch_size
        self._tickets = 0
        self._waiting: dict[int, set[int]] = {}  # ticket -> workers that haven't answered
        self._told: dict[int, tuple[int, int]] = {}  # ticket -> epoch, batch; for messages
        self._failed: dict[int, Exception] = {}  # told when its batch is waited for, not before
        self.workers: list[Worker] = []
        self._end = weakref.finalize(self, _end, self.workers, os.getpid())
        first = (batch_size, len(ring.rooms), pickled)
        with _interrupts_blocked():
            for _ in range(workers):
                self.workers.append(_started(ring.file))
        for number in range(workers):
            self._send(number, first)

    def ask(self, *, slot: int, epoch: int, number: int, first_index: int) -> int:
        """Have a slot filled with batch `number`; returns a ticket to wait for."""
        self._tickets += 1
        ticket = self._tickets
        count = len(self.workers)
        self._waiting[ticket] = set(range(count))
        self._told[ticket] = (epoch, number)
        for worker in range(count):
            row = first_row(worker, number, batch_size=self.batch_size, workers=count)
            wanted = int(self.ring.wanted[0])
            self._send(worker, Task(ticket, wanted, slot, epoch, first_index, row, count))
        return ticket

    def wait(self, ticket: int) -> None:
        """Until all shares of a batch are there.

        Raises:
            UserError: A file could not be read, or a worker was killed.
            RuntimeError: A worker met a fault of ours; its trace is in the message.
        """
        while self._waiting[ticket]:
            self._listen()
        del self._waiting[ticket], self._told[ticket]
        if ticket in self._failed:
            raise self._failed.pop(ticket)

    def drop(self) -> None:
        """Forget what was asked and not waited for; returns when nobody writes to the ring."""
        self.ring.wanted[0] += 1
        while any(self._waiting.values()):
            self._listen()
        self._waiting, self._told, self._failed = {}, {}, {}

    def close(self) -> None:
        """End the workers, the hard way if they don't."""
        self.ring.wanted[0] += 1
        self._end()

    def _listen(self) -> None:
        pipes = {worker.pipe: number for number, worker in enumerate(self.workers)}
        for pipe in wait(list(pipes)):
            assert isinstance(pipe, Connection)
            try:
                done = pipe.recv()
            except (EOFError, ConnectionResetError):
                raise self._died(pipes[pipe]) from None
            self._take(pipes[pipe], done)

    def _take(self, worker: int, done: Done) -> None:
        if done.ticket < 0:  # it never got as far as reading
            raise UserError(done.mistake)
        epoch, number = self._told[done.ticket]
        if done.mistake:
            self._failed[done.ticket] = UserError(done.mistake)
        elif done.fault:
            self._failed[done.ticket] = RuntimeError(
                f"loader worker {worker} failed in batch {number} of epoch {epoch}:\n{done.fault}"
            )
        self._waiting[done.ticket].discard(worker)

    def _send(self, worker: int, message: object) -> None:
        try:
            self.workers[worker].pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise self._died(worker) from None

    def _died(self, number: int) -> UserError:
        process = self.workers[number].process
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        code = process.returncode
        if code is not None and code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        mine = [told for ticket, told in self._told.items() if number in self._waiting[ticket]]
        where = f" while it read batch {mine[0][1]} of epoch {mine[0][0]}" if mine else ""
        return UserError(
            f"loader worker {number} (process {process.pid}) {how}{where}: "
            + _reason(code)
            + "; resume the run with resume=auto"
        )


def first_row(worker: int, number: int, *, batch_size: int, workers: int) -> int:
    """Where a worker's rows of a batch begin; every `workers`-th from there on is its own too."""
    return (worker - number * batch_size) % workers


def _reason(code: int | None) -> str:
    if code == -signal.SIGBUS:
        return "a file of the data was shortened while it was being read, or its disk failed"
    if code == -signal.SIGKILL:
        return (
            "most often the memory ran out, then lower data.num_workers, data.prefetch or "
            "data.batch_size"
        )
    return "its own message stands above, if it had one; data.num_workers=0 reads without workers"


def _started(memory: int) -> Worker:
    ours, theirs = Pipe()
    arguments = [json.dumps(sys.path), str(theirs.fileno()), str(memory), str(os.getpid())]
    process = subprocess.Popen(
        [sys.executable, "-c", START, *arguments],
        stdin=subprocess.DEVNULL,
        pass_fds=(theirs.fileno(), memory),
        env=os.environ | SETTINGS,
    )
    theirs.close()
    return Worker(process, ours)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Children born here never see Ctrl-C: the parent ends them, in order."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(workers: list[Worker], owner: int) -> None:
    if os.getpid() != owner:  # a fork of the owner: not its children
        return
    for worker in workers:
        worker.pipe.close()
    for worker in workers:
        try:
            worker.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
    workers.clear()
