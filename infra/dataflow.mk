# RUNNER=dataflow: images are labeled on Google Cloud, see docs/dataflow.md.
#
# RUN stays on this machine. The teacher is copied to gs://BUCKET/RUN, Dataflow writes
# the predictions there, and they are copied back, COMPLETED last, so that finished
# stages are skipped. All other stages run on this machine.

PROJECT ?=
REGION ?=
BUCKET ?=
# Accelerator of each worker: nvidia-tesla-t4 or nvidia-l4; empty: none.
ACCELERATOR ?=
MAX_WORKERS ?= 10
# Machine type of the workers; empty: chosen to fit the accelerator.
MACHINE ?=
WORKER_ACCOUNT ?= noisy-student-rs@$(PROJECT).iam.gserviceaccount.com
# Further Beam options, such as --subnetwork=regions/REGION/subnetworks/NAME.
DATAFLOW_FLAGS ?=
# For make estimate: RATE is in images per second and core or, with an accelerator, per
# worker.
NUM_IMAGES ?=
RATE ?=

CLOUD := PROJECT REGION BUCKET ACCELERATOR MAX_WORKERS MACHINE WORKER_ACCOUNT NUM_IMAGES \
	RATE BUILDER IMAGE
$(call check_no_dollar,$(CLOUD) DATAFLOW_FLAGS)
# The default of IMAGE runs Python.
$(call check_plain,$(filter-out $(if $(call is_default,IMAGE),IMAGE),$(CLOUD)))
$(call check_text,DATAFLOW_FLAGS)
$(call check_positive,MAX_WORKERS $(if $(NUM_IMAGES),NUM_IMAGES))
$(call check_decimal,$(if $(RATE),RATE))

# The fastest engine on this machine need not be the fastest on the workers. Some machine
# types, such as c3, support bfloat16: LABELING_FLAGS=--dtype=bfloat16.
ENGINE_cpu := --engine=openvino --dtype=float32
ENGINE_nvidia := --engine=tensorflow --dtype=float32

DATAFLOW_NEEDS = $(foreach name,PROJECT REGION BUCKET,$(if $($(name)),,$(error \
	expected $(name)=, as in make labels RUNNER=dataflow PROJECT=my-project \
	REGION=us-central1 BUCKET=my-bucket)))

ifeq ($(RUNNER),dataflow)
$(DATAFLOW_NEEDS)
ifneq ($(filter gs://% /%,$(RUN)),)
$(error expected RUN= as a path below this directory, got $(RUN); it is mirrored in \
	gs://$(BUCKET))
endif
endif

BUCKET_PATH = gs://$(patsubst gs://%,%,$(BUCKET))

DATAFLOW_OPTIONS = --runner=DataflowRunner --project=$(PROJECT) --region=$(REGION) \
	--temp_location=$(BUCKET_PATH)/tmp --sdk_container_image=$(IMAGE) \
	--service_account_email=$(WORKER_ACCOUNT) --no_use_public_ips \
	--max_num_workers=$(MAX_WORKERS) \
	$(if $(ACCELERATOR),--accelerator=$(ACCELERATOR)) \
	$(if $(MACHINE),--machine_type=$(MACHINE)) $(call quote_words,$(DATAFLOW_FLAGS))

# Workers do not need the part of a classifier that only resumed training reads.
UPLOAD = gcloud storage rsync --recursive --exclude='^(checkpoints|events|profile)/'
DOWNLOAD = gcloud storage rsync --recursive --exclude='^(COMPLETED$$|\.)'

# Recipe of the COMPLETED of a round's teacher_predictions on Dataflow.
define label_dataflow
	$(foreach dir,$(call teacher_dirs,$(1)),\
		$(UPLOAD) $(dir) $(BUCKET_PATH)/$(dir) &&) true
	$(PY) -m beam_jobs.label_images --images=$(call quote,$(IMAGES)) $(DATA_FLAGS) \
		$(foreach dir,$(call teacher_dirs,$(1)),--teacher=$(BUCKET_PATH)/$(dir)) \
		$(call calibration_flag,$(1)) --output=$(BUCKET_PATH)/$(@D) \
		$(embeddings) $(ENGINE_$(WORKER)) $(call quote_words,$(LABELING_FLAGS)) \
		-- $(DATAFLOW_OPTIONS)
	@mkdir -p $(@D)
	$(DOWNLOAD) $(BUCKET_PATH)/$(@D) $(@D)
	gcloud storage cp $(BUCKET_PATH)/$@ $@
endef

.PHONY: estimate

estimate: | $(INSTALLED)  ## Estimate labeling NUM_IMAGES= on Dataflow, at RATE= per second
	@$(PY) -m beam_jobs.label_images --estimate=$(NUM_IMAGES) \
		--images_per_second=$(RATE) --images=$(call quote,$(IMAGES)) --teacher=none --output=none \
		-- $(DATAFLOW_OPTIONS)

# Submitting a job needs Google's clients, too.
$(VENV)/gcp-installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV), which takes some minutes"
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[demo,gcp]'
	@touch $@ $(VENV)/demo-installed
