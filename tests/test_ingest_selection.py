import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from lensbank.ingest.selection import Occurrences, Selector, prefix_hashes
from lensbank.schemas.payload import sentence_hash

VOCABULARY = 50


def occurrences(sentences, seed=0):
    """Every token of sentences given as lists of ids, the way planning makes them."""
    lengths = np.array([len(s) for s in sentences], np.int64)
    ids = np.array([i for s in sentences for i in s], np.int32)
    hashes = np.array([sentence_hash(seed, repr(s)) for s in sentences], np.uint64)
    prefix, index = prefix_hashes(ids, np.cumsum(lengths) - lengths, lengths)
    return Occurrences(ids, np.repeat(hashes, lengths), index, prefix)


def select(sentences, k, seed=0, buffer=1 << 19, group=None):
    selector = Selector(VOCABULARY, k, buffer)
    group = group or len(sentences)
    for start in range(0, len(sentences), group):
        selector.add(occurrences(sentences[start : start + group], seed))
    return selector.kept()


def as_set(kept):
    return set(zip(kept.token.tolist(), kept.sentence.tolist(), kept.index.tolist(), strict=True))


def corpus(n, seed=1):
    choose = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(VOCABULARY)]
    return [choose.choices(range(VOCABULARY), weights, k=choose.randint(1, 12)) for _ in range(n)]


def by_hand(sentences, k, seed=0):
    """The definition, one occurrence at a time."""
    best = defaultdict(dict)
    for sentence in sentences:
        rank = sentence_hash(seed, repr(sentence))
        for index, token in enumerate(sentence):
            prefix = tuple(sentence[: index + 1])
            best[token][prefix] = min(best[token].get(prefix, (rank, index)), (rank, index))
    return {(token, rank, index) for token, prefixes in best.items() for rank, index in sorted(prefixes.values())[:k]}


@pytest.mark.parametrize("k", [1, 3, 20, None])
def test_it_keeps_what_the_definition_says(k):
    sentences = corpus(600)
    assert as_set(select(sentences, k)) == by_hand(sentences, k)


@pytest.mark.parametrize("buffer", [1, 50, 1000])
@pytest.mark.parametrize("group", [1, 7, 600])
def test_order_and_grouping_do_not_matter(buffer, group):
    sentences = corpus(600)
    shuffled = random.Random(5).sample(sentences, len(sentences))
    assert as_set(select(shuffled, 5, buffer=buffer, group=group)) == as_set(select(sentences, 5))


def test_duplicated_sentences_change_nothing():
    sentences = corpus(200)
    assert as_set(select(sentences * 3, 5, buffer=40, group=11)) == as_set(select(sentences, 5))


def test_no_token_has_more_than_its_limit_and_none_is_left_out():
    sentences = corpus(600)
    counts = Counter(select(sentences, 4).token.tolist())
    assert max(counts.values()) == 4
    assert set(counts) == {token for sentence in sentences for token in sentence}


def test_a_shared_prefix_counts_once():
    sentences = [[1, 2, 3], [1, 2, 4], [1, 2, 5], [9, 2]]
    kept = Counter(select(sentences, 20).token.tolist())
    assert kept == {1: 1, 2: 2, 3: 1, 4: 1, 5: 1, 9: 1}


def test_another_seed_gives_another_sample():
    sentences = corpus(600)
    assert as_set(select(sentences, 5, seed=1)) != as_set(select(sentences, 5, seed=2))


def test_the_sample_is_uniform_over_the_corpus():
    # Token 7 is in every one of 400 sentences; over many seeds each tenth of the corpus has its share.
    sentences = [[i % 40 + 8, i // 40 + 8, 7] for i in range(400)]
    tenths = Counter()
    for seed in range(60):
        ranks = {sentence_hash(seed, repr(s)): i for i, s in enumerate(sentences)}
        kept = select(sentences, 20, seed)
        tenths.update(
            ranks[h] // 40 for h, t in zip(kept.sentence.tolist(), kept.token.tolist(), strict=True) if t == 7
        )
    assert sum(tenths.values()) == 60 * 20
    # 120 expected in each; four standard deviations.
    assert all(78 <= tenths[tenth] <= 162 for tenth in range(10)), tenths


def test_memory_is_bounded_by_the_vocabulary_not_by_the_corpus():
    k, chunk, sizes = 5, 2000, []
    selector = Selector(VOCABULARY, k, buffer=1000)
    for seed in range(30):
        selector.add(occurrences(corpus(chunk, seed)))
        sizes.append(selector.nbytes)
    row = 24  # bytes of an occurrence
    # Kept, waiting, thresholds; and the first chunk, which arrives before there are thresholds.
    assert max(sizes[1:]) <= (VOCABULARY * k + 1000) * row + VOCABULARY * 8 + 1000 * row
    assert len(selector.kept()) == VOCABULARY * k


def test_prefix_hashes_agree_exactly_where_prefixes_do():
    sentences = corpus(2000)
    seen = occurrences(sentences)
    prefixes = [tuple(s[: i + 1]) for s in sentences for i in range(len(s))]
    assert len(set(prefixes)) == len(set(seen.prefix.tolist()))
    assert len(set(zip(prefixes, seen.prefix.tolist(), strict=True))) == len(set(prefixes))
    assert seen.index.tolist() == [i for s in sentences for i in range(len(s))]


def test_sentences_without_tokens_are_harmless():
    seen = occurrences([[1, 2], [], [3], []])
    assert seen.token.tolist() == [1, 2, 3] and seen.index.tolist() == [0, 1, 0]


@pytest.mark.parametrize("k", [0, -1])
def test_a_limit_below_one_is_refused(k):
    with pytest.raises(ValueError, match="expected 1 or more"):
        Selector(VOCABULARY, k)
