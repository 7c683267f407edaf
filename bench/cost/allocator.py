"""A model of PyTorch's caching allocator for CUDA: which bytes it holds for a sequence of requests, without a GPU.

The device gives memory in segments; blocks are cut from them. A freed block is kept, joined with its free neighbours, and
given to a later request that it fits best; segments are never given back. So what the device must have is more than the
bytes of tensors alive: by rounding, and by free blocks that nothing fits.

Source: ``c10/cuda/CUDACachingAllocator.cpp`` of PyTorch: the native backend at its default settings (no expandable segments,
no limit on splitting, no rounding to powers of two), one stream, no graphs. Tested event by event against PyTorch 2.15.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field

MIB = 1 << 20
UNIT = 512  # sizes are multiples of it
SMALL = MIB  # the largest request that the small pool serves
SMALL_SEGMENT = 2 * MIB
LARGE_SEGMENT = 20 * MIB  # for requests below the next
OWN_SEGMENT = 10 * MIB  # a request of this size gets a segment of its own size
SEGMENT_UNIT = 2 * MIB  # of which the size of such a segment is a multiple


@dataclass(eq=False)
class Block:
    """A piece of a segment.

    Attributes:
        address: of its first byte, where each segment lies behind the one before; 0 is the first.
        size: in bytes, a multiple of 512.
        small: whether the small pool owns it.
        free: whether a request may have it.
        before, after: its neighbours in the segment.
    """

    address: int
    size: int
    small: bool
    free: bool = False
    before: Block | None = field(default=None, repr=False)
    after: Block | None = field(default=None, repr=False)


class _Pool:
    """The free blocks of a pool, by size; among equals by the age of their segment and their place in it.

    Earlier releases order equals by their address on the device: by age as well, where it hands out ascending addresses.
    """

    def __init__(self, small: bool) -> None:
        self.small = small
        self._order: list[tuple[int, int]] = []
        self._blocks: dict[int, Block] = {}

    def add(self, block: Block) -> None:
        insort(self._order, (block.size, block.address))
        self._blocks[block.address] = block

    def remove(self, block: Block) -> None:
        del self._order[bisect_left(self._order, (block.size, block.address))]
        del self._blocks[block.address]

    def take(self, size: int) -> Block | None:
        """Remove and return the first block of at least a size."""
        place = bisect_left(self._order, (size, 0))
        if place == len(self._order):
            return None
        return self._blocks.pop(self._order.pop(place)[1])


class Allocator:
    """Serves requests as PyTorch's allocator would, on a device without a limit.

    Attributes:
        allocated: bytes of the blocks in use (``torch.cuda.memory_allocated``).
        reserved: bytes of all segments (``torch.cuda.memory_reserved``).
        peak_allocated, peak_reserved: their largest values.
    """

    def __init__(self) -> None:
        self.allocated = self.reserved = self.peak_allocated = self.peak_reserved = 0
        self._pools = {small: _Pool(small) for small in (True, False)}

    def alloc(self, size: int) -> Block | None:
        """Return a block of at least `size` bytes; None for no bytes, which need none."""
        if size <= 0:
            return None
        size = max(-(-size // UNIT), 1) * UNIT
        pool = self._pools[size <= SMALL]
        block = pool.take(size) or self._segment(size, pool.small)
        if _worth_splitting(block, size):
            pool.add(_cut(block, size))
        block.free = False
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block

    def free(self, block: Block | None) -> None:
        """Take a block back and join it with its free neighbours."""
        if block is None:
            return
        if block.free:
            raise ValueError(f"{block} is free already")
        self.allocated -= block.size
        pool = self._pools[block.small]
        for neighbour in (block.before, block.after):
            if neighbour is not None and neighbour.free:
                pool.remove(neighbour)
                _join(block, neighbour)
        block.free = True
        pool.add(block)

    def _segment(self, size: int, small: bool) -> Block:
        if small:
            size = SMALL_SEGMENT
        elif size < OWN_SEGMENT:
            size = LARGE_SEGMENT
        else:
            size = -(-size // SEGMENT_UNIT) * SEGMENT_UNIT
        self.reserved += size
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return Block(self.reserved - size, size, small)


def _worth_splitting(block: Block, size: int) -> bool:
    rest = block.size - size
    return rest >= UNIT if block.small else rest > SMALL


def _cut(block: Block, size: int) -> Block:
    """Shorten a block to `size` bytes and return the rest, free."""
    rest = Block(block.address + size, block.size - size, block.small, True, block, block.after)
    if block.after is not None:
        block.after.before = rest
    block.after, block.size = rest, size
    return rest


def _join(block: Block, neighbour: Block) -> None:
    """Make a neighbour part of a block."""
    block.size += neighbour.size
    if neighbour is block.before:
        block.address, block.before = neighbour.address, neighbour.before
        if block.before is not None:
            block.before.after = block
    else:
        block.after = neighbour.after
        if block.after is not None:
            block.after.before = block
