from __future__ import annotations

from collections import Counter

from scipy import stats

from bench.train.sampling import sample


def test_a_batch_never_holds_an_image_twice_while_the_pool_is_large_enough() -> None:
    for step in range(50):
        assert len(set(sample("replacement", 9, 8, step, 0, "unlabelled").tolist())) == 8


def test_a_small_pool_is_shared_out_evenly() -> None:
    counts = Counter(sample("replacement", 3, 8, 4, 0, "labelled").tolist())
    assert sorted(counts.values()) == [2, 3, 3]


def test_epoch_shows_every_image_once_per_epoch_across_steps() -> None:
    seen = [i for step in range(15) for i in sample("epoch", 10, 4, step, 1, "labelled").tolist()]
    for epoch in range(6):
        assert sorted(seen[epoch * 10 : epoch * 10 + 10]) == list(range(10))
    assert seen[:10] != seen[10:20]


def test_draws_are_uniform_and_pools_independent() -> None:
    counts = Counter(i for step in range(2000) for i in sample("replacement", 10, 4, step, 0, "labelled").tolist())
    assert stats.chisquare([counts[i] for i in range(10)]).pvalue > 1e-3
    labelled = [sample("replacement", 10, 4, s, 0, "labelled").tolist() for s in range(20)]
    assert labelled != [sample("replacement", 10, 4, s, 0, "unlabelled").tolist() for s in range(20)]
