"""The benchmark for a GPU, run on a CPU with a tiny shape: it measures what it says, and pretends nothing."""

import re

import pytest
import torch

from benchmarks import bench_gpu


def test_a_tiny_shape_on_a_cpu(capsys):
    arguments = ["--shape", "tiny", "--device", "cpu", "--dtype", "float32", "--images", "2", "--sentences", "200"]
    assert bench_gpu.main([*arguments, "--size", "80x60", "--layers", "1,3"]) == 0
    printed = capsys.readouterr().out
    assert "tiny, random weights, float32 on CPU" in printed
    assert re.search(r"image of 80 x 60 px to states: \d+\.\d ms .* 16 visual tokens, layers 1,3", printed)
    tokens, share = re.search(r"ingest: ([\d,]+) tokens/s .* (\d+)% of the matrix rate", printed).groups()
    assert int(tokens.replace(",", "")) > 0
    assert 0 <= int(share) <= 100
    assert "measured on a GPU only" in printed


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
