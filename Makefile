# make demo   a portrait drawing of a photograph, with trained weights
# make test   everything that has to pass before a change goes in
# make site   the documentation as a site, into site/; a link that leads nowhere is an error
# make bench  our speed and memory against the plain way, into benchmarks/RESULTS.md: an hour on an idle machine;
#             then the tests that need CUDA. It says what it skips, and why. AGAINST=REVISION: also against that
# All use .venv, and make it or bring it up to date first.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python -m
SAMPLE := docs/sample/eileen-collins.jpg
PROJECTS := pyproject.toml $(wildcard plugins/*/pyproject.toml)
PLUGINS := $(patsubst %/pyproject.toml,-e ./%,$(wildcard plugins/*/pyproject.toml))

.PHONY: demo test site bench

demo: $(VENV)/installed
	$(RUN) zoo translate cycleda $(SAMPLE) -o demo.png --on-exists overwrite
	@echo "The drawing of $(SAMPLE) is $(CURDIR)/demo.png"

test: $(VENV)/installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) pytest -m "slow or not slow" -n auto --dist worksteal

site: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict --quiet
	@echo "The site is $(CURDIR)/site/index.html"

bench: $(VENV)/installed
	$(VENV)/bin/python benchmarks/speed.py $(if $(AGAINST),--against $(AGAINST))
	$(RUN) pytest -m cuda -rs

# The stamp is older than a pyproject.toml that has changed. An environment that does not run is made anew.
$(VENV)/installed: $(PROJECTS)
	$(RUN) pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(RUN) pip install --disable-pip-version-check --quiet -e '.[dev]' $(PLUGINS)
	@touch $@
