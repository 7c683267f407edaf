"""The colour map of Pascal VOC."""

from __future__ import annotations

from datasets.layout.palette import voc_palette


def test_against_the_published_colours() -> None:
    """The 21 colours of the VOC development kit, as every annotation of VOC carries them."""
    low, mid, high = 0, 128, 192
    assert voc_palette(21) == [
        (0, 0, 0), (mid, 0, 0), (0, mid, 0), (mid, mid, 0), (0, 0, mid), (mid, 0, mid), (0, mid, mid), (mid, mid, mid),
        (64, 0, 0), (high, 0, 0), (64, mid, 0), (high, mid, 0), (64, 0, mid), (high, 0, mid), (64, mid, mid),
        (high, mid, mid), (0, 64, 0), (mid, 64, 0), (low, high, 0), (mid, high, 0), (0, 64, mid),
    ]  # fmt: skip


def test_void_and_uniqueness() -> None:
    palette = voc_palette(256)
    assert palette[255] == (224, 224, 192)
    assert len(set(palette)) == 256
