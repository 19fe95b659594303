# The first use of any target sets up .venv with everything; later uses start at once.
# Needs git, make and python3 (3.11 or newer), nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo serve test chaos fuzz lint bench lock clean

demo: $(READY)
	$(BIN)/automations demo --out demo

# A server with everything it needs, in ./data.
serve: $(READY)
	$(BIN)/automations serve

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadscope

# A thousand jobs while workers are killed and stopped and the database is restarted: half an hour.
chaos: $(READY)
	$(BIN)/python -m tests.serving.jobs.chaos

# Some 17,000 requests of all kinds to every operation of the API: a few minutes. `make fuzz SEED=7` sends others.
fuzz: $(READY)
	$(BIN)/python -m tests.serving.api.fuzz --seed $(or $(SEED),0)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# All benchmarks, one after the other: about an hour. `make bench NAME=job` runs one.
bench: $(READY)
	$(BIN)/python -m benchmarks $(or $(NAME),all)

$(READY): requirements.lock pyproject.toml
	@echo "setting up $(VENV): about 7 GB of packages, a few minutes on a usual line"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "python 3.11 or newer is needed (PYTHON=...)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Rewrites the pins: versions and hashes, no addresses.
lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --extra dev \
		--custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) build demo
