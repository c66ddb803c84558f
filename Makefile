# make app       start the Space on this machine
# make test      lint, formatting and every test that asserts something, in 8 to 10 minutes on two cores
# make check     what takes long: storms, many ends of processes, comparisons, every test under 100 other seeds
# make lint      ruff only          make format   let ruff rewrite the files
# make clean     remove what these commands made
#
# Variables: PYTHON (3.11 or newer) makes the environment, VENV is where it lives,
# PYTEST_ARGS goes to pytest: make test PYTEST_ARGS='-m "not slow and not check"'.  Files of tests are shared out over the cores.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
APP_READY := $(VENV)/.requirements-installed
DEV_READY := $(VENV)/.requirements-dev-installed

# The folders and files whose tests draw random numbers of their own.
RANDOM_TESTS := $(addprefix tests/,densities diagnostics guidance networks noise_levels sampling score_matching \
  $(addprefix pipelines/test_,pipeline_ncsn.py inpainting.py posterior.py) lecture/test_single_level.py lecture/test_sliced.py)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help app test check lint format clean browser

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

app: $(APP_READY)
	$(BIN)/python app.py

test: $(DEV_READY) browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n auto --dist loadgroup $(PYTEST_ARGS)

check: $(DEV_READY) browser
	$(BIN)/python -m pytest -n auto --dist loadgroup -m check $(PYTEST_ARGS)
	for tests in $(RANDOM_TESTS); do \
	  $(BIN)/python -m pytest -n auto --seeds 100 -m "not slow and not check" $$tests $(PYTEST_ARGS) || exit 1; \
	done

lint: $(DEV_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV_READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The environment is removed only where this Makefile made it, at the default place.
clean:
	rm -rf .venv .pytest_cache .ruff_cache .gradio build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the target because it comes last: an environment that failed half-way is made again.
$(BIN)/pip:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "make: no '$(PYTHON)' here. Install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version.split()[0]; sys.version_info >= (3, 11) or sys.exit("make: Python 3.11 or newer is needed; $(PYTHON) is " + v + ". Name another: make PYTHON=/path/to/python3")'
	"$(PYTHON)" -m venv $(VENV)

$(APP_READY): requirements.txt | $(BIN)/pip
	@echo "Installing requirements.txt into $(VENV) (a few minutes the first time)"
	@$(PIP) install -qq -r requirements.txt
	@touch $@

$(DEV_READY): requirements.txt requirements-dev.txt | $(BIN)/pip
	@echo "Installing requirements-dev.txt into $(VENV) (a few minutes the first time)"
	@$(PIP) install -qq -r requirements-dev.txt
	@touch $(APP_READY) $@

# The page is tested in a real browser; without one its tests fail.
browser:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
	  if command -v $$name >/dev/null; then exit 0; fi; \
	done; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "Installing chromium for the browser tests"; \
	  apt-get update -qq </dev/null >/dev/null && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium </dev/null >/dev/null && exit 0; \
	  echo "make: apt-get could not install chromium." >&2; \
	fi; \
	$(BIN)/python -m playwright install chromium && exit 0; \
	echo "make: no Chromium or Chrome found, so the browser tests cannot run. Install one (Debian: apt-get install chromium) and run 'make test' again." >&2
