# make demo: a small search, its plots, templates and limits in demo-output/.   make test: the test suite.
# make docs: the documentation in build/docs/html/index.html.
# All make their own environment in .venv from a plain python3 (3.10 or newer).
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
PIP_FLAGS := --quiet --disable-pip-version-check
# which torch 'make weaver' takes, e.g. TORCH=torch==2.13.0, or a wheel without CUDA
TORCH ?= torch>=2.6

.PHONY: demo docs test reference-plots readme-picture lint types dev weaver clean

demo: $(VENV)/.test
	$(PY) examples/demo.py demo-output

test: $(VENV)/.test
	$(PY) -m pytest -q -n auto --dist worksteal $(TESTS)

# the documentation site; warnings are errors
docs: $(VENV)/.docs
	$(PY) -m sphinx -W --keep-going -q -b html docs build/docs/html
	@echo "open build/docs/html/index.html"

# the pictures that tests compare plots with, drawn anew: look at them before they are committed
reference-plots: $(VENV)/.test
	$(PY) tests/reference_figures.py

# docs/roc.png, by running the example of the README
readme-picture: $(VENV)/.test
	$(PY) -m benchmarks.readme_picture

lint: $(VENV)/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# as in a wheel: with the processors inside the package
types: $(VENV)/.dev
	rm -rf build/types && mkdir -p build/types && cp -R jettagger build/types/ && cp -R processors build/types/jettagger/
	cd build/types && ../../$(PY) -m mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache

dev: $(VENV)/.dev

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$(PYTHON) is older than 3.10: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "no venv module: install it (Debian: apt install python3-venv)"; exit 1; }
	touch $@

$(VENV)/.test: $(VENV)/.python setup.cfg pyproject.toml
	$(PY) -m pip install $(PIP_FLAGS) -e '.[test,plot,dask,stats]'
	touch $@

$(VENV)/.docs: $(VENV)/.test
	$(PY) -m pip install $(PIP_FLAGS) -e '.[test,plot,dask,stats,docs]'
	touch $@

$(VENV)/.dev: $(VENV)/.test
	$(PY) -m pip install $(PIP_FLAGS) -e '.[test,plot,dask,stats,dev]'
	touch $@

# weaver-core with torch (gigabytes), for comparisons with its loader and for training: an environment of its own
weaver: .venv-weaver/.done

.venv-weaver/.done: setup.cfg
	$(PYTHON) -m venv .venv-weaver || { echo "no venv module: install it (Debian: apt install python3-venv)"; exit 1; }
	.venv-weaver/bin/python -m pip install $(PIP_FLAGS) '$(TORCH)' -e '.[weaver]'
	touch $@

clean:
	rm -rf $(VENV) .venv-weaver demo-output build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf docs/api docs/commands docs/examples docs/gallery docs/keys docs/models docs/project docs/search
