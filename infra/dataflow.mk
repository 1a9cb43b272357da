# RUNNER=dataflow: Beam's jobs run on Google Cloud, see docs/dataflow.md.
#
# Labeling, blending, selection and writing run on Dataflow: their inputs are copied to
# gs://BUCKET/RUN, they write their outputs there, and these are copied back to RUN, so
# that finished stages are skipped. All other stages run on this machine. Of the images
# only those that were selected leave the cloud, and samples for the report.

PROJECT ?=
REGION ?=
BUCKET ?=
# Accelerator of each labeling worker: nvidia-tesla-t4 or nvidia-l4; empty: none.
ACCELERATOR ?=
MAX_WORKERS ?= 10
# Hours after which Dataflow ends a job; the same command resumes.
MAX_HOURS ?= 24
# Machine type of the workers; empty: chosen to fit the accelerator.
MACHINE ?=
WORKER_ACCOUNT ?= noisy-student-rs@$(PROJECT).iam.gserviceaccount.com
# Further Beam options, such as --subnetwork=regions/REGION/subnetworks/NAME.
DATAFLOW_FLAGS ?=
# For make estimate, and for the bill afterwards: RATE is in images per second and core
# or, with an accelerator, per worker.
NUM_IMAGES ?=
RATE ?=

CLOUD := PROJECT REGION BUCKET ACCELERATOR MAX_WORKERS MAX_HOURS MACHINE WORKER_ACCOUNT NUM_IMAGES \
	RATE BUILDER IMAGE
$(call check_no_dollar,$(CLOUD) DATAFLOW_FLAGS)
# The default of IMAGE runs Python.
$(call check_plain,$(filter-out $(if $(call is_default,IMAGE),IMAGE),$(CLOUD)))
$(call check_text,DATAFLOW_FLAGS)
$(call check_positive,MAX_WORKERS $(if $(NUM_IMAGES),NUM_IMAGES))
$(call check_decimal,MAX_HOURS $(if $(RATE),RATE))

# The fastest engine on this machine need not be the fastest on the workers. Some machine
# types, such as c3, support bfloat16: LABELING_FLAGS=--dtype=bfloat16.
ENGINE_cpu := --engine=openvino --dtype=float32
ENGINE_nvidia := --engine=tensorflow --dtype=float32

# A name that Google allows. Only those with dots are longer than 63 characters.
BUCKET_NAME := [a-z0-9]([-_a-z0-9]{1,61}|[-_a-z0-9]*[.][-_.a-z0-9]{0,220})[a-z0-9]
is_bucket = $(shell echo '$(patsubst gs://%,%,$(1))' | \
	LC_ALL=C grep -xE '$(BUCKET_NAME)' | grep -vE 'google|^goog|^([0-9]+[.]){3}[0-9]+$$')
BUCKET_NAMES := as the name of a bucket: 3 to 63 lower-case letters, digits, hyphens, \
	underscores and dots, with a letter or digit at both ends, and not that of Google

DATAFLOW_NEEDS = $(foreach name,PROJECT REGION BUCKET,$(if $($(name)),,$(error \
	expected $(name)=, as in make labels RUNNER=dataflow PROJECT=my-project \
	REGION=us-central1 BUCKET=my-bucket)))\
	$(call check_given,is_bucket,BUCKET,$(BUCKET_NAMES))

ifeq ($(RUNNER),dataflow)
$(DATAFLOW_NEEDS)
# Names of objects have no parts that stand for other ones.
ifneq ($(filter gs://% /% %/ .% %/. %/..,$(RUN))$(findstring //,$(RUN))$(findstring /./,$(RUN))$(findstring /../,$(RUN)),)
$(error expected RUN= as a path below this directory, such as runs/birds, got $(RUN); \
	it is mirrored in gs://$(BUCKET))
endif
ifneq ($(filter-out teacher calibration setup $(OTHER_GOALS),$(MAKECMDGOALS)),)
ifeq ($(findstring gs://,$(IMAGES) $(DATA_DIR)),)
$(call refuse,IMAGES,in a bucket (gs://): Dataflow reads no others)
endif
endif
ifneq ($(filter-out 0 0. .0 0.0,$(MAX_HOURS)),$(MAX_HOURS))
$(call refuse,MAX_HOURS,as a number of hours such as 24)
endif
endif

BUCKET_PATH = gs://$(patsubst gs://%,%,$(BUCKET))

DATAFLOW_OPTIONS = --runner=DataflowRunner --project=$(PROJECT) --region=$(REGION) \
	--temp_location=$(BUCKET_PATH)/tmp --sdk_container_image=$(IMAGE) \
	--service_account_email=$(WORKER_ACCOUNT) --no_use_public_ips \
	--max_num_workers=$(MAX_WORKERS) --max_hours=$(MAX_HOURS) \
	$(call quote_words,$(DATAFLOW_FLAGS))
# The accelerator, and the machine type that has it, are for labeling alone.
MACHINE_OPTION = $(if $(MACHINE),--machine_type=$(MACHINE))
LABELING_OPTIONS = $(DATAFLOW_OPTIONS) $(MACHINE_OPTION) \
	$(if $(ACCELERATOR),--accelerator=$(ACCELERATOR))
OTHER_OPTIONS = $(filter-out '--dataflow_service_options=worker_accelerator=%,\
	$(DATAFLOW_OPTIONS)) $(if $(ACCELERATOR),,$(MACHINE_OPTION))

ifeq ($(RUNNER),dataflow)
# Behind it, directories of RUN are those that the workers see.
MIRROR = $(BUCKET_PATH)/
beam_options = $(OTHER_OPTIONS)
labeling_beam_options = $(ENGINE_$(WORKER)) $(labeling_flags) \
	$(if $(RATE),--images_per_second=$(RATE)) -- $(LABELING_OPTIONS)
# COMPLETED last, so that it stands for all other files. Workers do not need the part of
# a classifier that only resumed training reads.
NOT_MIRRORED := ^(COMPLETED$$|\.|checkpoints/|events/|profile/)
mirror_files = gcloud storage rsync --recursive --exclude='$(NOT_MIRRORED)' $(1) $(2) && \
	gcloud storage cp $(1)/COMPLETED $(2)/COMPLETED
# $(call upload,DIRECTORIES): copies those that the bucket does not have as they are.
upload = @$(foreach dir,$(1),{ gcloud storage cat $(MIRROR)$(dir)/COMPLETED 2> /dev/null | \
	cmp -s - $(dir)/COMPLETED || { $(call mirror_files,$(dir),$(MIRROR)$(dir)); }; } &&) true
download = @mkdir -p $(@D) && $(call mirror_files,$(MIRROR)$(@D),$(@D))
endif

.PHONY: estimate

estimate: | $(INSTALLED)  ## Estimate labeling NUM_IMAGES= on Dataflow, at RATE= per second
	$(DATAFLOW_NEEDS)
	$(if $(and $(NUM_IMAGES),$(RATE)),,$(error expected NUM_IMAGES= and RATE=, images in \
		all and per second, as in make estimate NUM_IMAGES=1000000 RATE=20, got \
		NUM_IMAGES=$(NUM_IMAGES) and RATE=$(RATE)))
	@$(PY) -m beam_jobs.label_images --estimate=$(NUM_IMAGES) \
		--images_per_second=$(RATE) $(embeddings) $(if $(blends),--blended) \
		--images=$(call quote,$(IMAGES)) --teacher=none --output=none -- $(LABELING_OPTIONS)

# Submitting a job needs Google's clients, too.
$(VENV)/gcp-installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV), which takes some minutes"
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[demo,gcp]'
	@touch $@ $(VENV)/demo-installed
