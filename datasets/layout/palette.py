"""Colours in which masks are drawn."""

from __future__ import annotations


def voc_palette(count: int) -> list[tuple[int, int, int]]:
    """Return the first `count` RGB colours of the Pascal VOC colour map.

    Bit 3j, 3j+1 and 3j+2 of a class index become bit 7-j of red, green and blue, so that near indices look different.
    Source: ``VOClabelcolormap`` of the VOC development kit.
    """

    def channel(index: int, first: int) -> int:
        return sum((index >> (3 * j + first) & 1) << (7 - j) for j in range(8))

    return [(channel(i, 0), channel(i, 1), channel(i, 2)) for i in range(count)]
