"""From examples to batches, in order, from wherever an epoch was left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import torch

from sepexp.data.batch import Batch, view
from sepexp.data.chunks import Chunks, Example
from sepexp.data.pinning import pin
from sepexp.data.ring import Ring
from sepexp.data.ring_crew import Crew
from sepexp.errors import UserError

HELD = 2  # batches that a user may hold: the one in its step, and the one fetched ahead of it


class Loader:
    """Batches of one rank for one epoch after another.

    Example j of batch b on rank r is number (b * world + r) * batch_size + j of the epoch, so the
    examples of a step don't depend on how it is split over ranks, nor on workers and prefetching.

    A batch's tensors are valid until the second next batch is asked for: then their memory is
    filled again. Whoever keeps one longer clones it. A device copy that doesn't block is announced
    by `copied`, and waited for before the memory is filled again.

    Args:
        chunks: The examples.
        batch_size: For each rank.
        rank: Of this process.
        world: Number of processes.
        workers: Reading processes; 0 reads in this one.
        prefetch: Batches that workers read ahead.
        position: Asked when an epoch begins: (epoch, batches of it that are done already).
        pinned: Lock the batches' memory, so that copies to a GPU run beside the computation.

    Raises:
        UserError: A number is out of range, or there is too little memory.
    """

    def __init__(
        self,
        chunks: Chunks,
        *,
        batch_size: int,
        rank: int,
        world: int,
        workers: int,
        prefetch: int,
        position: Callable[[], tuple[int, int]],
        pinned: bool = False,
    ) -> None:
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("num_workers", workers, 0),
            ("prefetch", prefetch, 1),
        ):
            if value < least:
                raise UserError(f"data.{name} is {value}: expected at least {least}")
        self.chunks, self.batch_size = chunks, batch_size
        self.rank, self.world, self.position = rank, world, position
        self.workers, self.prefetch, self.pinned = workers, prefetch, pinned
        self.waited = 0.0  # seconds that users have waited for batches so far
        self._ring: Ring | None = None
        self._crew: Crew | None = None
        self._batches: list[Batch] = []  # tensors over the ring's rooms
        self._held: deque[int] = deque()  # slots whose batches a user may still look at
        self._copies: dict[int, Any] = {}  # slot -> event behind its last copy
        self._unpin: Callable[[], Any] | None = None

    def __len__(self) -> int:
        return max(1, len(self.chunks) // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[Batch]:
        # A generator, so that the position is asked for with the first batch, not before.
        began = time.perf_counter()
        epoch, done = self.position()
        ring = self._opened()
        if self._crew is not None:
            self._crew.drop()
        free = deque(slot for slot in range(len(ring.rooms)) if slot not in self._held)
        asked: deque[tuple[int, int]] = deque()  # slot, ticket
        todo = deque(range(done, len(self)))
        while todo or asked:
            if len(self._held) == HELD:
                free.append(self._released())
            if self._crew is None:
                slot = free.popleft()
                self._fill(ring.rooms[slot], epoch, todo.popleft())
            else:
                while free and todo:
                    asked.append(self._asked(free.popleft(), epoch, todo.popleft()))
                slot, ticket = asked.popleft()
                self._wait(ticket)
            self._held.append(slot)
            self.waited += time.perf_counter() - began
            yield self._batches[slot]
            began = time.perf_counter()

    def first_index(self, number: int) -> int:
        """The number of the first example of a batch; the others follow it."""
        return (number * self.world + self.rank) * self.batch_size

    def copied(self, batch: Batch) -> None:
        """A copy of this batch to a GPU has been queued on the current stream."""
        for slot, mine in enumerate(self._batches):
            if mine.stems.data_ptr() == batch.stems.data_ptr():
                self._copies[slot] = torch.cuda.Event()
                self._copies[slot].record()

    def close(self) -> None:
        """End the workers and let the memory go; the next epoch would start anew."""
        if self._crew is not None:
            self._crew.close()
        for event in self._copies.values():
            event.synchronize()
        if self._unpin is not None:
            self._unpin()
        self._crew = self._ring = self._unpin = None
        self._batches, self._copies = [], {}
        self._held.clear()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the trainer knows the position. That this exists says "resumable"."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""

    def _opened(self) -> Ring:
        if self._ring is None:
            slots = HELD + (self.prefetch if self.workers else 0)
            self._ring = ring = Ring(
                self.chunks, batch_size=self.batch_size, slots=slots, shared=self.workers > 0
            )
            if self.pinned:
                self._unpin = pin(ring)
            if self.workers:
                self._crew = Crew(
                    self.chunks, ring, batch_size=self.batch_size, workers=self.workers
                )
                ring.close_file()
            self._batches = [view(room) for room in ring.rooms]
        return self._ring

    def _released(self) -> int:
        slot = self._held.popleft()
        if slot in self._copies:
            self._copies.pop(slot).synchronize()
        return slot

    def _fill(self, room: Example, epoch: int, number: int) -> None:
        for row in range(self.batch_size):
            plan = self.chunks.draw(self.first_index(number) + row, epoch)
            self.chunks.fill(plan, room, row)

    def _asked(self, slot: int, epoch: int, number: int) -> tuple[int, int]:
        assert self._crew is not None
        first = self.first_index(number)
        return slot, self._crew.ask(slot=slot, epoch=epoch, number=number, first_index=first)

    def _wait(self, ticket: int) -> None:
        assert self._crew is not None
        try:
            self._crew.wait(ticket)
        except BaseException:  # an interrupt too may have cut a message in two
            self.close()
            raise
