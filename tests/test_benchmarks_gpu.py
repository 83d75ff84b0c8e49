"""The benchmark for a GPU, run on a CPU with a tiny shape: it measures what it says, and pretends nothing."""

import re

import pytest
import torch

from benchmarks import bench_gpu, gpu_banks


def test_a_tiny_shape_on_a_cpu(capsys):
    assert bench_gpu.main(["--tiny"]) == 0
    printed = capsys.readouterr().out
    assert "tiny, random weights, float32 on CPU" in printed
    assert re.search(r"image of 80 x 60 px to states: \d+\.\d ms .* 16 visual tokens, layers 1,3", printed)
    tokens, share = re.search(r"forward alone: ([\d,]+) tokens/s .* (\d+)% of the matrix rate", printed).groups()
    assert int(tokens.replace(",", "")) > 0
    assert 0 <= int(share) <= 100
    assert "measured on a GPU only" in printed
    kept = re.findall(r"(\d) writing: ([\d,]+) rows of each layer durable in \d+\.\d\d s", printed)
    assert [number for number, _ in kept] == ["1", "2"] and kept[0][1] == kept[1][1] != "0"
    assert re.search(r"exact search of 20 states in 2 x 3,000 rows of width 64: .* x the product alone", printed)


def test_what_is_searched_is_found():
    """The search that is timed is the one that finds."""
    draw, seen = torch.Generator().manual_seed(0), []
    rows = torch.randn(500, 16, generator=draw)
    states = torch.randn(3, 16, generator=draw)
    best = (states / states.norm(dim=1, keepdim=True)) @ (rows / rows.norm(dim=1, keepdim=True)).T
    real = gpu_banks.nearest
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gpu_banks, "nearest", lambda *asked: seen.append(real(*asked)) or seen[-1])
        found = gpu_banks.search(torch.device("cpu"), 2, 500, 16, 3)
    assert set(found) == {"first", "then", "bare"} and len(seen) == 2 * (1 + gpu_banks.ROUNDS)
    assert [at[0] for _, at in seen[0]] == best.argmax(1).tolist()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_measures_nothing(capsys):
    assert bench_gpu.main(["--shape", "tiny"]) == 1
    printed = capsys.readouterr()
    assert printed.err == "No GPU was found: nothing was measured.\n"
    assert printed.out == ""


@pytest.mark.parametrize(("shape", "billions"), [("llava-1.5-7b", 7.06), ("qwen2.5-vl-7b", 8.29)])
def test_the_shapes_are_those_of_the_published_models(shape, billions):
    make = bench_gpu._qwen if shape.startswith("qwen") else bench_gpu._llava
    with torch.device("meta"):
        model, _ = make(shape, bench_gpu._tokenizer())
    assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(billions, abs=0.01)
