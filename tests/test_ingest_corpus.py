import csv
import errno
import gzip
import io
import json
import os
import threading
from pathlib import Path

import pytest

from lensbank.ingest.corpus import read_corpora
from lensbank.schemas.errors import CorpusError, UsageError


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def texts(*paths, **options):
    with read_corpora(paths, **options) as corpus:
        first = [(s.text, s.document) for s in corpus]
        assert [(s.text, s.document) for s in corpus] == first  # every pass reads from the start
        return first


def refused(*paths, **options):
    with pytest.raises(CorpusError) as caught, read_corpora(paths, **options) as corpus:
        list(corpus)
    assert caught.value.hint
    return str(caught.value)


def test_plain_text_is_one_sentence_per_line(tmp_path):
    path = write(tmp_path / "a.txt", "A cat.\n\n  Two\tdogs \u3000 run. \n   \nlast line without end")
    assert texts(path) == [("A cat.", "a.txt:1"), ("Two dogs run.", "a.txt:3"), ("last line without end", "a.txt:5")]


def test_windows_files_lose_their_mark_and_carriage_returns(tmp_path):
    path = write(tmp_path / "w.txt", b"\xef\xbb\xbfOne.\r\nTwo.\r\n")
    assert texts(path) == [("One.", "w.txt:1"), ("Two.", "w.txt:2")]


def test_csv_names_its_field_and_keeps_line_numbers_over_quoted_breaks(tmp_path):
    path = write(tmp_path / "c.csv", 'id,text\n1,"A cat, asleep"\n2,"two\nlines ""quoted"""\n\n3,\n4,end\n')
    assert texts(path) == [("A cat, asleep", "c.csv:2"), ('two lines "quoted"', "c.csv:3"), ("end", "c.csv:7")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_separators(tmp_path, delimiter):
    rows = [("region", "phrase"), ("1", "red bus"), ("2", "a dog")]
    path = write(tmp_path / "c.csv", "\r\n".join(delimiter.join(row) for row in rows))
    assert texts(path, text_field="phrase") == [("red bus", "c.csv:2"), ("a dog", "c.csv:3")]


def test_csv_with_one_column_needs_no_field(tmp_path):
    assert texts(write(tmp_path / "c.csv", "phrase\nred bus\n")) == [("red bus", "c.csv:2")]


def test_csv_fields_may_be_long(tmp_path):
    long = "word " * 40_000
    others = csv.field_size_limit(100)  # of another reader in this process, which keeps its own
    try:
        for name, tab in (("c.csv", ","), ("c.tsv", "\t")):
            path = write(tmp_path / name, f'text{tab}id\n{long}{tab}1\n"{long}"{tab}"2"\n"{long}\n"{tab}3\n')
            found = texts(path)
            assert found == [(long.strip(), f"{name}:{line}") for line in (2, 3, 4)]
            assert csv.field_size_limit() == 100
    finally:
        csv.field_size_limit(others)


def test_a_separator_of_unicode_ends_no_row_of_a_tsv(tmp_path):
    path = write(tmp_path / "c.tsv", 'id\ttext\nof \u2028 two\t"A hen\tsits."\n')
    assert texts(path) == [("A hen sits.", "c.tsv:2")]


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("id,phrase\n1,x\n", {"text_field": "text"}, ["no field 'text'", "id, phrase"]),
        ("id,phrase\n1,x\n", {}, ["not clear", "id, phrase", "--text-field"]),
        ("id,text\n1,red, white\n", {}, ["line 2", "3 columns", "has 2"]),
        ("id,text\n\n1\n", {}, ["line 3", "1 columns", "has 2"]),
        ('id,text\n1,ok\n2,"never closed\n', {}, ["line 3", "not CSV"]),
        ("id,text\n", {}, ["no sentences"]),
        ("text,text\na,b\n", {}, ["several columns named 'text'"]),
        ("\n\n", {}, ["no sentences"]),
    ],
)
def test_bad_csv_is_refused(tmp_path, content, options, says):
    message = refused(write(tmp_path / "c.csv", content), **options)
    assert all(part in message for part in ["c.csv", *says]), message


def test_json_lines(tmp_path):
    rows = [{"id": 1, "text": "A cat."}, {"id": 2, "text": None}, {"text": "日本語", "id": 3}]
    path = write(tmp_path / "j.jsonl", "\n".join(map(json.dumps, rows[:2])) + "\n\n" + json.dumps(rows[2]))
    assert texts(path) == [("A cat.", "j.jsonl:1"), ("日本語", "j.jsonl:4")]


def test_numbers_beside_a_text_are_of_any_length_and_no_text_is_lost_to_another_of_its_key(tmp_path):
    long = "9" * 5000  # more than Python converts
    assert texts(write(tmp_path / "j.jsonl", f'{{"n": {long}, "text": "A hen.", "n": -{long}}}'))[0][0] == "A hen."
    named = {"text_field": "a.b"}
    assert texts(write(tmp_path / "j.jsonl", '{"b": 1, "a": {"b": "A hen.", "c": 1, "c": 2}}'), **named)
    bad = write(tmp_path / "j.jsonl", f'{{"text": "A hen."}}\n{{"text": {long}}}')
    assert "line 2: expected a text, found float" in refused(bad)
    assert "nested too deeply" in refused(write(tmp_path / "j.jsonl", "[" * 100_000))
    for row, options in (('{"text": "A", "text": "B"}', {}), ('{"a": {"b": "A"}, "a": {"b": "B"}}', named)):
        message = refused(write(tmp_path / "j.jsonl", row), **options)
        assert "j.jsonl, line 1, has a key twice" in message


def test_json_lines_of_plain_strings_and_of_one_text_field(tmp_path):
    assert texts(write(tmp_path / "s.jsonl", '"A cat."\n')) == [("A cat.", "s.jsonl:1")]
    assert texts(write(tmp_path / "k.jsonl", '{"n": 3, "phrase": "A cat."}\n')) == [("A cat.", "k.jsonl:1")]


@pytest.mark.parametrize(
    ("row", "path", "text"),
    [
        ({"caption": {"en": "A cat.", "de": "Eine Katze."}}, "caption.de", "Eine Katze."),
        ({"a.b": "literal", "a": {"b": "nested"}}, "a.b", "literal"),
        ({"a": {"b.c": "inner", "b": {"c": "innermost"}}}, "a.b.c", "inner"),
        ({"a.b": {"c": "outer"}, "a": {"x": 1}}, "a.b.c", "outer"),
        ({"a": {"b": {"c": {"d": "deep"}}}}, "a.b.c.d", "deep"),
        ({".": {"": "odd"}}, "..", "odd"),
    ],
)
def test_a_text_field_in_an_object_of_an_object(tmp_path, row, path, text):
    assert texts(write(tmp_path / "j.jsonl", json.dumps(row)), text_field=path) == [(text, "j.jsonl:1")]


def test_an_object_that_is_null_has_no_text(tmp_path):
    lines = [{"a": None, "n": 1}, {"a": {"b": "A cat."}}, {"a": {"b": None}}]
    path = write(tmp_path / "j.jsonl", "\n".join(map(json.dumps, lines)))
    assert texts(path, text_field="a.b") == [("A cat.", "j.jsonl:2")]


def test_lone_surrogates_that_json_can_spell_become_replacement_characters(tmp_path):
    assert texts(write(tmp_path / "j.jsonl", r'{"text": "a \ud83d b \ud83d\udc08"}'))[0][0] == "a \ufffd b 🐈"


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ('{"a": "x", "b": "y"}\n', {}, ["not clear", "a, b"]),
        ('{"a": "x"}\n{"b": "y"}\n', {}, ["line 2", "no field 'a'", "b"]),
        ('{"a": "x"}\n', {"text_field": "t"}, ["no field 't'", "a"]),
        ('{"a": {"b": "x", "c": {"d": 1}}}\n', {"text_field": "a.x"}, ["no field 'a.x'", "a, a.b, a.c, a.c.d"]),
        ('{"a": {"b": "x"}}\n{"a": {"c": "x"}}\n', {"text_field": "a.b"}, ["line 2", "no field 'a.b'", "a, a.c"]),
        ('{"a": {"b": {}}}\n', {"text_field": "a.b"}, ["line 1", "found dict"]),
        ('{"text": "x"}\n{"text": 3}\n', {}, ["line 2", "found int"]),
        ('{"text": "x"}\n[1, 2]\n', {}, ["line 2", "found list"]),
        ('{"text": "x"}\n{"text": \n', {}, ["line 2", "not JSON"]),
    ],
)
def test_bad_json_lines_are_refused(tmp_path, content, options, says):
    message = refused(write(tmp_path / "j.jsonl", content), **options)
    assert all(part in message for part in ["j.jsonl", *says]), message


def test_a_json_document_is_refused_with_the_way_to_convert_it(tmp_path):
    assert "jq" in refused(write(tmp_path / "a.json", "[]"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt.gz", "A cat.\n"),
        ("a.csv.gz", "text\nA cat.\n"),
        ("a.jsonl.gz", '{"text": "A cat."}\n'),
        ("without-suffix", "A cat.\n"),
    ],
)
def test_gzip_is_told_by_its_content(tmp_path, name, content):
    assert texts(write(tmp_path / name, gzip.compress(content.encode())))[0][0] == "A cat."


def test_damaged_gzip_is_refused(tmp_path):
    whole = gzip.compress(os.urandom(2000).hex().encode())
    assert "cut short" in refused(write(tmp_path / "cut.txt.gz", whole[:-100]))
    broken = whole[:200] + b"\xff" * 50 + whole[250:]
    assert "damaged" in refused(write(tmp_path / "broken.txt.gz", broken))


def test_zstandard_is_read_or_the_missing_package_named(tmp_path):
    try:
        import zstandard
    except ImportError:
        path = write(tmp_path / "a.txt.zst", b"\x28\xb5\x2f\xfd" + b"rest")
        assert "lensbank[zst]" in refused(path)
    else:
        packed = zstandard.ZstdCompressor().compress(b"A cat.\n")
        assert texts(write(tmp_path / "a.txt.zst", packed)) == [("A cat.", "a.txt.zst:1")]
        assert "damaged" in refused(write(tmp_path / "b.txt.zst", packed[:6] + b"\xff" * 9))


def members(kind, contents):
    if kind == "gz":
        return b"".join(gzip.compress(content) for content in contents)
    zstandard = pytest.importorskip("zstandard")
    if kind == "zst-streamed":  # as from a pipe: a frame does not say how long it is
        packed = []
        for content in contents:
            squeeze = zstandard.ZstdCompressor().compressobj()
            packed.append(squeeze.compress(content) + squeeze.flush())
        return b"".join(packed)
    empty = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"  # a frame to skip, as pzstd writes
    return empty + empty.join(zstandard.ZstdCompressor().compress(content) for content in contents)


@pytest.mark.parametrize("kind", ["gz", "zst", "zst-streamed"])
@pytest.mark.parametrize("way", ["file", "stdin"])
def test_compressed_input_is_read_whole_or_refused(tmp_path, kind, way):
    """All members or frames, however many; never the part of one that ends early."""
    lines = [f"A cat number {i} {os.urandom(9).hex()}." for i in range(3000)]
    whole = members(kind, ["\n".join(part).encode() + b"\n" for part in (lines[:1000], lines[1000:2999], lines[2999:])])

    def read(content):
        if way == "stdin":
            with read_corpora(["-"], stdin=io.BytesIO(content)) as corpus:
                return [sentence.text for sentence in corpus]
        return [text for text, _ in texts(write(tmp_path / f"a.txt.{kind[:3].rstrip('-')}", content))]

    assert read(whole) == lines
    for kept in (5, 100, len(whole) // 3, len(whole) // 2, len(whole) - 300, len(whole) - 5, len(whole) - 1):
        with pytest.raises(CorpusError, match="is damaged or cut short"):
            read(whole[:kept])


def test_a_compressed_file_of_a_few_bytes_is_cut_short(tmp_path):
    assert "is incomplete: it has only 2 bytes" in refused(write(tmp_path / "a.txt.zst", b"\x28\xb5"))


def test_zstandard_rows_are_told_apart_by_their_content(tmp_path):
    """For which the start is read twice."""
    zstandard = pytest.importorskip("zstandard")
    packed = zstandard.ZstdCompressor().compress(b'{"said": "A cat.", "by": "me"}\n' * 400)
    with read_corpora(["-"], text_field="said", stdin=io.BytesIO(packed)) as corpus:
        assert [sentence.text for sentence in corpus] == ["A cat."] * 400


def test_text_that_is_not_utf8_names_file_line_and_byte(tmp_path):
    message = refused(write(tmp_path / "latin.txt", "fine\nça va\nna\u00efve\n".encode("latin-1")))
    assert "latin.txt, line 2," in message and "0xe7" in message and "column 1" in message


def test_utf16_and_binary_files_are_named_for_what_they_are(tmp_path):
    assert "UTF-16" in refused(write(tmp_path / "u.txt", "A cat.".encode("utf-16")))
    message = refused(write(tmp_path / "b.txt", b"text\n\x00\x01\x02"))
    assert "binary" in message and "line 2" in message


@pytest.mark.parametrize("content", ["", "\n \n\t\n"])
def test_empty_and_blank_files_are_refused(tmp_path, content):
    assert "empty or blank" in refused(write(tmp_path / "e.txt", content))


def test_one_empty_file_among_others_is_named(tmp_path):
    full, empty = write(tmp_path / "f.txt", "A cat."), write(tmp_path / "e.txt", "")
    assert "e.txt" in refused(full, empty)


def test_a_field_of_plain_text_alone_is_refused(tmp_path):
    plain = write(tmp_path / "captions.data", '{"a": "A cat."}')
    with pytest.raises(UsageError, match=r"--text-field a names .* all files are plain text"):
        read_corpora([plain], text_field="a")
    rows = write(tmp_path / "rows.jsonl", '{"a": "A dog."}')
    with read_corpora([plain, rows], text_field="a") as corpus:
        assert [one.text for one in corpus] == ['{"a": "A cat."}', "A dog."]


def test_missing_files_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(CorpusError, match="no file"):
        read_corpora([write(tmp_path / "a.txt", "A cat."), tmp_path / "missing.txt"])
    with pytest.raises(CorpusError, match="No corpus"):
        read_corpora([])


def test_files_without_permission_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.txt", "A cat.")
    whole = Path.open

    def denied(self, *args, **kwargs):  # root may read everything, so permissions alone prove nothing
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", denied)
    assert "Permission denied" in refused(path)


def test_lines_beyond_the_limit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("lensbank.ingest.readers.MAX_LINE_BYTES", 1000)
    assert "Line 2" in refused(write(tmp_path / "a.txt", "ok\n" + "x" * 1000 + "\n"))
    assert len(texts(write(tmp_path / "b.txt", "ok\n" + "x" * 999 + "\n"))) == 2


def test_folders_are_read_in_order_with_all_that_is_below_them(tmp_path):
    folder = tmp_path / "words"
    write(folder / "b.txt", "B.")
    write(folder / "a" / "z.txt.gz", gzip.compress(b"Z."))
    write(folder / "c.jsonl", '{"text": "C."}')
    for ignored in (".hidden.txt", ".git/x.txt", "photo.jpg", "README.md"):
        write(folder / ignored, "no")
    with read_corpora([folder]) as corpus:
        assert [(s.text, s.file, s.corpus) for s in corpus] == [
            ("Z.", "a/z.txt.gz", "words"),
            ("B.", "b.txt", "words"),
            ("C.", "c.jsonl", "words"),
        ]


def test_a_folder_without_corpus_files_is_refused(tmp_path):
    write(tmp_path / "d" / "photo.jpg", "no")
    assert "no corpus files" in refused(tmp_path / "d")


def test_each_path_is_a_corpus_unless_one_name_is_given(tmp_path):
    paths = [write(tmp_path / "coco.v2.txt.gz", "A."), write(tmp_path / "vg.csv", "text\nB.")]
    with read_corpora(paths) as corpus:
        assert corpus.names == ("coco.v2", "vg")
        assert [s.corpus for s in corpus] == ["coco.v2", "vg"]
    with read_corpora(paths, name="both") as corpus:
        assert corpus.names == ("both",)


def test_standard_input_is_kept_for_the_second_pass():
    assert texts("-", stdin=io.BytesIO(b"A cat.\nA dog.\n")) == [("A cat.", "stdin:1"), ("A dog.", "stdin:2")]
    assert texts("-", stdin=io.BytesIO(gzip.compress(b"A cat.\n"))) == [("A cat.", "stdin:1")]


@pytest.mark.parametrize("content", ['{"t": "A cat."}\n', "id,t\n1,A cat.\n"])
def test_standard_input_with_a_field_is_json_lines_or_csv(content):
    assert [text for text, _ in texts("-", stdin=io.BytesIO(content.encode()), text_field="t")] == ["A cat."]


def test_standard_input_twice_or_empty_is_refused():
    assert "twice" in str(pytest.raises(CorpusError, read_corpora, ["-", "-"], stdin=io.BytesIO(b"x")).value)
    assert "standard input" in refused("-", stdin=io.BytesIO(b""))


def test_a_named_pipe_can_be_read_like_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=lambda: pipe.write_bytes(b"A cat.\n"))
    feeder.start()
    assert texts(pipe) == [("A cat.", "pipe:1")]
    feeder.join()


def test_split_finds_sentences_and_their_lines_in_wrapped_text(tmp_path):
    text = "Dr. Smith has a cat. It\nsleeps on the\nsofa. It purrs!\n\nA new paragraph\n\nAnd one more."
    assert texts(write(tmp_path / "b.txt", text), split=True) == [
        ("Dr. Smith has a cat.", "b.txt:1"),
        ("It sleeps on the sofa.", "b.txt:1"),
        ("It purrs!", "b.txt:3"),
        ("A new paragraph", "b.txt:5"),
        ("And one more.", "b.txt:7"),
    ]


def test_split_treats_each_row_as_a_text_of_its_own(tmp_path):
    path = write(tmp_path / "c.csv", 'text\n"A cat. A\ndog"\nruns away.\n')
    assert texts(path, split=True) == [("A cat.", "c.csv:2"), ("A dog", "c.csv:2"), ("runs away.", "c.csv:4")]


def test_an_unknown_language_lists_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match=r"'xx'.*de, .*en"):
        read_corpora([write(tmp_path / "a.txt", "A.")], split=True, language="xx")


def remarks(path, **options):
    with read_corpora([path], **options) as corpus:
        list(corpus)
        first = corpus.remarks()
        list(corpus)
        assert corpus.remarks() == first  # a second reading says nothing twice
        return first


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_lines_end_as_they_do_on_any_system(tmp_path, end):
    lines = write(tmp_path / "a.txt", end.join(["A hen.", "", "Two boats.", "Three."]))
    assert texts(lines) == [("A hen.", "a.txt:1"), ("Two boats.", "a.txt:3"), ("Three.", "a.txt:4")]
    table = write(tmp_path / "a.csv", end.join(["id,text", '1,"A hen, here"', "2,Two"]) + end)
    assert texts(table) == [("A hen, here", "a.csv:2"), ("Two", "a.csv:3")]
    rows = write(tmp_path / "a.jsonl", end.join(['{"text": "A hen."}', '{"text": "Two."}']))
    assert texts(rows) == [("A hen.", "a.jsonl:1"), ("Two.", "a.jsonl:2")]


@pytest.mark.parametrize("at", [-2, -1, 0, 1])
def test_an_end_of_two_characters_over_the_edge_of_what_is_read_at_once_is_one_end(tmp_path, monkeypatch, at):
    monkeypatch.setattr("lensbank.ingest.readers._CHUNK", 64)
    path = write(tmp_path / "a.txt", "x" * (64 + at) + "\r\nsecond\r\n")
    assert texts(path)[1] == ("second", "a.txt:2")


def test_a_mark_may_begin_any_line(tmp_path):
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbfOne.\n\xef\xbb\xbfTwo.\n")  # cat one.txt two.txt
    assert texts(path) == [("One.", "a.txt:1"), ("Two.", "a.txt:2")]


def test_one_column_without_a_header_keeps_its_first_line_and_says_so(tmp_path):
    path = write(tmp_path / "c.csv", "A hen sits on the gate.\nTwo boats leave.\n")
    assert texts(path) == [("A hen sits on the gate.", "c.csv:1"), ("Two boats leave.", "c.csv:2")]
    assert "no header" in remarks(path)[0] and "A hen sits on the gate." in remarks(path)[0]


def test_one_column_whose_first_line_is_taken_for_a_name_says_so(tmp_path):
    path = write(tmp_path / "c.csv", "red bus\nblue bus\n")
    assert texts(path) == [("blue bus", "c.csv:2")] and "'red bus'" in remarks(path)[0]
    assert remarks(write(tmp_path / "d.csv", "caption\nblue bus\n")) == []


@pytest.mark.parametrize("first", ['{"id": "a", "text": null}', '{"phrase": null}', "{}", "null"])
def test_rows_without_a_text_are_left_out_and_counted(tmp_path, first):
    key = "phrase" if "phrase" in first else "text"
    path = write(tmp_path / "j.jsonl", f'{first}\n{{"id": "b", "{key}": "A hen."}}\n{{"{key}": "  "}}\n')
    assert texts(path) == [("A hen.", "j.jsonl:2")]
    assert remarks(path) == ["j.jsonl: 2 rows without a text (null or blank), left out."]


def test_a_null_is_no_reason_to_take_another_field_for_the_text(tmp_path):
    message = refused(write(tmp_path / "j.jsonl", '{"key": "a1", "phrase": null}\n'))
    assert "key, phrase" in message and "--text-field" in message


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ('1\t"Hot!" he said\n2\tA 5" nail\n', ['"Hot!" he said', 'A 5" nail']),
        ('1\t"Hello, he said\n2\tTwo\n', ['"Hello, he said', "Two"]),
        ('1\t"A hen, ""red"""\n2\tTwo\n', ['A hen, "red"', "Two"]),
        ('1\t"A\then"\n2\tTwo\n', ["A hen", "Two"]),
        ('1\t"A hen\nsits"\n2\tTwo\n', ["A hen sits", "Two"]),
        ('1\tends in a "quote"\n2\t"\n', ['ends in a "quote"', '"']),
    ],
)
def test_quotes_in_tab_separated_files_are_quotes_unless_they_enclose_a_cell(tmp_path, rows, wanted):
    found = texts(write(tmp_path / "c.tsv", "id\ttext\n" + rows))
    assert [text for text, _ in found] == wanted
    assert found[-1][1] == f"c.tsv:{1 + rows.count(chr(10))}"


def test_zstandard_on_standard_input_is_read_in_every_format():
    zstandard = pytest.importorskip("zstandard")
    for content, options in (("A hen.\nTwo.\n", {}), ('{"t": "A hen."}\n{"t": "Two."}\n', {"text_field": "t"})):
        stream = io.BytesIO(zstandard.ZstdCompressor().compress(content.encode()))
        with read_corpora(["-"], stdin=stream, **options) as corpus:
            assert [s.text for s in corpus] == [s.text for s in corpus] == ["A hen.", "Two."]


def test_text_that_cannot_be_split_is_said_and_no_longer_silent(tmp_path):
    path = write(tmp_path / "a.txt", "แมวนอน หมาวิ่ง\n\nA cat. A dog.\n")
    assert [text for text, _ in texts(path, split=True)] == ["แมวนอน หมาวิ่ง", "A cat.", "A dog."]
    (said,) = remarks(path, split=True)
    assert "a.txt" in said and "Thai" in said and "1 paragraph is" in said
    assert remarks(path) == []


def test_files_of_one_name_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "captions.txt").write_text(f"From {folder}.\n")
    paths = [tmp_path / folder / "captions.txt" for folder in ("a", "b")]
    with read_corpora(paths) as corpus:
        found = [(one.corpus, one.document) for one in corpus]
    assert found == [("a/captions", "a/captions.txt:1"), ("b/captions", "b/captions.txt:1")]
    with read_corpora(paths, name="both") as corpus:
        found = [(one.corpus, one.document) for one in corpus]
    assert found == [("both", "a/captions.txt:1"), ("both", "b/captions.txt:1")]
    with read_corpora(paths[:1]) as corpus:
        assert [(one.corpus, one.document) for one in corpus] == [("captions", "captions.txt:1")]


def test_devices_are_no_corpora():
    with pytest.raises(CorpusError, match="/dev/zero is a device"):
        read_corpora(["/dev/zero"])
