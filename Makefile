# `make help` prints the texts after ##.
# Only variables that describe this machine (?=) are taken from the shell: some systems set NAME themselves.
# Each target that needs the environment makes it first: once, and again when setup.cfg, setup.py or constraints.txt change.

## NAME      experiment, a file below experiments/ without .yaml
NAME =
## SET       settings for this launch: SET="optim.lr=1e-4 base=pure/paper"
SET =
## LAUNCHER  where a sweep runs: here (this machine), or slurm (a job array)
LAUNCHER = here
## PHOTO     photograph to restore
PHOTO =
## RUN       run whose model restores PHOTO
RUN = pure/nano_photo
## WORKERS   processes of a study, with one thread each
WORKERS ?= 2
## FROM      folder with published weights, for `make weights` without a network
FROM =
## OUT       folder for restored photographs
OUT = restored
## SCALE     how many times PHOTO is enlarged (default: as the run learned it)
SCALE =
## MAX       longest side of a result [px]; a larger photograph is made smaller first
MAX =
## RUNS      folder of runs for board and notebooks
RUNS = runs
## ARGS      arguments of `lit-pure report`
ARGS =
## PORT      port of TensorBoard on this machine
PORT ?= 6006
## PYTHON    Python 3.11 or newer for the environment
PYTHON ?= python3
## VENV      the environment; VENV= (empty) uses PYTHON directly and installs nothing
VENV ?= .venv

.DEFAULT_GOAL := help
.PHONY: help setup exp sweep study weights board report notebooks restore bench gpu docs check test clean

PY := $(if $(VENV),$(VENV)/bin/python,$(PYTHON))
INSTALLED := $(if $(VENV),$(VENV)/.lit_pure_installed,given-environment)
LIT_PURE := $(if $(VENV),$(VENV)/bin/lit-pure    (or just lit-pure, after: . $(VENV)/bin/activate),$(PY) -m lit_pure)
PIP := "$(PY)" -m pip --disable-pip-version-check --quiet install --constraint constraints.txt

define REFUSE_OLD_PYTHON
@command -v "$(PYTHON)" >/dev/null || \
	{ echo 'lit_pure: there is no "$(PYTHON)"; name a Python 3.11 or newer: make PYTHON=/path/to/python3' >&2; exit 1; }
@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lit_pure: needs Python 3.11 or newer, this is " \
	+ sys.version.split()[0] + "; name another: make PYTHON=/path/to/python3")'
endef

# Refused while this file is parsed, before anything is installed.
goal = $(filter $(1),$(MAKECMDGOALS))
ifeq ($(strip $(NAME)),)
$(if $(call goal,exp),$(error NAME is missing; for instance: make exp NAME=demo))
$(if $(call goal,weights),$(error NAME is missing; for instance: make weights NAME=pure/official))
$(if $(call goal,study),$(error NAME is missing; for instance: make study NAME=sampling))
$(if $(call goal,sweep),$(error NAME is missing; for instance: make sweep NAME=sweeps/sampling))
endif
ifeq ($(strip $(PHOTO)),)
$(if $(call goal,restore),$(error PHOTO is missing; for instance: make restore PHOTO=photo.jpg))
endif

help: ## show this text
	@echo 'make TARGET [VARIABLE=value ...]'
	@echo
	@awk '/^[a-z]+:.* ## / { target = $$1; sub(/^.* ## /, ""); printf "  %-10s%s\n", substr(target, 1, length(target) - 1), $$0 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@awk '/^## / { getline set; sub(/^[A-Z]+ [?]?= */, "", set); sub(/^## /, ""); print "  " $$0 (set == "" ? "" : " [" set "]") }' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) ## make the environment VENV with the versions in constraints.txt (minutes, once)

exp: $(INSTALLED) ## run the experiment NAME with SET: train what it needs and itself, evaluate, write runs/NAME/version_N
	@set -f; "$(PY)" -m lit_pure run "$(NAME)" $(SET)
	@echo 'lit-pure: $(LIT_PURE)'

sweep: $(INSTALLED) ## run all experiments of the sweep NAME (a file or a folder) with SET, here or with LAUNCHER=slurm
	@set -f; "$(PY)" -m lit_pure sweep "$(NAME)" $(SET) --launcher "$(LAUNCHER)"

study: $(INSTALLED) ## run the study NAME (data/studies) in WORKERS processes; page and scores go to docs/studies
	@"$(PY)" -m lit_pure study "$(NAME)" --workers "$(WORKERS)"

weights: $(INSTALLED) ## list, download, check and import the weights that the experiment NAME needs
	@"$(PY)" -m lit_pure weights "$(NAME)" $(if $(FROM),--from "$(FROM)")

board: $(INSTALLED) ## show RUNS in TensorBoard on localhost, port PORT
	@"$(PY)" -m tensorboard.main --logdir "$(RUNS)" --host localhost --port "$(PORT)"

report: $(INSTALLED) ## compare finished runs in tables, with ARGS: ARGS="demo --format md"
	@set -f; "$(PY)" -m lit_pure report $(ARGS)

notebooks: $(INSTALLED) ## execute notebooks/ on finished runs (on the demo if none exist), with copies in RUNS/notebooks
	@test -n "$$(find "$(RUNS)" -name summary.json 2>/dev/null | head -n 1)" || "$(PY)" -m lit_pure run demo
	@"$(PY)" -m lit_pure.notebook.execute --out "$(RUNS)/notebooks"

restore: $(INSTALLED) ## restore PHOTO with the model of RUN, and write it to OUT
	@"$(PY)" -m lit_pure restore "$(PHOTO)" --run "$(RUN)" --out "$(OUT)" \
		$(if $(SCALE),--scale "$(SCALE)") $(if $(MAX),--max-size "$(MAX)")

bench: $(INSTALLED) ## compare speeds: decoding with transformers, degradation with basicsr, training with a plain loop
	@"$(PY)" -m lit_pure bench decode --preset tiny --threads 1 --json bench_decode.json
	@"$(PY)" -m lit_pure bench degrade --threads 2 --json bench_degrade.json
	@"$(PY)" -m lit_pure bench train --preset nano --threads 1 --json bench_train.json

gpu: $(INSTALLED) ## on a machine with a GPU: tests of real kernels, then speeds, in nine minutes; figures in bench_gpu/
	@"$(PY)" -m lit_pure bench gpu

docs: $(INSTALLED) ## build the documentation, site/index.html; a warning fails, and nothing is fetched
	@NO_MKDOCS_2_WARNING=1 "$(PY)" -m mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml
	@echo "documentation: site/index.html"

check: $(INSTALLED) ## lint, format, types, imports that go down only, documentation
	"$(PY)" -m ruff check .
	"$(PY)" -m ruff format --check .
	"$(PY)" -m mypy
	"$(PY)" -m pytest -q tests/test_architecture.py
	@$(MAKE) --no-print-directory docs

test: $(INSTALLED) ## run all tests that take seconds, one file at a time on each core (at most four)
	"$(PY)" -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

clean: ## remove caches and build leftovers; never runs/ or VENV
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find lit_pure tests .ci -type d -name __pycache__ -prune -exec rm -rf {} +

.PHONY: given-environment
given-environment:
	$(REFUSE_OLD_PYTHON)

# Two packages contain `cv2`, and the last one installed wins: opencv-python (for facexlib, basicsr) is installed first, so
# that opencv-python-headless (for pyiqa) overwrites it. Only the latter imports on a server without libGL.
# basicsr without dependencies: see setup.cfg. Without build isolation: its setup.py requests torch for the build without
# using it, which took 76 s instead of 2. With basicsr_build: otherwise it does not build on Python 3.13.
# The stamp is written last, so a failed installation is repeated.
$(VENV)/.lit_pure_installed: setup.cfg setup.py constraints.txt pyproject.toml
	$(REFUSE_OLD_PYTHON)
	@rm -f "$@"
	@echo 'setup 1/4: the environment $(VENV)'
	@"$(PY)" -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv "$(VENV)"
	@echo 'setup 2/4: build tools'
	@$(PIP) setuptools opencv-python
	@echo 'setup 3/4: lit_pure and what it needs, with torch 3 GB to download and 6 GB on disk (minutes without output)'
	@$(PIP) --editable '.[dev]'
	@echo 'setup 4/4: basicsr'
	@PYTHONPATH="$(CURDIR)/.ci/basicsr_build" $(PIP) --no-deps --no-build-isolation basicsr
	@touch "$@"
	@echo 'setup: done'
