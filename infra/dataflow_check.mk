# What is missing for a job on Dataflow, and a small job to try it, see docs/dataflow.md.
# Included by the Makefile.

DATAFLOW_CHECK = $(PY) -m infra.dataflow_check --builder=$(BUILDER) \
	$(if $(call is_default,IMAGE),,--own_image) \
	$(if $(IMAGES),--images=$(call quote,$(IMAGES)) $(DATA_FLAGS)) \
	--labeling_flags=$(call quote,$(ENGINE_$(WORKER)) $(LABELING_FLAGS) \
		$(if $(RATE),--images_per_second=$(RATE)))
# Of labeling, and of the other jobs.
JOBS_OPTIONS = -- $(LABELING_OPTIONS) -- $(OTHER_OPTIONS)

# Rounds that may still have something to do on Dataflow, up to those that are asked for.
wanted_rounds = $(sort $(wordlist 1,$(ROUND),$(NUMBERS)) $(wordlist 1,$(ROUNDS),$(NUMBERS)))
unfinished_rounds = $(strip $(foreach round,$(wanted_rounds),\
	$(if $(wildcard $(RUN)/round-$(round)/dataset/COMPLETED),,$(round))))
# What is done first, so that nothing is chosen or trained for jobs that would be refused
# or find no container. make starts again when it has chosen.
CLOUD_SEEN = $(if $(and $(filter dataflow,$(RUNNER)),$(unfinished_rounds)),\
	$(if $(MAKE_RESTARTS),,cloud-seen))

.PHONY: cloud-seen dataflow-check dataflow-smoke

cloud-seen: | $(INSTALLED)
	@$(DATAFLOW_CHECK) --before_training $(JOBS_OPTIONS)

dataflow-check: | $(INSTALLED)  ## Look for what a job on Dataflow needs, and say what to type
	$(DATAFLOW_NEEDS)
	@$(DATAFLOW_CHECK) $(JOBS_OPTIONS)

# A job of 100 images to try everything once, with one worker: digits whose labels are
# not used, and a teacher of few steps. It begins anew each time, and labels with the
# engine of other runs on Dataflow, which is not that of the demo.
SMOKE_RUN := runs/smoke
SMOKE_REMOTE = $(BUCKET_PATH)/$(SMOKE_RUN)
# Of 1,147 unlabeled digits all but 100 are set aside.
SMOKE_ASIDE := 1047
SMOKE_SETTINGS = RUN=$(SMOKE_RUN) RUNNER=dataflow MAX_WORKERS=1 MAX_HOURS=1 SEED=1 \
	LABELS_PER_CLASS=5 CALIBRATION_IMAGES=$(SMOKE_ASIDE) CONSISTENCY=off NEIGHBORS=0 \
	TEACHER_FLAGS=--set=num_steps=100 \
	LABELING_FLAGS=$(call quote,$(if $(call is_default,LABELING_FLAGS),,$(LABELING_FLAGS))) \
	IMAGES='tfrecord:$(SMOKE_REMOTE)/data/unlabeled/*.tfrecord'

# Variables of the job to come are not for this one, but for those of the cloud.
dataflow-smoke: MAKEOVERRIDES =
SMOKE_MAKE = env $(addprefix -u ,$(SETTINGS) MINUTES DATA_DIR ROUND ROUNDS TEACHER) $(MAKE) \
	--no-print-directory $(foreach name,$(CLOUD) DATAFLOW_FLAGS VENV,\
	$(if $(call is_default,$(name)),,$(name)=$(call quote,$($(name)))))

dataflow-smoke: | $(VENV)/gcp-installed  ## Label 100 images on Dataflow, for some cents
	$(DATAFLOW_NEEDS)
	@$(SMOKE_MAKE) dataflow-check MAX_WORKERS=1
	rm -rf $(SMOKE_RUN)
	$(PY) -m workflow.digits --output=$(SMOKE_RUN)/data --labels_per_class=5 \
		--calibration_images=$(SMOKE_ASIDE) --seed=1
	gcloud storage rsync --recursive --delete-unmatched-destination-objects \
		$(SMOKE_RUN) $(SMOKE_REMOTE)
	@$(SMOKE_MAKE) labels $(SMOKE_SETTINGS)
	@$(PY) -m infra.dataflow_smoke --predictions=$(SMOKE_RUN)/round-1/predictions \
		--remote=$(SMOKE_REMOTE)
