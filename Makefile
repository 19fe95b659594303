# The first use of any target sets up .venv with everything; later uses start at once.
# Needs git, make and python3 (3.11 or newer), nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo serve test buckets chaos drill fuzz image-check lint bench lock clean

demo: $(READY)
	$(BIN)/automations demo --out demo

# A server with everything it needs, in ./data.
serve: $(READY)
	$(BIN)/automations serve

# Four at once also on two cores: many wait for processes of theirs. What fails beside the others is asked once more,
# alone, and said to be; what fails twice fails. Compiled before, or each of some hundred processes would do so for itself
# where Python may not write (PYTHONDONTWRITEBYTECODE).
test: $(READY)
	$(BIN)/python -m compileall -q serving models pipeline configs tests
	$(BIN)/python -m pytest -n 4 --dist loadscope --no-loadscope-reorder -m "not drill" \
		|| { test $$? = 1 && echo "the failed ones once more, alone:" \
		&& $(BIN)/python -m pytest --last-failed --last-failed-no-failures none -m "not drill"; }

# All that is stored in tests is in a bucket of an S3 server instead of in folders: moto's, which comes with the tests, or
# one that runs, `make buckets SERVER=http://127.0.0.1:9000` (docs/storage.md). 5 to 20 minutes on two cores.
buckets: $(READY)
	TEST_STORE=$(or $(SERVER),bucket) $(BIN)/python -m pytest -n 2 --dist loadscope -m "not drill" \
		tests/serving/uploads tests/serving/storage tests/serving/fetching tests/serving/api/test_front_door.py

# A thousand jobs while workers are killed and stopped and the database is restarted: half an hour.
chaos: $(READY)
	$(BIN)/python -m tests.serving.jobs.chaos

# Replicas, Serve and Ray itself are killed under jobs, ten times each, and models are replaced, by good ones and by broken
# ones: half an hour.
drill: $(READY)
	$(BIN)/python -m pytest -m drill
	$(BIN)/python -m tests.serving.graph.drill --times 10
	$(BIN)/python -m tests.serving.graph.drill_swaps

# Some 17,000 requests of all kinds to every operation of the API: a few minutes. `make fuzz SEED=7` sends others.
fuzz: $(READY)
	$(BIN)/python -m tests.serving.api.fuzz --seed $(or $(SEED),0)

# The steps of Dockerfile.gpu in a plain Debian 13, and what they built started: 10 minutes, 17 GB meanwhile. As root,
# with debootstrap.
image-check: $(READY)
	$(BIN)/python -m tests.deploying.in_a_debian_root

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# All benchmarks, one after the other: about an hour. `make bench NAME=job` runs one.
bench: $(READY)
	$(BIN)/python -m benchmarks $(or $(NAME),all)

# Compiled at once: where Python may not write (PYTHONDONTWRITEBYTECODE), each process would compile torch for itself.
$(READY): requirements.lock pyproject.toml
	@echo "setting up $(VENV): about 7 GB of packages, a few minutes on a usual line"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "python 3.11 or newer is needed (PYTHON=...)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Rewrites the pins: versions and hashes, no addresses.
lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --extra dev --extra kms \
		--custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) build demo
