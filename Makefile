# `make repro`: everything from nothing to the metrics and the report.  `make study`: the grid of controls after it.
#  `make test`: everything that is checked.  `make test-faults`: longer, kills, full disks, no memory, broken files.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin

.PHONY: setup repro report study arms records resume curve final final-arms bench exp quick browser test check same test-faults audit
.NOTPARALLEL:
# The code that runs is this copy's, whatever the shell has set for another one.
unexport PYTHONPATH

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python")'
	"$(PYTHON)" -m venv .venv
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

repro: setup
	@PATH="$(BIN):$$PATH" rlrf4rec estimate
	PATH="$(BIN):$$PATH" dvc repro

report: setup
	PATH="$(BIN):$$PATH" dvc repro report

study: setup
	PATH="$(BIN):$$PATH" dvc repro studies/controls/dvc.yaml

# Several policies for every arm that could kill the claim: hours.
arms: setup
	PATH="$(BIN):$$PATH" dvc repro studies/arms/dvc.yaml

# What a run has sampled, scored and searched goes into Git, for other clones to go on from: a remote of DVC, in records/.
RECORDED := sample score pair tune_reward tune_dpo

records: setup
	mkdir -p records
	PATH="$(BIN):$$PATH" dvc push -r records $(RECORDED)
	git add records

# In such a clone, before `make repro`: which then makes the rest.
resume: setup
	PATH="$(BIN):$$PATH" dvc pull -r records --allow-missing $(RECORDED)

curve: setup
	PATH="$(BIN):$$PATH" dvc repro studies/learning_curve/dvc.yaml

# Looks at the users that are kept apart, and writes it down: of what is committed, once.
final: setup
	PATH="$(BIN):$$PATH" rlrf4rec ready
	PATH="$(BIN):$$PATH" dvc repro studies/final/dvc.yaml
	PATH="$(BIN):$$PATH" dvc repro report
	@echo 'final: whatever it says, `rlrf4rec check --write`, then commit metrics, studies/final, dvc.lock and README.md'

# The same of the study of arms: as many texts of the final users as it has policies and arms, so hours where these are many.
final-arms: setup
	PATH="$(BIN):$$PATH" rlrf4rec ready --arms
	PATH="$(BIN):$$PATH" dvc repro studies/final_arms/dvc.yaml
	PATH="$(BIN):$$PATH" dvc repro report
	@echo 'final-arms: whatever it says, `rlrf4rec check --write`, then commit metrics, studies/final, studies/final_arms, dvc.lock and README.md'

# A recipe of recipes/ as an experiment: make exp RECIPE=smoke
exp: setup
	PATH="$(BIN):$$PATH" rlrf4rec exp "$(or $(RECIPE),default)"

# The whole loop on some ninety users, with its report, in minutes; its numbers say nothing.
quick: setup
	PATH="$(BIN):$$PATH" rlrf4rec exp smoke

bench: setup
	PATH="$(BIN):$$PATH" dvc repro --force --single-item studies/bench/dvc.yaml:bench

# The report's browser test needs a Chromium; without one it is skipped and says so.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } \
	  || echo "no Chromium and no way to install one: the browser test will be skipped"

# Ends by writing the tree that it passed on, if all of it is committed, to .venv/tested.
test: setup browser
	@rm -f .venv/tested; git rev-parse 'HEAD^{tree}' >.venv/testing 2>&1; git status --porcelain >>.venv/testing 2>&1 || true
	"$(BIN)/ruff" format --check --quiet src tests
	"$(BIN)/ruff" check --quiet src tests
	"$(BIN)/mypy"
	PATH="$(BIN):$$PATH" pytest
	@{ git rev-parse 'HEAD^{tree}'; git status --porcelain; } 2>&1 | cmp -s - .venv/testing && [ "$$(wc -l <.venv/testing)" = 1 ] \
	  && mv .venv/testing .venv/tested || echo "passed, but with changes that are not committed: .venv/tested is not written"

# Are the committed numbers true? Reads files and Git alone; `make test` asks it too.
check: setup
	PATH="$(BIN):$$PATH" rlrf4rec check

# For a change that must not change results: make same BASE=<revision>. Equal outputs: dvc.lock
# and the locks of the study of arms get the new code hashes.
same: setup
	cd tests && PATH="$(BIN):$$PATH" python -m pipeline.same "$(BASE)"

test-faults: setup
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,s3]'
	PATH="$(BIN):$$PATH" FAULTS_STRICT=1 pytest -m faults

# Asks a service of known vulnerabilities about every pinned version; the tests hold the floors that need no network.
audit:
	"$(PYTHON)" -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	.venv/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip
