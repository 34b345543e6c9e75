# make reproduce   environment from the lock, the main tables and their page, then where they are
# make grid        the same with every ablation
# make robustness  whether the ranking survives other encoders, widths, training sets and budgets
# make ct          every method on volumes of chest CT (docs/ct.md): tables in reports/ct
# make understanding   what the trained methods make of one changed finding (docs/understanding.md)
# make test        environment from the lock, then every test but the slow ones
# make test-all    the slow ones too: trainings, processes, whole official tables, as in CI
# make fuzz        100,000 damaged inputs on every parser; FUZZ="--inputs 5000 --processes 2 --minutes 10"
# make chaos       a small cell under kills, a full disk, read-only folders and more; CHAOS="--kills 20"
# make perf-check  ratios of speed against those recorded in perf/ratios.json, of this kind of processor
# make places      the smallest profile in two folders, for two users and time zones: equal hashes and tables
PYTHON ?= python3
VENV ?= .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export HF_HUB_OFFLINE ?= 1

.PHONY: reproduce grid ct robustness understanding test test-all lint smoke places perf-check docs fuzz chaos audit lock clean

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

# The main tables: every method, seed and evaluation set; then figures and page of what is there.
reproduce: $(VENV)/.installed
	dvc repro tables difficulty
	bench report all
	bench report --where
	bench report changes

# The whole grid: the ablations too, then figures, verdicts and the page. Goes on where it was stopped.
grid: $(VENV)/.installed
	dvc repro
	bench report --where
	bench report changes

# Chest CT: twins of volumes, main and ablation cells, tables. Goes on where it was stopped.
ct: $(VENV)/.installed
	dvc repro ct

# Every method under other encoders, widths and training sets, then with 1, 2, 4 and 8 times 20 epochs, then CARZero
# and RadZero with other layers and widths: under four hours of two cores. Goes on where it was stopped; the default
# is that of `make reproduce`.
robustness: $(VENV)/.installed
	bench stage cells main
	bench stage robustness
	$(BIN)/python perf/curves.py
	bench stage cells size
	bench stage cells labels
	bench stage cell carzero-published
	bench stage summarise all
	bench report ablations

# From the trained main cells; what is done is reused.
understanding: $(VENV)/.installed
	bench stage understanding
	bench stage gallery

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.installed
	ruff check .
	ruff format --check .
	mypy

# The whole pipeline at the smallest size, in a folder of its own, so that the default results stay.
smoke: $(VENV)/.installed
	rm -rf scratch/smoke && mkdir -p scratch/smoke
	git ls-files -z | xargs -0 cp --parents -t scratch/smoke
	cd scratch/smoke && rm -rf .dvc/config && dvc init --no-scm -f -q && bench stage profile smoke && dvc repro --quiet && bench report --where

# The same twice, in two folders, with another user, time zone and language; then an edit and a new method.
places: $(VENV)/.installed
	$(BIN)/python -m tests.places

# Fails where a ratio is more than 20% below the recorded one; `perf/ratios.py --record` writes them down.
perf-check: $(VENV)/.installed
	$(BIN)/python perf/ratios.py

# The documentation as a site in scratch/docs; a link that leads nowhere is an error.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet

# Goes on where it was stopped; figures on standard output, inputs that broke a promise in scratch/fuzz/broken.
fuzz: $(VENV)/.installed
	$(BIN)/python -m tests.fuzz.campaign $(FUZZ)

chaos: $(VENV)/.installed
	$(BIN)/python -m tests.chaos.campaign $(CHAOS)

# Known vulnerabilities of what is locked: any that is found fails, but for those named here with their reasons
# (none today; `--ignore-vuln ID`). A mirror without advisories would pass everything, so the service is asked first
# for what is known of an old version; one that cannot say is one printed line, and nothing was checked.
AUDIT_EXCEPTIONS :=
audit: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip-audit>=2.7,<3"
	@mkdir -p scratch && echo "pip==19.0" > scratch/old.txt; \
	  $(BIN)/pip-audit -r scratch/old.txt --no-deps --disable-pip 2>/dev/null | grep -qE "PYSEC|GHSA|CVE" \
	  || { echo "audit: no service of advisories can be reached; nothing was checked"; exit 0; }; \
	  $(BIN)/pip-audit -r requirements.lock --no-deps --disable-pip $(AUDIT_EXCEPTIONS)

lock:
	uv pip compile pyproject.toml --extra weights --extra dev --extra docs --extra exchange --extra page --universal --python-version 3.11 \
	  --no-header --no-annotate -o requirements.lock

clean:
	rm -rf data runs results .cache scratch mlflow.db mlartifacts reports/figures
