# The newcomer's two commands: `make demo` and `make test`. Everything they need is set up on the way.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CACHE ?= .cache
MODEL := $(CACHE)/demo-model
STORE := $(CACHE)/demo-store
EVALUATION := $(CACHE)/evaluate-demo
IMAGE ?= demo/data/images/scene_14.png
# For a quick look: LIMIT=4 evaluates so many pictures of each group. Use another EVALUATION folder with it.
LIMIT ?=
# Which torch: nothing takes the package index's, cpu PyTorch's own build without CUDA, anything else is given to pip
# (TORCH="torch==2.13.0", or with an --index-url).
TORCH ?=
CPU_WHEELS ?= https://download.pytorch.org/whl/cpu
# The tested version; a build of it (2.13.0+cpu) is that version, too.
PINNED_TORCH := $(shell sed -n '/^torch==/p' constraints.txt)
# Processes that the tests run in.
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); [ $$n -gt 4 ] && n=4; echo $$n)
# Where the tests' banks are: in memory where 10 GiB of it are free, since to make them durable on a disk takes most of the
# time; nothing: where temporary files are.
MEMORY := /proc/meminfo
TESTS_IN ?= $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 {room = $$4} /^MemAvailable:/ {free = $$2} \
	END {if (room > 10485760 && free > 10485760) print "/dev/shm"}' - $(MEMORY) 2>/dev/null)
SOURCES := __init__.py __main__.py api.py drawing.py bootstrap.py cli.py commands schemas models store banks ingest query evaluate images cluster show serve demo benchmarks docs examples tests

export TOKENIZERS_PARALLELISM := false
export OMP_WAIT_POLICY ?= PASSIVE
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: help demo demo-bank examples evaluate-demo test test-torchvision test-quantised test-ray test-openapi test-hostile check lint types docs docs-check screenshots wheel bench demo-train clean

help:
	@echo "make demo        environment, demo model, bank of the bundled corpus, query of a bundled image (TORCH=cpu: without CUDA)"
	@echo "make evaluate-demo  the demo's three lenses on 200 held-out scenes and the photographs: table and plots"
	@echo "make examples    run the notebooks in examples/ and keep their outputs (after make demo)"
	@echo "make test        environment, the whole test suite"
	@echo "make test-torchvision  the tests of the model families with torchvision's image processors"
	@echo "make test-quantised    the tests of 8-bit and 4-bit loading with bitsandbytes"
	@echo "make test-ray    ingest and index on a Ray cluster of real worker processes"
	@echo "make test-openapi  the HTTP interface of the explorer against its description, with schemathesis"
	@echo "make test-hostile  thousands of odd command lines and files (EXAMPLES=N SEED=N)"
	@echo "make check       lint, types, docs, wheel"
	@echo "make docs        write docs/cli.md from --help, the picture of the rooms, the package index's page"
	@echo "make bench       benchmarks (see benchmarks/README.md)"
	@echo "make demo-train  train the demo model's projector again (hours on two cores; needs npm)"

# One environment for everything; pinned to the versions that were tested.
$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "Making an environment in $(VENV). $(if $(TORCH),torch: $(TORCH).,Where the package index has torch with CUDA it takes 5.2 GB; make demo TORCH=cpu takes the small build.)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(if $(TORCH),$(BIN)/python -m pip install --quiet $(if $(filter cpu,$(TORCH)),--index-url $(CPU_WHEELS) $(PINNED_TORCH),$(TORCH)))
	PYTHONWARNINGS='ignore:Editable installation' $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,demo-train]'
	touch $@

$(MODEL)/config.json: $(VENV)/.ready demo/data/projector.safetensors $(wildcard demo/*.py)
	$(BIN)/python -m demo.assemble --out $(MODEL)
	touch $@

# What is there already is not made again.
demo-bank: $(MODEL)/config.json
	$(BIN)/python cli.py ingest --model $(MODEL) --layer 1,2,4,8,12,16,20,24 --store $(STORE) demo/data/corpus.txt.gz

demo: demo-bank
	$(BIN)/python cli.py query $(IMAGE) --store $(STORE) --layer 4,8,16,24
	$(BIN)/python cli.py query $(IMAGE) --store $(STORE) --format json --out $(CACHE)/demo-reading.json
	$(BIN)/python cli.py query $(IMAGE) --store $(STORE) --lens latent,logit,embedding --format html --out $(CACHE)/demo-report.html
	@echo "The model is in $(MODEL), the bank in $(STORE), the whole reading in $(CACHE)/demo-reading.json."
	@echo "Open $(CACHE)/demo-report.html in a browser: every patch, layer and lens to look at."

# Runs the notebooks anew and keeps their outputs.
examples: demo-bank
	$(BIN)/python examples/run.py $(wildcard examples/*.ipynb) --write

# The same command goes on after an interruption.
evaluate-demo: demo-bank
	$(BIN)/python -m demo.annotations --out $(EVALUATION)/annotations.json $(if $(LIMIT),--limit $(LIMIT))
	$(BIN)/python cli.py evaluate --model $(MODEL) --store $(STORE) --images demo/data \
	  --annotations $(EVALUATION)/annotations.json --lens latent,logit,embedding \
	  --layer 0,1,2,4,8,12,16,20,24,28,30 --out $(EVALUATION)
	$(BIN)/python -m demo.result $(EVALUATION)

# Files of tests run beside each other, the longest first (tests/longest_files.py), each process on one core.
test: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(if $(TESTS_IN),PYTEST_DEBUG_TEMPROOT=$(TESTS_IN)) $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

# torchvision from the package index is built for CUDA; beside a CPU build of torch a plugin lets it load.
$(CACHE)/torchvision/.ready: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(CACHE)/torchvision torchvision==0.28.0 timm==1.0.31
	touch $@

test-torchvision: $(CACHE)/torchvision/.ready
	PYTHONPATH=.:tests:$(CACHE)/torchvision $(BIN)/python -m pytest -p torchvision_on_cpu $(wildcard tests/test_models_*.py)

# Its wheel is 125 MB on disk, most of it for GPUs, so it is no part of the environment.
$(CACHE)/bitsandbytes/.ready: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(CACHE)/bitsandbytes bitsandbytes==0.50.2
	touch $@

test-quantised: $(CACHE)/bitsandbytes/.ready
	PYTHONPATH=.:tests:$(CACHE)/bitsandbytes $(BIN)/python -m pytest tests/test_models_quantised.py

# 400 MB on disk with what it needs, so it is no part of the environment. The tests start processes on this machine.
RAY := ray==2.60.0 pyarrow==26.0.1 msgpack==1.2.4 jsonschema==4.26.0 jsonschema-specifications==2025.9.1 \
	referencing==0.37.0 rpds-py==2026.9.1 attrs==26.1.0
$(CACHE)/ray/.ready: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(CACHE)/ray $(RAY)
	touch $@

test-ray: $(CACHE)/ray/.ready
	OMP_NUM_THREADS=1 PYTHONPATH=$(abspath $(CACHE)/ray) $(BIN)/python -m pytest tests/test_cluster_work.py tests/test_cluster_indexing.py tests/test_cluster_nodes.py

OPENAPI := schemathesis==4.32.5 Werkzeug==3.1.9 graphql-core==3.3.2 harfile==0.6.0 hypothesis-graphql==0.13.5 \
	jsonschema_rs==0.60.3 pyrate-limiter==4.5.1
$(CACHE)/openapi/.ready: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(CACHE)/openapi $(OPENAPI)
	touch $@

# Without its plugin for pytest, which wants another version.
test-openapi: $(CACHE)/openapi/.ready
	PYTHONPATH=$(abspath $(CACHE)/openapi) $(BIN)/python -m pytest -p no:schemathesis tests/test_serve_openapi.py

# Odd command lines and files, many of each; the same few are in `make test`. Bounded in time.
test-hostile: $(VENV)/.ready
	@seed=$(or $(SEED),$$(date +%s)); echo "make test-hostile SEED=$$seed tries the same again"; \
	HOSTILE_EXAMPLES=$(or $(EXAMPLES),3000) OMP_NUM_THREADS=1 timeout 3600 \
		$(BIN)/python -m pytest tests/hostile --hypothesis-seed=$$seed

check: lint types docs-check wheel

lint: $(VENV)/.ready
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

# The package is named lensbank, whatever the folder of the checkout is called.
types: $(VENV)/.ready
	mkdir -p .cache/types && ln -sfn ../.. .cache/types/lensbank
	$(BIN)/mypy

docs: $(VENV)/.ready
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_architecture.py
	$(BIN)/python docs/make_method.py
	$(BIN)/python docs/make_readme.py
	$(BIN)/python docs/make_storage.py
	$(BIN)/python docs/make_cluster.py

# The documents' pictures of the page; needs Chromium, and the report that `make demo` writes.
screenshots: $(VENV)/.ready
	$(BIN)/python cli.py query demo/data/images/photo_chelsea.jpg --store $(STORE) --lens latent,logit,embedding --format html \
	  --out $(CACHE)/demo-photo.html
	$(BIN)/python cli.py query demo/data/images/scene_03.png demo/data/images/photo_chelsea.jpg --together --prompt "What do you see?" \
	  --read image,prompt,answer --answer-tokens 9 --store $(STORE) --lens latent,logit --layer 8,16,24 --format html --out $(CACHE)/demo-together.html
	$(BIN)/python docs/make_screenshots.py $(CACHE)/demo-report.html $(CACHE)/demo-photo.html $(CACHE)/demo-together.html

docs-check: $(VENV)/.ready
	$(BIN)/python docs/make_cli.py --check
	$(BIN)/python docs/make_architecture.py --check
	$(BIN)/python docs/make_method.py --check
	$(BIN)/python docs/make_readme.py --check
	$(BIN)/python docs/make_storage.py --check
	$(BIN)/python docs/make_cluster.py --check

# A wheel that installs in a clean environment and answers from another folder.
wheel: $(VENV)/.ready
	rm -rf build dist $(CACHE)/wheel-env
	$(BIN)/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv $(CACHE)/wheel-env
	$(CACHE)/wheel-env/bin/python -m pip install --quiet --upgrade pip
	$(CACHE)/wheel-env/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	$(BIN)/python tests/check_wheel.py dist/*.whl $(CACHE)/wheel-env/bin/python
	rm -rf $(CACHE)/wheel-env build

bench: $(MODEL)/config.json
	$(BIN)/python -m pip install --quiet --no-deps latentlens==0.1.0
	$(BIN)/python -m benchmarks.compare_official --model $(MODEL)
	$(BIN)/python -m benchmarks.compare_dtypes --model $(MODEL) demo/data/images/scene_*.png
	$(BIN)/python -m benchmarks.bench_page

demo-train: $(VENV)/.ready
	$(BIN)/python -m demo.train
ifdef PHOTOS
	$(BIN)/python -m demo.photo_cells --photos $(PHOTOS) --out $(CACHE)/photo-cells.pt
	@echo "Now choose a checkpoint (python -m demo.validate) and teach it photographs:"
	@echo "  $(BIN)/python -m demo.photo_fit --cells $(CACHE)/photo-cells.pt --features FOLDER --projector CHECKPOINT --out FILE"
endif

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache $(STORE)
