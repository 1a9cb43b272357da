# What is missing for a job on Dataflow, and a small job to try it, see docs/dataflow.md.
# Included by the Makefile.

DATAFLOW_CHECK = $(PY) -m infra.dataflow_check --builder=$(BUILDER) \
	$(if $(call is_default,IMAGE),,--own_image)

# Rounds that may still have something to do on Dataflow, up to those that are asked for.
wanted_rounds = $(sort $(wordlist 1,$(ROUND),$(NUMBERS)) $(wordlist 1,$(ROUNDS),$(NUMBERS)))
unfinished_rounds = $(strip $(foreach round,$(wanted_rounds),\
	$(if $(wildcard $(RUN)/round-$(round)/dataset/COMPLETED),,$(round))))
# A prerequisite of teachers, so that no teacher is trained and then found to have no
# container. One that the user names is not looked for: it may be in any registry.
CONTAINER_SEEN = $(if $(and $(filter dataflow,$(RUNNER)),$(call is_default,IMAGE),\
	$(unfinished_rounds)),container-seen)

.PHONY: container-seen dataflow-check

container-seen: | $(INSTALLED)
	@$(DATAFLOW_CHECK) --container_only -- $(LABELING_OPTIONS)

dataflow-check: | $(INSTALLED)  ## Look for what a job on Dataflow needs, and say what to type
	$(DATAFLOW_NEEDS)
	@$(DATAFLOW_CHECK) -- $(LABELING_OPTIONS)
