# Where the Beam jobs run, by RUNNER: the local runner unless named, a Flink cluster on
# this machine, or Prism; docs/runners.md. The Makefile reads this.

FLINK := $(VENV)/flink
FLINK_FLAGS ?=
PRISM ?= $(shell command -v prism 2>/dev/null)
KILLS ?= 200

BEAM_FLAGS_local := --runner=FnApiRunner
BEAM_FLAGS_flink := --runner=PortableRunner --job_endpoint=localhost:8099 \
	--environment_type=EXTERNAL --environment_config=localhost:50001 --parallelism=2
BEAM_FLAGS_prism = --runner=PrismRunner --environment_type=LOOPBACK \
	--prism_location=$(or $(PRISM),$(error there is no `prism` on the PATH; \
	name Beam's binary: make RUNNER=prism PRISM=PATH))

.PHONY: flink-up flink-down test-engines chaos

flink-up: | $(INSTALLED)  ## Start a Flink cluster on this machine, for RUNNER=flink
	@$(PY) -m infra.flink up --home=$(FLINK) $(FLINK_FLAGS)

flink-down: | $(INSTALLED)  ## End it
	@$(PY) -m infra.flink down --home=$(FLINK) $(FLINK_FLAGS)

test-engines: | $(VENV)/dev-installed  ## Label on Flink and Prism, killing parts of them
	$(PY) -m pytest tests/infra

chaos: | $(VENV)/dev-installed  ## Label while KILLS=200 processes are killed
	@$(PY) -m tests.chaos --kills=$(KILLS)
