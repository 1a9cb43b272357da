# Runners of the Beam jobs, by RUNNER=: the local one by default, a Flink cluster on this
# machine, or Prism; see docs/runners.md. Included by the Makefile.

FLINK := $(VENV)/flink
FLINK_FLAGS ?=
PRISM ?= $(shell command -v prism 2>/dev/null)
KILLS ?= 200

RUNNER_SETTINGS := PRISM KILLS FLINK_FLAGS
$(call check_no_dollar,$(RUNNER_SETTINGS))
$(call check_plain,PRISM KILLS)
$(call check_positive,KILLS)
$(call check_text,FLINK_FLAGS)

BEAM_FLAGS_local := --runner=FnApiRunner
BEAM_FLAGS_flink := --runner=PortableRunner --job_endpoint=localhost:8099 \
	--environment_type=EXTERNAL --environment_config=localhost:50001 --parallelism=2
BEAM_FLAGS_prism = --runner=PrismRunner --environment_type=LOOPBACK \
	--prism_location=$(or $(PRISM),$(error there is no `prism` on the PATH; \
	give the path of Beam's binary: make RUNNER=prism PRISM=PATH))

.PHONY: flink-up flink-down test-runners test-engines chaos

flink-up: | $(INSTALLED)  ## Start a Flink cluster on this machine, for RUNNER=flink
	@$(PY) -m infra.flink up --home=$(FLINK) $(call quote_words,$(FLINK_FLAGS))

flink-down: | $(INSTALLED)  ## Stop the Flink cluster
	@$(PY) -m infra.flink down --home=$(FLINK) $(call quote_words,$(FLINK_FLAGS))

test-runners: | $(VENV)/dev-installed  ## Test the jobs on Flink and Prism, killing processes
	$(PY) -m pytest tests/infra

test-engines: test-runners  # Former name.

chaos: | $(VENV)/dev-installed  ## Test labeling while KILLS=200 processes are killed
	@$(PY) -m tests.chaos --kills=$(KILLS)
