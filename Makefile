# Noisy Student RS: `make help` lists targets and variables, docs/run_file.md all settings.
# A stage is made by `noisy-student run --until=STAGE` with a --set= for each variable.
# Values reach the shell in quotes, so they may hold anything but a line break. Without
# LABELED=, FILE= and RUN=, the images are the digits of the demo.
.DEFAULT_GOAL := help
.NOTPARALLEL:
RUN ?= runs/demo
PYTHON ?= python3
PY := .venv/bin/python
SETTINGS := LABELED=data.labeled EVALUATION=data.evaluation IMAGES=data.unlabeled \
	CALIBRATION=data.calibration LABELS_PER_CLASS=data.digits.labels_per_class \
	PRESET=teacher.preset FEATURES=teacher.features SEED=rounds.seed ROUNDS=rounds.count \
	MINUTES=rounds.minutes RUNNER=runner.name TPU=runner.tpu $(subst =,=runner.dataflow.,\
	PROJECT=project REGION=region BUCKET=bucket ACCELERATOR=accelerator \
	MAX_WORKERS=max_workers MAX_HOURS=max_hours RATE=images_per_second)
define line_break


endef
q = '$(subst ','\'',$(1))'
quote = $(if $(findstring $(line_break),$(value $(1))),\
	$(error expected $(1)= in one line),$(call q,$(value $(1))))
flag = $(if $(value $(1)),--$(2)=$(call quote,$(1)))
part = $(word $(1),$(subst =, ,$(2)))
override GIVEN := $(strip \
	$(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name))))
# For the environment of commands and for other makes, the values would be expanded.
unexport $(GIVEN)
override MAKEOVERRIDES :=
override WRONG := $(if $(GIVEN),$(shell $(or $(wildcard $(PY)),$(call quote,PYTHON)) \
	-m infra.make $(foreach name,$(GIVEN),$(call q,$(name)))))
$(if $(WRONG),$(error $(WRONG)))
PRINT_OUTPUT := import sys; from workflow.run_file.reading import read_run as r; print(r(sys.argv[1]).output)
is_demo := $(filter file,$(origin RUN))
file = $(if $(value FILE),$(call quote,FILE))
digits = $(if $(value LABELED),,$(if $(is_demo),examples/digits.toml))
directory = $(if $(and $(value FILE),$(is_demo)),"$$($(PY) -c '$(PRINT_OUTPUT)' $(file))",$(call quote,RUN))
output = $(if $(and $(value FILE),$(is_demo)),,$(call flag,RUN,output))
asked = $(strip $(foreach pair,$(SETTINGS),$(if $(value $(call part,1,$(pair))),$(pair))))
sets = $(foreach pair,$(asked),--set=$(call part,2,$(pair))=$(call quote,$(call part,1,$(pair)))) \
	$(foreach word,$(value SET),--set=$(call q,$(word)))
demo = @$(PY) -m workflow demo $(1) $(sets) $(args)
run = @$(PY) -m workflow $(1) $(or $(file),$(digits)) $(output) $(sets) $(args)
args = $(foreach word,$(value ARGS),$(call q,$(word)))
cloud = @$(PY) -m infra.$(1) $(file) $(sets) $(args)
round = $(call q,$(or $(value ROUND),1))

# The extra that features need, by what stands before their colon.
FEATURES_EXTRA := $(subst hf,hub,$(subst keras_hub,pretrained,\
	$(filter onnx hf keras_hub,$(firstword $(subst :, ,$(value FEATURES))))))
INSTALLED := $(patsubst %,.venv/%-installed,demo $(value EXTRAS) $(FEATURES_EXTRA) \
	$(if $(value TPU),tpu) $(if $(filter dataflow,$(value RUNNER)),gcp))
.PHONY: $(shell sed -n 's/^\([a-z][a-z -]*\):.*/\1/p' Makefile)

help:
	@$(call quote,PYTHON) -m infra.make
$(PY):
	@$(call quote,PYTHON) -m infra.make --check_python && $(call quote,PYTHON) -m venv .venv
.venv/%-installed: pyproject.toml constraints.txt | $(PY)
	@echo "installing into .venv, which takes some minutes"
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[demo,'$(call q,$*)']'
	@touch $(call q,$@) .venv/demo-installed
# JAX would try to use libtpu on machines without a TPU, if it were in .venv/lib.
.venv/libtpu/libtpu/libtpu.so: .venv/jax-installed
	$(PY) -m pip install --quiet --no-deps --upgrade --target .venv/libtpu \
		"$$(grep '^libtpu==' constraints.txt)"
setup: $(INSTALLED)
	@echo "installed in .venv: make report or make help next, or . .venv/bin/activate"
clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

demo: | $(INSTALLED)
	$(call demo,$(output))
demo-seeds: | $(INSTALLED)
	$(call demo,--seeds=$(call q,$(or $(value SEEDS),5)) \
		$(if $(is_demo),--output=runs/demo-seeds,$(output)))
clean-demo:
	rm -rf runs/demo
teacher calibration labels selection records student evaluation samples control report: | $(INSTALLED)
	$(call run,run --until=$@ $(if $(filter report,$@),,--round=$(round)) $(call flag,JOBS,jobs))
verify: records
	@$(PY) -m pseudo_label.verify $(directory)/round-$(round)/dataset
rounds: | $(INSTALLED)
	$(call run,rounds $(call flag,JOBS,jobs) $(if $(value ROUNDS)$(value FILE),,--set=rounds.count=3))
status: | $(INSTALLED)
	$(call run,status)
flink-up flink-down: | $(INSTALLED)
	@$(PY) -m infra.flink $(@:flink-%=%) --home=.venv/flink $(args)
dataflow-smoke: | .venv/gcp-installed
container dataflow-check dataflow-smoke: | $(INSTALLED)
	$(call cloud,$(subst -,_,$@) $(call flag,BUILDER,builder))
estimate: | $(INSTALLED)
	$(call cloud,estimate $(call flag,NUM_IMAGES,num_images))

format: | .venv/dev-installed
	$(PY) -m ruff check --fix . && $(PY) -m ruff format .
lint: | .venv/dev-installed
	$(PY) -m ruff check . && $(PY) -m ruff format --check .
	.venv/bin/lint-imports && .venv/bin/hadolint Dockerfile
typecheck: | .venv/dev-installed
	$(PY) -m mypy
test: | .venv/dev-installed
	$(PY) -m pytest -m 'not slow' -n $(call q,$(or $(value TEST_PROCESSES),2)) \
		--dist loadfile --no-loadscope-reorder
test-all: | .venv/dev-installed
	$(PY) -m pytest && $(PY) -m tests.fuzz --seconds=30
check: lint typecheck test
fuzz: | .venv/dev-installed
	@$(PY) -m tests.fuzz $(call flag,SECONDS,seconds) $(call flag,SEED,seed)
browser:
	apt-get update && apt-get install --yes --no-install-recommends chromium
tpu-compile: .venv/libtpu/libtpu/libtpu.so
	@TPU_LIBRARY_PATH=$< $(PY) -m classifier.tpu_compile $(args)
test-runners: | .venv/dev-installed
	$(PY) -m pytest tests/infra
chaos: | .venv/dev-installed
	@$(PY) -m tests.chaos $(call flag,KILLS,kills)
test-container: | .venv/dev-installed
	@$(PY) -m tests.container_steps \
		--extras=gcp,$(if $(value ACCELERATOR),tensorflow-cuda,openvino)
