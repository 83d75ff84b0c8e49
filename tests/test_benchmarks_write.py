"""The benchmark of writing measures what it says, at a size that takes seconds."""

import sys

import pytest

from benchmarks import bench_write


def test_ids_and_payloads_are_of_distinct_words_in_their_sentences():
    ids, payloads = bench_write.words(bench_write.CORPUS, 500)
    assert len(set(ids)) == len(payloads) == 500
    for payload in payloads:
        assert payload["sentence"][payload["char_start"] : payload["char_end"]] == payload["word"]
    with pytest.raises(ValueError, match="rows, 1,000,000,000 are wanted"):
        bench_write.words(bench_write.CORPUS, 1_000_000_000)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a running process's time is not told")
def test_a_line_for_every_number_of_writers(capsys):
    assert bench_write.main(["--widths", "16", "--rows", "300", "--banks", "2", "--writers", "1,2"]) == 0
    *_, rule, one, two = capsys.readouterr().out.splitlines()
    assert set(rule) == {"|", "-"}
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (one, two)]
    assert [row[:3] for row in cells] == [["16", "300", "1"], ["16", "300", "2"]]
    assert cells[0][4] == "1.00"
    assert all(float(row[5].split()[0]) >= 0 and float(row[3].replace(",", "")) > 0 for row in cells)


def test_widths_and_rows_go_in_pairs(capsys):
    with pytest.raises(SystemExit) as ended:
        bench_write.main(["--widths", "16", "--rows", "300,400"])
    assert ended.value.code == 2 and "1 widths, but 2 numbers of rows" in capsys.readouterr().err
