# make help lists the targets. Nothing here is needed without make: README.md
# has the plain pip and python lines.
PYTHON ?= python3
# The lowest set of versions has no wheels for later Pythons.
PYTHON_MIN ?= python3.11
VENV := .venv
VENV_MIN := .venv-min
VENV_TRACKER := .venv-tracker
BROWSER := .venv-browser
PRESET ?= synthetic
SEED ?=
WORKERS ?= 2
ARGS ?=
RESULTS ?= log/results

# Two test processes of one thread each are faster on two cores than one
# process of two threads.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST := -m pytest tests -n $(WORKERS) --dist worksteal

SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)

.DEFAULT_GOAL := help
.PHONY: help venv demo results results-plus test test-fast test-min test-tracker \
	test-browser lint format bitcheck bench faults wheel clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' \
		$(firstword $(MAKEFILE_LIST))
	@echo 'PYTHON=python3.12 chooses the Python of a new environment,'
	@echo 'ARGS="..." is appended to demo, results, results-plus, test,'
	@echo 'test-fast, test-min, test-tracker, test-browser, bitcheck, bench and faults.'

venv: $(VENV)/.installed ## virtual environment in .venv with the tested versions
# `plus` and `plus-long` are those of the embedded data.
CONFIG = $(if $(filter plus plus-long,$(PRESET)),synthetic-$(PRESET),$(PRESET))
demo: venv ## the main job on embedded data; PRESET=plus, SEED=1
	$(VENV)/bin/python projects/daam/main.py \
		--config-file projects/daam/configs/$(CONFIG).yaml \
		$(if $(SEED),train.seed $(SEED) data.synthetic.seed $(SEED) data.save_dir log/$(CONFIG)-$(SEED)) $(ARGS)

# A row that failed makes the first command end with 1; the report is written
# all the same and says so.
results: venv ## the paper's tables into docs/results.md; goes on where it was
	$(VENV)/bin/python projects/daam/ablation.py all --out $(RESULTS) \
		--workers $(WORKERS) $(ARGS); code=$$?; test $$code -le 1 || exit $$code; \
	$(VENV)/bin/python projects/daam/ablation.py report --out $(RESULTS) \
		--doc docs/results.md && exit $$code

results-plus: venv ## the modern recipe, its peers, other pairs, own cameras; goes on too
	$(VENV)/bin/python projects/daam/ablation.py plus pairs own \
		--out $(RESULTS) --workers $(WORKERS) $(ARGS); \
	code=$$?; test $$code -le 1 || exit $$code; \
	$(VENV)/bin/python projects/daam/ablation.py report --out $(RESULTS) \
		--doc docs/results.md && exit $$code

test: venv ## every test; WORKERS=2 processes
	$(ONE_THREAD) $(VENV)/bin/python $(PYTEST) $(ARGS)

test-fast: venv ## the tests that are not marked slow
	$(ONE_THREAD) $(VENV)/bin/python $(PYTEST) -m 'not slow' $(ARGS)

test-min: $(VENV_MIN)/.installed ## every test with the lowest versions (Python 3.11)
	$(ONE_THREAD) $(VENV_MIN)/bin/python $(PYTEST) $(ARGS)

# Per seed a run that is adapted, and the same one without its rounds.
TRACKER := log/tracker
TRACKER_SEEDS ?= 0 1 2
tracked = $(foreach seed,$(TRACKER_SEEDS),$(TRACKER)/$(1)-$(seed)/export/resnet_tiny_daam_$(1)-$(seed).onnx)
TRACKED_ONNX := $(foreach kind,source adapted,$(call tracked,$(kind)))

test-tracker: $(TRACKED_ONNX) $(VENV_TRACKER)/.installed ## BoxMOT (AGPL) with exported models, in .venv-tracker
	$(VENV_TRACKER)/bin/python examples/boxmot_tracker.py \
		--source $(call tracked,source) \
		--adapted $(call tracked,adapted) $(ARGS)

# The stem is source-0, adapted-0 and so on; run.json is written last.
$(TRACKER)/%/run.json: | venv
	$(VENV)/bin/python projects/daam/main.py \
		--config-file projects/daam/configs/synthetic.yaml \
		$(if $(filter source-%,$*),train.rounds 0 adapt_bn False) \
		train.seed $(lastword $(subst -, ,$*)) \
		data.synthetic.seed $(lastword $(subst -, ,$*)) \
		data.save_dir $(TRACKER)/$* model.resume auto

.SECONDEXPANSION:
$(TRACKED_ONNX): $$(dir $$(@D))run.json
	$(VENV)/bin/python projects/daam/export.py $(dir $(@D))

# The package needs no browser. selenium lies beside the environment, where
# nothing but this target sees it.
test-browser: venv $(BROWSER)/.installed ## the report in headless Chromium, which apt-get installs if need be
	command -v chromium && command -v chromedriver || { \
		$(SUDO) apt-get update && \
		$(SUDO) apt-get install -y chromium chromium-driver; }
	$(ONE_THREAD) PYTHONPATH=$(BROWSER) $(VENV)/bin/python -m pytest -rs \
		tests/test_browser.py $(ARGS)

lint: venv ## ruff: rules and format
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .

format: venv ## ruff: sorts imports, formats
	$(VENV)/bin/python -m ruff check --select I --fix .
	$(VENV)/bin/python -m ruff format .

bitcheck: venv ## same bits as REF=<commit>?
	@test -n '$(REF)' || { echo 'usage: make bitcheck REF=<commit>' >&2; exit 2; }
	$(VENV)/bin/python tests/bitcheck.py $(REF) $(if $(ARGS),-- $(ARGS))

bench: venv ## benchmarks into docs/performance.md; BENCHES="step kmeans" for some
	$(VENV)/bin/python benchmarks/bench.py $(BENCHES) $(if $(ARGS),-- $(ARGS))

faults: venv ## kills runs in every phase, resumes them, compares the bits
	$(ONE_THREAD) $(VENV)/bin/python benchmarks/faults.py $(ARGS)

wheel: venv ## dist/torchreid_daam-<version>-py3-none-any.whl
	rm -rf build
	$(VENV)/bin/python -m pip wheel --no-deps --no-build-isolation -w dist .

clean: ## removes what was built, and caches; keeps environments and data
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './$(VENV)*' \
		-prune -exec rm -rf {} +

distclean: clean ## clean, and the environments
	rm -rf $(VENV) $(VENV_MIN) $(VENV_TRACKER) $(BROWSER)

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	$(call install,$(PYTHON),$(VENV),constraints.txt)

$(VENV_MIN)/.installed: setup.cfg pyproject.toml constraints-min.txt
	$(call install,$(PYTHON_MIN),$(VENV_MIN),constraints-min.txt)

# BoxMOT takes opencv-python, whose files opencv-python-headless would
# overwrite, and installs another onnxruntime by itself if it is not this one.
$(VENV_TRACKER)/.installed: setup.cfg
	test -x $(VENV_TRACKER)/bin/python || $(PYTHON) -m venv $(VENV_TRACKER)
	$(VENV_TRACKER)/bin/python -m pip install boxmot==25.0.0 \
		onnxruntime==1.24.3 torchreid six tensorboard threadpoolctl yacs
	$(VENV_TRACKER)/bin/python -m pip install --no-deps -e .
	@touch $@

$(BROWSER)/.installed: | venv
	$(VENV)/bin/python -m pip install --target $(BROWSER) selenium==4.51.0
	@touch $@

# $(call install,<python>,<environment>,<constraints>)
define install
	@$(1) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"$(1) is Python %d.%d; 3.11 or newer is needed: make PYTHON=..." \
		% sys.version_info[:2])'
	test -x $(2)/bin/python || $(1) -m venv $(2)
	$(2)/bin/python -m pip install -c $(3) -e '.[results,test]'
	@touch $@
endef
