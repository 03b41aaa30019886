# make, or make help: what there is. All targets make their own environment in .venv from a plain python3 (3.10 or newer).
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
# pip shows what it does on a terminal, and says nothing in logs
PIP_FLAGS := --disable-pip-version-check $(shell test -t 2 || echo --quiet)
# which torch 'make weaver' takes, e.g. TORCH=torch==2.13.0, or a wheel without CUDA
TORCH ?= torch>=2.6

.PHONY: help demo docs test reference-plots readme-picture lint types dev weaver clean

help: ## these lines
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-24s %s\n", $$1, $$2}'
	@echo "The environment is made in $(VENV) when it is first needed (about 1 GB); 'make demo' says how long that takes."

demo: $(VENV)/.demo ## a small search, which says what it does: scores, plots, templates and limits in demo-output/
	@$(PY) examples/demo.py demo-output

test: $(VENV)/.test ## the tests; TESTS=tests/test_batching.py for some
	$(PY) -m pytest -q -n auto --dist worksteal $(TESTS)

docs: $(VENV)/.docs ## the documentation site in build/docs/html; warnings are errors
	$(PY) -m sphinx -W --keep-going -q -b html docs build/docs/html
	@echo "open build/docs/html/index.html"

reference-plots: $(VENV)/.test ## the pictures that tests compare plots with, drawn anew: look at them before you commit
	$(PY) tests/reference_figures.py

readme-picture: $(VENV)/.test ## docs/demo.png from the demo, and docs/roc.png from the example of docs/start.md
	$(PY) -m benchmarks.readme_picture

lint: $(VENV)/.dev ## ruff
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/.dev ## mypy, as in a wheel: with the processors inside the package
	rm -rf build/types && mkdir -p build/types && cp -R jettagger build/types/ && cp -R processors build/types/jettagger/
	cd build/types && ../../$(PY) -m mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache

dev: $(VENV)/.dev ## the environment with everything for the above

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$(PYTHON) is older than 3.10: make PYTHON=python3.11 ..."; exit 1; }
	@echo "Making an environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: install it (Debian: apt install python3-venv)"; exit 1; }
	@touch $@

$(VENV)/.demo: $(VENV)/.python setup.cfg pyproject.toml
	@echo "Installing jettagger and the packages that it needs into $(VENV) (about 1 GB): one to three minutes, only the first time."
	@$(PY) -m pip install $(PIP_FLAGS) -e '.[plot,stats]'
	@touch $@

$(VENV)/.test: $(VENV)/.python setup.cfg pyproject.toml
	$(PY) -m pip install $(PIP_FLAGS) -e '.[test,plot,dask,stats]'
	touch $@ $(VENV)/.demo

$(VENV)/.docs: $(VENV)/.test
	$(PY) -m pip install $(PIP_FLAGS) -e '.[test,plot,dask,stats,docs]'
	touch $@

$(VENV)/.dev: $(VENV)/.test
	$(PY) -m pip install $(PIP_FLAGS) -e '.[test,plot,dask,stats,dev]'
	touch $@

# for comparisons with its loader and for training
weaver: .venv-weaver/.done ## weaver-core with torch (gigabytes), in an environment of its own

.venv-weaver/.done: setup.cfg
	$(PYTHON) -m venv .venv-weaver || { echo "no venv module: install it (Debian: apt install python3-venv)"; exit 1; }
	.venv-weaver/bin/python -m pip install $(PIP_FLAGS) '$(TORCH)' -e '.[weaver]'
	touch $@

clean: ## removes the environments and all that was made
	rm -rf $(VENV) .venv-weaver demo-output build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf docs/api docs/commands docs/examples docs/gallery docs/keys docs/models docs/project docs/search
