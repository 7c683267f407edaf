# Every target does its own set-up. CONSTRAINTS= installs the newest versions instead of the tested ones.
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin
READY := .venv/.ready

# uv takes half of pip's time. It doesn't read pip's configuration: where that alone knows an index, pip installs.
# Compiled here, since an environment with PYTHONDONTWRITEBYTECODE would compile torch at each start.
WHAT = --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) '$(1)'
install = $(BIN)/uv pip install --python $(BIN)/python --compile-bytecode $(WHAT) || $(BIN)/python -m pip install $(WHAT)

.PHONY: setup demo test lint coverage trackers mutants audit bench chaos soak fuzz gpu-check gpu-evidence cluster-up cluster-down clean parity docs lock

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "SemiSegBench needs Python 3.10 or newer: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || true
	$(call install,.[dev])
	@touch $(READY)

demo: $(READY)
	$(BIN)/python bench.py run demo --workers 2
	$(BIN)/python bench.py table demo
	$(BIN)/python bench.py plot convergence demo --output plots/demo
	$(BIN)/python bench.py plot qualitative demo --output plots/demo

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Three workers, one of which has the tests on a cluster (tests/schedule.py).
test: lint
	$(BIN)/python -m pytest -n 3 -rs

# Branch coverage of all tests but those on Slurm, child processes included.
coverage: $(READY)
	rm -f build/coverage/.coverage*
	$(BIN)/python -m coverage run -m pytest -n 2 -m "not slurm" -q
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m tests.covered

# Mutation testing of losses, metrics, protocols and statistics: hours. ONLY='bench.report.statistics*' takes a part; what is
# known already is kept in mutants/ and not tried again.
ONLY ?=

mutants: $(READY)
	$(call install,.[mutants])
	$(BIN)/mutmut run $(if $(ONLY),'$(ONLY)')
	$(BIN)/python -m tests.mutants

# The trackers whose packages aren't in `dev`, read back; Trackio wants another Pillow, so that they go into a folder of their own.
trackers: $(READY)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target build/trackers 'trackio>=0.43' 'wandb>=0.22'
	BENCH_REQUIRE_TRACKERS=1 PYTHONPATH=build/trackers $(BIN)/python -m pytest -q tests/bench/track

# Known vulnerabilities of the locked packages. It asks PyPI, and says so where it can't be reached.
audit: $(READY)
	$(BIN)/uv tool run pip-audit --requirement constraints.txt --no-deps --disable-pip

# Attacks on a small grid, a line for each class; a full disk needs root. At most 15 minutes.
chaos: $(READY)
	$(BIN)/python -m tests.chaos_attacks --minutes 13

# Does anything grow in 1,000 cells of one `run`, or in 20,000 steps of one cell? Half an hour.
soak: $(READY)
	$(BIN)/python -m tests.soak

# More of the fuzzing that `make test` does in seconds: EXAMPLES of each kind of file, others each time.
EXAMPLES ?= 2000

fuzz: $(READY)
	BENCH_FUZZ=$(EXAMPLES) $(BIN)/python -m pytest -n 2 tests/fuzz

bench: $(READY)
	$(BIN)/python -m tests.benchmarks

# The documentation, in build/docs; a link that leads nowhere is an error.
docs: $(READY)
	$(call install,.[docs])
	$(BIN)/mkdocs build --strict --quiet

# uv.lock and constraints.txt: the same versions. UPGRADE=--upgrade takes the newest ones.
lock:
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/uv/bin/uv lock $(UPGRADE)
	@echo '# The versions of uv.lock, for pip; written by `make lock`. Older Pythons take what they can get.' > constraints.txt
	build/uv/bin/uv export --quiet --locked --all-extras --no-extra trackio --no-hashes --no-emit-project --no-annotate --no-header \
	  | sed 's/ *;.*//; s/$$/; python_version >= "3.11"/' >> constraints.txt

# The authors' code and ours side by side: BENCH_PARITY=DIR make parity, where DIR holds checkouts (see tests/parity).
parity: $(READY)
	$(BIN)/python -m tests.parity

# Every check that needs a GPU, the most important first; no line starts after BUDGET minutes. PYTHON= takes an interpreter
# that has the packages already, where none can be installed.
BUDGET ?= 8

ifeq ($(origin PYTHON),command line)
ON_GPU := $(PYTHON)
else
ON_GPU := $(BIN)/python
gpu-check gpu-evidence: $(READY)
endif

gpu-check:
	$(ON_GPU) -m tests.gpu --budget $(BUDGET)

# As many cells of the grid voc-animals-gpu as end in TIME, WORKERS of them side by side; their results are a bundle then, which
# `python bench.py merge` takes into another store. See CONTRIBUTING.md for what a bare machine needs.
TIME ?= 9m
WORKERS ?= 10
VOC_ANIMALS ?= ../shared/voc-animals-288
EVIDENCE ?= results/evidence

gpu-evidence:
	@mkdir -p $(EVIDENCE)
	$(ON_GPU) bench.py run voc-animals-gpu --data voc_animals=$(VOC_ANIMALS) --store $(EVIDENCE)/runs --workers $(WORKERS) \
	  --for $(TIME) --set resources.threads=1; code=$$?; test $$code -eq 0 -o $$code -eq 75
	$(ON_GPU) bench.py bundle voc-animals-gpu --data voc_animals=$(VOC_ANIMALS) --store $(EVIDENCE)/runs --force \
	  --output $(EVIDENCE)/voc-animals-gpu.zip

# A real Slurm on this machine, to rehearse a grid on; as root. CLUSTER is the folder of its state.
CLUSTER ?= /tmp/bench-cluster

cluster-up:
	slurm/testcluster/install
	slurm/testcluster/up $(CLUSTER)

cluster-down:
	slurm/testcluster/down $(CLUSTER) --wipe

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache plots
