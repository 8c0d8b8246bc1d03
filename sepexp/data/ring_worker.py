"""The reading process: fills its share of every batch and says so. Imports numpy, never torch."""

from __future__ import annotations

import os
import pickle
import traceback
from multiprocessing.connection import Connection
from typing import NamedTuple

from sepexp.data.chunks import Chunks
from sepexp.data.ring import Ring
from sepexp.errors import UserError

PATIENCE = 1.0  # seconds between looks whether the parent still lives


class Task(NamedTuple):
    """Fill the rows `first_row`, `first_row + step`, ... of a slot."""

    ticket: int
    iteration: int  # skipped once the parent wants another
    slot: int
    epoch: int
    first_index: int  # example number of row 0
    first_row: int
    step: int


class Done(NamedTuple):
    """A task came to its end; `mistake` is a user's, `fault` is ours."""

    ticket: int
    mistake: str = ""
    fault: str = ""


def main(pipe: int, memory: int, parent: int) -> None:
    """Serve until the parent closes its end or dies; a pipe's end can't be missed as a signal can.

    Args:
        pipe: Descriptor of the connection to the parent.
        memory: Descriptor of the ring.
        parent: Its process number.
    """
    connection = Connection(pipe)
    try:
        serve(connection, memory, parent)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone or has closed: nobody is left to tell
    finally:
        os._exit(0)  # maps and audio libraries need no goodbye, and none of them may hang


def serve(connection: Connection, memory: int, parent: int) -> None:
    """The first message is the ring's shape and the chunks; every other one is a task."""
    batch_size, slots, pickled = connection.recv()
    try:
        chunks: Chunks = pickle.loads(pickled)  # from our own parent
        ring = Ring(chunks, batch_size=batch_size, slots=slots, file=memory)
    except Exception as error:  # noqa: BLE001  # whatever a foreign class raises must be told
        text = "".join(traceback.format_exception_only(error)).strip()
        connection.send(
            Done(
                -1,
                mistake=f"a loader worker could not rebuild the data ({text}): keep own "
                "classes in a module that can be imported, or set data.num_workers=0",
            )
        )
        return
    while True:
        while not connection.poll(PATIENCE):
            if os.getppid() != parent:
                return
        task = connection.recv()
        connection.send(_answer(chunks, ring, task))


def _answer(chunks: Chunks, ring: Ring, task: Task) -> Done:
    room = ring.rooms[task.slot]
    try:
        for row in range(task.first_row, len(room.index), task.step):
            if ring.wanted[0] != task.iteration:
                break
            chunks.fill(chunks.draw(task.first_index + row, task.epoch), room, row)
    except UserError as error:
        return Done(task.ticket, mistake=str(error))
    except Exception:  # noqa: BLE001  # told to the parent, which raises
        return Done(task.ticket, fault=traceback.format_exc())
    return Done(task.ticket)
