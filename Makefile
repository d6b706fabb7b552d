# quantd. `make run` trades recorded markets on paper; `make test` runs the quick tests. Both need Python 3.11 or
# newer and, once, a network for packages. PY=/path/to/python chooses the interpreter, ARGS="…" goes to the program.

PY ?=
ARGS ?=
V := .venv
BIN := $(V)/bin
CORE := $(V)/.core
FULL := $(V)/.full
DOCS := $(V)/.docs
# parts in processes of their own, so that a worker holds few libraries: PyTorch, PyTorch with the daemon, statistics
TORCH_TESTS := $(filter-out %/forests %/history %/__pycache__,$(wildcard tests/models/*)) \
	$(filter-out %/cli %/jobs %/forests %/__pycache__,$(wildcard tests/training/*))
LEARN_TESTS := $(wildcard tests/training/cli/learn/test_*.py) $(wildcard tests/research/cli/learn/test_*.py) \
	$(addprefix tests/server/api/test_,model_routes.py prediction_routes.py performance_routes.py) \
	tests/daemon/cli/setup/test_sentiment.py tests/daemon/config/test_own_dates.py tests/training/jobs/test_retrainer.py \
	tests/daemon/recovery/test_carried_models.py tests/daemon/views/test_policy_inputs.py \
	tests/research/runs/test_total_returns.py \
	tests/research/power $(addprefix tests/research/studies/,ablation test_preset.py test_walk_training.py)
STATISTICS_TESTS := tests/research tests/risk tests/strategies tests/trading tests/models/forests tests/models/history tests/training/forests \
	tests/proofs/adversary tests/proofs/test_calibration.py tests/daemon/policies/test_predictions.py
APART := $(TORCH_TESTS) $(LEARN_TESTS) $(STATISTICS_TESTS)
# an idle worker takes half of what the busiest one has left; tests/conftest.py has the number of workers
QUICK := $(BIN)/python -m pytest -q -rs -n auto --dist worksteal
ALL := $(QUICK) -m 'not slow' --hypothesis-profile=full
# numpy's sums are the same on every start only on one thread
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
# the tests start many processes: without Python's caches each of them compiles every module again
export PYTHONDONTWRITEBYTECODE :=
export PY

.PHONY: size help run build build-checked test test-all test-uncompiled test-patched test-page test-processors test-ray \
	coverage check docs docs-site figures gallery strategies pictures results bench bench-peers prove prove-long \
	test-container test-systemd wheel wheel-pure sdist release install clean lock ci services digest \
	sbom audit publication

help:
	@echo 'make run      trade recorded markets on paper (first start makes .venv)'
	@echo 'make build    compile the engine now (make run does it in the background, for its next start)'
	@echo 'make test     run the quick tests in four parts, with one summary (adds PyTorch and the test tools to .venv)'
	@echo 'make test-all run all tests in the same parts: whole processes, kills, learners, more examples'
	@echo 'make test-ray the same bits on a Ray cluster (adds Ray to .venv)'
	@echo 'make test-uncompiled  the same on the source, without a compiled engine'
	@echo 'make test-processors  golden runs, artifacts and short trainings as if on other processors, as a table'
	@echo 'make test-page  the dashboard in more widths, colours, at a zoom of 200 %, and each control under each fault'
	@echo 'make coverage run all tests and print the coverage of each package'
	@echo 'make check    format, lint, types, import rules'
	@echo 'make docs     build the site of documents, and execute every snippet (docs-site: without the snippets)'
	@echo 'make figures  make the figures of the documents again (docs/develop/documents.md)'
	@echo 'make gallery  execute the notebooks of the examples, and keep what they print and draw'
	@echo 'make strategies  backtest the folders of examples/strategies, and write their results'
	@echo 'make pictures  make docs/dashboard.png again, from the page of a run, in Chromium'
	@echo 'make results  make docs/results.md again; DATA=DIR also makes the rows of files that are not here'
	@echo 'make bench    microseconds of each part, beside its budget'
	@echo 'make bench-peers  beside bt, vectorbt, nautilus_trader and backtesting.py (makes .venv-peers)'
	@echo 'make prove    what is promised under fault, in short form (docs/operate/reliability.md)'
	@echo 'make test-container  the steps of the Dockerfile, and its daemon, without Docker (docs/deploy/containers.md; as root)'
	@echo 'make test-systemd  the service on a machine with systemd that it boots (docs/operate/install.md; as root)'
	@echo 'make wheel    build an installable wheel into dist/, with the compiled engine (wheel-pure: without; sdist: the source)'
	@echo 'make size     MiB of an installation of the wheel, and the ten largest packages (at most 390)'
	@echo 'make release  build and check what a release publishes, and list what a person does (docs/develop/release.md)'
	@echo 'make digest   compare the default backtest with its recorded digest (ARGS=--engine=compiled: and the engine)'
	@echo 'make sbom     the bill of materials of the wheel as CycloneDX, in dist/'
	@echo 'make audit    look for known faults in the versions of constraints.txt (needs a network)'
	@echo 'make publication  write publication.toml into the files that repeat it (docs/develop/release.md)'
	@echo 'make ci       what continuous integration runs; services: the programs that some tests need (as root)'
	@echo 'make install  as a systemd service on this machine (as root)'
	@echo 'make lock     write constraints.txt again from pyproject.toml'
	@echo 'make clean    remove what these made; state/, the account, stays'

run:
	@./run $(ARGS)

build: $(CORE)
	@$(BIN)/python -P -m quantd.engine_build build

# for the tests: inner loops keep their checks of bounds
build-checked: $(CORE)
	@$(BIN)/python -P -m quantd.engine_build build --kind checked

# of a command, what it does with ARGS, or else with each part: all parts run, and one summary ends them; the second
# argument is for scripts/parts.py
define in_parts
$(if $(ARGS),@$(1) $(ARGS),@$(BIN)/python -m scripts.parts $(2) 'torch=$(TORCH_TESTS)' 'learn=$(LEARN_TESTS)' \
	'statistics=$(STATISTICS_TESTS) $(LEARN_TESTS:%=--ignore=%)' 'rest=tests $(APART:%=--ignore=%)' -- $(1))
endef

# what one thread of a worker has freed serves the next
test test-all test-uncompiled coverage: export MALLOC_ARENA_MAX = 2

test: $(FULL)
	$(call in_parts,$(QUICK))

test-all: $(FULL)
	$(call in_parts,$(ALL),--again 6)

test-uncompiled: export QUANTD_UNCOMPILED = 1
test-uncompiled: $(FULL)
	$(call in_parts,$(ALL),--again 6)

# only what patches the engine, or plants a fault in it
test-patched: $(FULL)
	@QUANTD_UNCOMPILED=1 $(BIN)/python -m pytest -q -rs -m 'uncompiled and not slow' --hypothesis-profile=full \
		$$(grep -rl --include='test_*.py' mark.uncompiled tests) $(ARGS)

# golden runs, artifacts, copies and trainings as if on other processors; ARGS=--quick: in a minute
test-processors: $(FULL)
	@$(BIN)/python -m tests.processors $(ARGS)

# the widths, colours and faults of the dashboard that the other tests leave out
test-page: $(FULL)
	@$(BIN)/python -m pytest -q -rs -m 'long or slow' tests/server/api/dashboard $(ARGS)

# training, a sweep and a walk on a Ray cluster that the tests start; adds the extra `ray` to .venv
test-ray: $(FULL)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt 'ray>=2.60'
	@$(BIN)/python -m pytest -q -rs -m slow -k ray tests/training/runs/test_workers.py tests/research/python_api $(ARGS)

# lines of the source are counted, so it runs uncompiled
coverage: $(FULL)
	@QUANTD_UNCOMPILED=1 $(if $(ARGS),,$(BIN)/python -m scripts.parts all= --) $(ALL) --cov --cov-report=term:skip-covered \
		--cov-report=html $(ARGS)

check: $(FULL)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@MYPYPATH=.:src $(BIN)/mypy --explicit-package-bases --implicit-reexport -p benchmarks | awk \
	  '/^benchmarks\/.*\[attr-defined\]$$/ {print; bad = 1} END {exit bad || !/^(Found|Success)/}'
	@$(BIN)/lint-imports

# the snippets need the programs of the tests, and half an hour
docs: $(FULL) $(DOCS)
	@$(BIN)/python -m scripts.site run
	@$(BIN)/python -m scripts.site build

docs-site: $(CORE) $(DOCS)
	@$(BIN)/python -m scripts.site build

# executes the notebooks of the examples; a minute for each
gallery: $(FULL)
	@$(BIN)/python -m scripts.site gallery

# backtests each folder of examples/strategies and writes its README
strategies: $(CORE)
	@$(BIN)/python -m scripts.site.strategy_results

figures: $(FULL)
	@$(BIN)/python -m scripts.site figures $(ARGS)

pictures: $(FULL)
	@$(BIN)/python -m scripts.page.pictures

results: $(CORE)
	@$(BIN)/python -m scripts.results $(if $(DATA),--data $(DATA)) $(ARGS)

bench: $(CORE)
	@$(BIN)/python -m benchmarks.parts $(ARGS)

bench-peers: $(CORE) .venv-peers/.made
	@$(BIN)/python -m benchmarks.peers $(ARGS)

.venv-peers/.made: benchmarks/peers/requirements.txt
	@rm -rf .venv-peers && $(BIN)/python -m venv .venv-peers
	@.venv-peers/bin/python -m pip install -q --disable-pip-version-check -r $<
	@touch $@

prove: $(FULL)
	@$(BIN)/python -m pytest -q -rs -m 'not slow' --hypothesis-profile=full tests/proofs/simulation tests/proofs/adversary \
		tests/proofs/test_kill_switch.py $(ARGS)

# hours on a slow machine; each command stands alone in docs/operate/reliability.md
prove-long: $(FULL)
	@$(BIN)/python -m tests.proofs.simulation --days 10000 --everywhere 7
	@$(BIN)/python -m tests.proofs.simulation.kills --kills 10000 --whole 100
	@$(BIN)/python -m tests.proofs.kill_switch --times 200
	@$(BIN)/python -m tests.proofs.halt_flood --seconds 300
	@$(BIN)/python -m tests.proofs.adversary --intents 1000000
	@$(BIN)/python -m tests.proofs.order_storm --orders 3000
	@$(BIN)/python -m tests.attacks.call_fuzz 200
	@env -u CI $(BIN)/python -m pytest -q -rs -m 'slow or hypothesis' --hypothesis-profile=full tests $(ARGS)

# needs root, debootstrap and bubblewrap, and fetches some 400 MB
test-container: $(FULL)
	@$(BIN)/python -m tests.deploy.container_root $(ARGS)

# needs root, debootstrap and systemd-nspawn, and fetches some 200 MB
test-systemd: $(FULL)
	@$(BIN)/python -m tests.deploy.systemd_root $(ARGS)

wheel: $(CORE)
	@scripts/make-wheel dist && ls dist/*.whl

wheel-pure: $(CORE)
	@QUANTD_PURE_WHEEL=1 scripts/make-wheel dist && ls dist/*.whl

sdist: $(FULL)
	@scripts/publication/make-sdist dist && ls dist/*.tar.gz

# of the packages of the environment of the tests, which has those of the core
size: $(FULL)
	@rm -rf build/size && scripts/make-wheel build/size && $(BIN)/python -m scripts.install_size build/size/*.whl --most 390

# needs a network, a C compiler and a clean tree; publishes nothing
release: $(FULL) $(DOCS)
	@scripts/make-release

# what a workflow of .github runs, and a person may run too
ci:
	@.ci/run

services:
	@scripts/install-services

digest: $(CORE)
	@$(BIN)/python -m scripts.publication digest $(ARGS)

sbom: $(FULL)
	@rm -rf build/sbom && QUANTD_PURE_WHEEL=1 scripts/make-wheel build/sbom && mkdir -p dist
	@$(BIN)/python -m scripts.publication sbom build/sbom/*.whl dist/quantd.cdx.json

# in an environment of its own: its packages are none of quantd's
audit:
	@python3 -m venv build/audit && build/audit/bin/python -m pip install -q --disable-pip-version-check 'pip-audit>=2.9'
	@build/audit/bin/pip-audit --no-deps --disable-pip -r constraints.txt

publication: $(CORE)
	@$(BIN)/python -m scripts.publication fill

install:
	@scripts/install-system

# No pip on a warm start: the stamps are as new as what they were made from.
$(CORE): pyproject.toml constraints.txt
	@scripts/make-env core

$(FULL): pyproject.toml constraints.txt
	@scripts/make-env full
	@touch $(CORE)

$(DOCS): scripts/site/requirements.txt constraints.txt | $(CORE)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -r $<
	@touch $@

# torch is pinned in pyproject.toml alone: its builds for CPU and GPU have different dependencies.
lock:
	@command -v uv >/dev/null || { echo 'quantd: make lock needs uv, the resolver.' >&2; exit 1; }
	@uv pip compile -q pyproject.toml --all-extras --python-version 3.11 --no-header --no-annotate \
		--no-emit-package torch -o constraints.new
	@grep -vE '^(nvidia|cuda|triton|--)' constraints.new > constraints.txt && rm constraints.new

clean:
	rm -rf $(V) .venv-peers build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
