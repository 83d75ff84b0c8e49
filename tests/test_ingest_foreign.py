"""What is given as a corpus and is none, or one in another dress: read right, or named as what it is."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

from lensbank.ingest.corpus import read_corpora
from lensbank.schemas.errors import CorpusError


def read(path, data, **options):
    path.write_bytes(data)
    with read_corpora([path], **options) as corpus:
        found = [(sentence.text, sentence.line) for sentence in corpus]
        return found, corpus.remarks()


def archive(kind):
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as made:
            made.writestr("a.txt", "a dog")
    else:
        with tarfile.open(fileobj=file, mode="w") as made:
            member = tarfile.TarInfo("a.txt")
            member.size = 5
            made.addfile(member, io.BytesIO(b"a dog"))
    return file.getvalue()


TEXT = "A dog barks.\nA cat sleeps.\n"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.zip", archive("zip"), "a.zip is a ZIP archive"),
        ("a.docx", archive("zip"), "Office document"),
        ("a.tar", archive("tar"), "a.tar is a tar archive.*Extract it"),
        ("a.tgz", gzip.compress(archive("tar"), mtime=0), "a tar archive"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS.*git lfs pull"),
        ("a.txt", b"%PDF-1.4\n1 0 obj\n", "a PDF document.*pdftotext"),
        ("a.txt", b"\x89PNG\r\n\x1a\n\0\0", "a picture"),
        ("a.parquet", b"PAR1\x15\x04\x15\0", "a Parquet table"),
        ("a.arrow", b"ARROW1\0\0", "an Arrow table"),
        ("a.db", b"SQLite format 3\0", "an SQLite database"),
        ("a.txt", TEXT.encode("utf-16"), "is UTF-16; expected UTF-8.*iconv -f UTF-16 "),
        ("a.txt", TEXT.encode("utf-16-le"), "UTF-16 without a byte order mark.*iconv -f UTF-16LE "),
        ("a.csv", ("text\n" + TEXT).encode("utf-16-be"), "UTF-16 without a byte order mark.*iconv -f UTF-16BE "),
        ("a.txt", TEXT.encode("utf-32"), "is UTF-32; expected UTF-8.*iconv -f UTF-32 "),
        ("a.jsonl", b'[{"text": "a dog"}]', r"is a JSON array.*jq -c '.\[\]'"),
        ("a.json", b'[\n{"text": "a dog"}\n]', "is a JSON document"),
        ("a.jsonl", b'{"text": ["a dog"]}\n', "no field with a text in its first row"),
        ("a.txt.bz2", bz2.compress(TEXT.encode())[:-9], "damaged or cut short"),
        ("a.txt.bz2", bz2.compress(TEXT.encode())[:20] + b"\0" * 30, "damaged or cut short"),
        ("a.txt.xz", lzma.compress(TEXT.encode())[:-9], "damaged or cut short"),
        ("a.txt.xz", b"\xfd7z", "is incomplete: it has only 3 bytes"),
    ],
)
def test_what_is_no_corpus_is_named(tmp_path, name, data, says):
    with pytest.raises(CorpusError, match=says):
        read(tmp_path / name, data)


@pytest.mark.parametrize(
    "text", ["PAR1 is a hole\n", "BZh, said the dog\n", "GIF89a files are pictures\n", "Rar! it said\n"]
)
def test_texts_that_begin_as_other_files_do_are_texts(tmp_path, text):
    assert read(tmp_path / "a.txt", text.encode())[0] == [(text.strip(), 1)]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.bz2", "a.txt.xz"])
@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_bzip2_and_xz_are_read_by_their_first_bytes_one_part_after_another(tmp_path, name, pack):
    data = pack(b"A dog barks.\n") + pack(b"A cat sleeps.\n")
    assert read(tmp_path / name, data) == ([("A dog barks.", 1), ("A cat sleeps.", 2)], [])
    with read_corpora([tmp_path / name]) as corpus:
        assert corpus.names == ("a",)


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85"])
def test_unicode_s_own_separators_end_a_line_of_plain_text_only(tmp_path, end):
    found, _ = read(tmp_path / "a.txt", f"one{end}two\nthree{end}\n".encode())
    assert found == [("one", 1), ("two", 1), ("three", 2)]
    assert read(tmp_path / "a.jsonl", f'{{"text": "one{end}two"}}\n'.encode())[0] == [("one two", 1)]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("id|text\n1|a dog, big\n", 2),
        ('id, text\n1, "a dog, big"\n', 2),
        ("sep=;\nid;text\n1;a dog, big\n", 3),
        ('ID,Text\n1,"a dog, big"\n', 2),
    ],
)
def test_dialects_of_csv(tmp_path, data, line):
    assert read(tmp_path / "a.csv", data.encode()) == ([("a dog, big", line)], [])


def test_json_lines_in_a_file_called_json_are_read(tmp_path):
    assert read(tmp_path / "a.json", b'{"text": "a dog"}\n{"text": "a cat"}\n')[0] == [("a dog", 1), ("a cat", 2)]


def test_what_may_have_been_taken_for_a_text_is_said(tmp_path):
    found, said = read(tmp_path / "a.jsonl", b'{"image": "x.jpg", "captions": ["a dog"]}\n')
    assert found == [("x.jpg", 1)] and said == ["a.jsonl: texts are read from 'image', the only field with a text."]
    found, said = read(tmp_path / "a.txt", b'{"text": "a dog"}\n')
    assert (
        found == [('{"text": "a dog"}', 1)]
        and "--text-field" in said[0]
        and "although its first line is JSON" in said[0]
    )
    assert read(tmp_path / "a.txt", b"{a} dog\n")[1] == []
