# make lab    the lab in the browser        make test       everything that is checked
# make bench  the table of figures          make notebooks  run the lessons again, and keep what they print
# make screen   build the page side of the screen again (needs node and npm)
# make picture  take the picture of the README again (needs chromium)   make clean      away with the environment
#
# The environment is .venv, from the versions in constraints.txt. Another Python: make lab PYTHON=python3.13

PYTHON ?= python3
BIN := .venv/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(BIN)/python -m pip install --quiet

.PHONY: lab test bench notebooks picture screen clean

# For example: make lab ARGS="--port 9000 --no-browser"
lab: .venv/.installed
	@$(BIN)/labkit start $(ARGS)

test: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(ARGS)

bench: .venv/.installed-dev
	@$(BIN)/python -m benchmarks $(ARGS)

picture: .venv/.installed-dev
	@$(BIN)/python -m tools.picture

notebooks: .venv/.installed-dev
	@$(BIN)/python -m tools.refresh_notebooks $(ARGS)

screen:
	cd labkit/screen/js && npm ci --ignore-scripts && npm run check && npm run build

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("labkit needs Python 3.11 or newer, and " \
	  + sys.executable + " is " + sys.version.split()[0] + ": make ... PYTHON=python3.13 names another one")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make environments (no venv or ensurepip): on Debian and Ubuntu, apt install python3-venv" >&2; \
	  exit 1; }
	@echo "Making the environment in .venv: a minute or two, once."
	@$(PYTHON) -m venv .venv
	@$(PIP) --editable .
	@touch $@

.venv/.installed-dev: .venv/.installed
	@$(PIP) --editable '.[dev]'
	@touch $@
