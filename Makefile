# make lab    the lab in the browser        make test       everything that is checked
# make bench  the table of figures          make notebooks  run the lessons again, and keep what they print
# make screen   build the page side of the screen again (needs node and npm)
# make picture  take the picture of the README again (needs chromium)   make clean      away with the environment
# make box      a Debian 13 for `vagrant up` with libvirt (needs root)  make vm-test    boot it for real (needs root)
# make fresh-root SUITE=trixie   follow the README in a fresh Debian of that suite (needs root and mmdebstrap)
#
# The environment is .venv, from the versions in constraints.txt. Another Python: make lab PYTHON=python3.13

PYTHON ?= python3
BIN := .venv/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(BIN)/python -m pip --quiet

# What sudo made here belongs to whom it was made for.
HAND_BACK := [ -z "$$SUDO_UID" ] || chown -R "$$SUDO_UID:$$SUDO_GID" .venv build

.PHONY: lab test bench notebooks picture screen box vm-test fresh-root clean

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

# Python's packages are fetched here, with this machine's settings, and installed in the box without a network.
box: .venv/.installed
	rm -rf build/wheels
	$(PIP) download --python-version 3.13 --only-binary=:all: --dest build/wheels . hatchling
	vm/make-box; status=$$?; $(HAND_BACK); exit $$status

vm-test: .venv/.installed
	@$(BIN)/python -m tools.vm_test; status=$$?; $(HAND_BACK); exit $$status

fresh-root: .venv/.installed
	@$(BIN)/python -m tools.fresh_root $(SUITE); status=$$?; $(HAND_BACK); exit $$status

clean:
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("labkit needs Python 3.11 or newer, and " \
	  + sys.executable + " is " + sys.version.split()[0] + ": make ... PYTHON=python3.13 names another one")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make environments (no venv or ensurepip): on Debian and Ubuntu, apt install python3-venv" >&2; \
	  exit 1; }
	@echo "Making the environment in .venv: a minute or two, once."
	@$(PYTHON) -m venv .venv
	@$(PIP) install --editable .
	@touch $@

.venv/.installed-dev: .venv/.installed
	@$(PIP) install --editable '.[dev]'
	@touch $@
