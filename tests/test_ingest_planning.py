import random

import pytest
import tiny_models

from lensbank.ingest.corpus import Sentence
from lensbank.ingest.planning import collect, corpus_records, select
from lensbank.ingest.tallies import chunks, fingerprint
from lensbank.models.tokens import BulkTokenizer
from lensbank.schemas.errors import CorpusError
from lensbank.schemas.progress import Silent

SILENT = Silent()
WORDS = ["a", "the", "red", "old", "small", "dog", "cat", "house", "tree", "truck", "sleeps", "under", "near", "table"]


@pytest.fixture(scope="module")
def bulk():
    return BulkTokenizer(tiny_models.tiny_tokenizer(), tiny_models.VOCAB)


def sentences(n, seed=0, corpus="c", file="f.txt"):
    choose = random.Random(seed)
    return [Sentence(" ".join(choose.choices(WORDS, k=choose.randint(1, 9))), corpus, file, i + 1) for i in range(n)]


def planned(corpus, bulk, k=5, seed=0, max_positions=None):
    selection = select(corpus, bulk, k, seed, max_positions, SILENT)
    with collect(corpus, selection, seed, SILENT, bulk) as texts:
        found = [texts.get(place) for place in range(len(selection.hashes))]
        return selection, found, corpus_records(selection, dict.fromkeys(selection.tally.sentences, 7))


def what_is_kept(selection, found):
    """(token, sentence, index) of everything kept."""
    kept = set()
    for place, sentence in enumerate(found):
        span = slice(selection.first[place], selection.first[place + 1])
        pairs = zip(selection.kept.token[span].tolist(), selection.kept.index[span].tolist(), strict=True)
        kept |= {(token, sentence.text, index) for token, index in pairs}
    return kept


def test_order_of_lines_and_of_files_changes_nothing(bulk):
    one, two = sentences(300, 1, file="a.txt"), sentences(300, 2, file="b.txt")
    selection, found, _ = planned(one + two, bulk)
    mixed = random.Random(3).sample(two, 300) + random.Random(4).sample(one, 300)
    other, other_found, _ = planned(mixed, bulk)
    assert what_is_kept(other, other_found) == what_is_kept(selection, found)
    # Each sentence is said to be where it is; of several places, at the first by name and line.
    assert other_found == found
    places = {}
    for sentence in one + two:
        places.setdefault(sentence.text, []).append(sentence)
    assert all(sentence == min(places[sentence.text]) for sentence in found)


def test_places_are_compared_by_line_number_not_by_its_digits(bulk):
    corpus = [Sentence("a red dog", "c", "f.txt", 10), Sentence("a red dog", "c", "f.txt", 9)]
    assert [s.document for s in planned(corpus, bulk)[1]] == ["f.txt:9"]


def test_longest_sentences_come_first_each_up_to_its_last_kept_token(bulk):
    selection, found, _ = planned(sentences(400), bulk, k=2)
    assert (selection.lengths[:-1] >= selection.lengths[1:]).all()
    shortened = 0
    for place, sentence in enumerate(found):
        span = slice(selection.first[place], selection.first[place + 1])
        assert selection.lengths[place] == selection.kept.index[span].max() + 1
        shortened += selection.lengths[place] < len(bulk.table([sentence.text]).ids)
    assert shortened > 0
    assert selection.tokens() == selection.lengths.sum()


def test_what_was_read_is_counted_without_special_tokens(bulk):
    corpus = sentences(50, corpus="one") + sentences(30, 7, corpus="two")
    selection, found, records = planned(corpus, bulk)
    table = bulk.table([s.text for s in corpus])
    assert sum(r.tokens for r in records) == len(table.ids) - len(corpus)  # one <s> each
    assert [(r.name, r.sentences, r.rows) for r in records] == [("one", 50, 7), ("two", 30, 7)]
    assert {r.name: r.fingerprint for r in records} == fingerprint(corpus, SILENT)


def test_fingerprints_see_every_sentence_and_their_order():
    corpus = sentences(5)
    assert fingerprint(corpus, SILENT) != fingerprint(corpus[::-1], SILENT)
    assert fingerprint(corpus, SILENT) != fingerprint(corpus[:-1], SILENT)


def test_the_key_of_a_plan_changes_with_what_is_written(bulk):
    corpus = sentences(200)
    keys = {
        planned(corpus, bulk)[0].key,
        planned(corpus[:-1], bulk)[0].key,
        planned(corpus, bulk, k=6)[0].key,
        planned(corpus, bulk, seed=1)[0].key,
    }
    assert len(keys) == 4
    assert planned(corpus, bulk)[0].key in keys


def test_nothing_beyond_what_the_model_can_read_is_chosen(bulk):
    corpus = [*sentences(20), Sentence(" ".join(WORDS * 5), "c", "f.txt", 99)]
    selection, _, _ = planned(corpus, bulk, k=None, max_positions=12)
    lengths = bulk.table([s.text for s in corpus]).lengths
    assert selection.truncated == (lengths > 12).sum() >= 1
    assert selection.lengths.max() == 12
    assert planned(corpus, bulk, k=None, max_positions=1000)[0].truncated == 0


def test_a_corpus_of_special_tokens_only_is_refused(bulk):
    with pytest.raises(CorpusError, match="no token to store"):
        select([Sentence("<image> <pad>", "c", "f.txt", 1)], bulk, 5, 0, None, SILENT)


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: [*c, c[0]], lambda c: c[::-1], lambda c: c[1:]])
def test_a_corpus_that_changes_between_the_passes_is_refused(bulk, change):
    corpus = sentences(30)
    selection = select(corpus, bulk, 5, 0, None, SILENT)
    with pytest.raises(CorpusError, match="changed while"):
        collect(change(corpus), selection, 0, SILENT, bulk)


def test_chunks_are_bounded_in_sentences_and_in_characters(monkeypatch):
    monkeypatch.setattr("lensbank.ingest.tallies.CHUNK_SENTENCES", 10)
    monkeypatch.setattr("lensbank.ingest.tallies.CHUNK_CHARACTERS", 100)
    corpus = [Sentence("x" * size, "c", "f", 1) for size in [1] * 25 + [60] * 4 + [500, 1]]
    sizes = [len(chunk) for chunk in chunks(corpus)]
    assert sum(sizes) == len(corpus)
    assert sizes == [10, 10, 7, 2, 1, 1]


def test_plans_do_not_depend_on_the_size_of_chunks(bulk, monkeypatch):
    corpus = sentences(200)
    whole = planned(corpus, bulk)[0].key
    monkeypatch.setattr("lensbank.ingest.tallies.CHUNK_SENTENCES", 7)
    assert planned(corpus, bulk)[0].key == whole
