# RUNNER=dataflow: Google Cloud labels the images. docs/dataflow.md tells how to begin.
#
# RUN stays on this machine. The teacher is copied to gs://BUCKET/RUN, Dataflow writes
# the predictions there, and they are copied back, COMPLETED last: so what is done is
# not done again, and all other stages run here, as always.

PROJECT ?=
REGION ?=
BUCKET ?=
# One for each worker: nvidia-tesla-t4, nvidia-l4, tpu-v5e, tpu-v6e; none for CPUs.
ACCELERATOR ?=
MAX_WORKERS ?= 10
# Empty for the one that fits to the accelerator.
MACHINE ?=
WORKER_ACCOUNT ?= noisy-student-rs@$(PROJECT).iam.gserviceaccount.com
# More of Beam's options, as --subnetwork=regions/REGION/subnetworks/NAME.
DATAFLOW_FLAGS ?=
# For make estimate: RATE is images a second of a core or, with an accelerator, worker.
NUM_IMAGES ?=
RATE ?=
# cloud: Cloud Build builds the container; docker: this machine does.
BUILDER ?= cloud

WORKER := $(if $(ACCELERATOR),$(firstword $(subst -, ,$(ACCELERATOR))),cpu)
EXTRAS_cpu := gcp,openvino
EXTRAS_nvidia := gcp,tensorflow-cuda
EXTRAS_tpu := gcp,tpu
# The fastest engine of this machine need not be that of the workers. Only some
# machines, as c3, have bfloat16: LABELING_FLAGS=--dtype=bfloat16.
ENGINE_cpu := --engine=openvino --dtype=float32
ENGINE_nvidia := --engine=tensorflow --dtype=float32
ENGINE_tpu := --engine=tensorflow --dtype=float32

# Named by its content and by the Python that submits: other code is another image.
PYTHON_MINOR = $(shell $(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
CONTAINER_FILES := Dockerfile pyproject.toml setup.py constraints.txt
CONTAINER_DIRS := stage classifier pseudo_label beam_jobs teacher student workflow
CONTAINER_VERSION = $(shell find $(CONTAINER_FILES) $(CONTAINER_DIRS) -type f \
	! -path '*/__pycache__/*' | LC_ALL=C sort | xargs cksum | cksum | cut -d ' ' -f 1)
REGISTRY = $(REGION)-docker.pkg.dev/$(PROJECT)/noisy-student-rs
IMAGE ?= $(REGISTRY)/worker-$(WORKER):py$(PYTHON_MINOR)-$(CONTAINER_VERSION)

DATAFLOW_NEEDS = $(foreach name,PROJECT REGION BUCKET,$(if $($(name)),,$(error \
	expected $(name)=, as in make labels RUNNER=dataflow PROJECT=my-project \
	REGION=us-central1 BUCKET=my-bucket)))

ifeq ($(filter cpu nvidia tpu,$(WORKER)),)
$(error expected ACCELERATOR=nvidia-... or tpu-..., got $(ACCELERATOR))
endif

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
	$(if $(MACHINE),--machine_type=$(MACHINE)) $(DATAFLOW_FLAGS)

# Of a classifier, workers read all but what training alone goes on from.
UPLOAD = gcloud storage rsync --recursive --exclude='^(checkpoints|events|profile)/'
DOWNLOAD = gcloud storage rsync --recursive --exclude='^(COMPLETED$$|\.)'

# What a dataflow run does for $(RUN)/round-$(1)/predictions/COMPLETED.
define label_dataflow
	@gcloud artifacts docker images describe $(IMAGE) > /dev/null || { echo "error:" \
		"no container $(IMAGE); make container PROJECT=$(PROJECT) REGION=$(REGION)" \
		"BUCKET=$(BUCKET)$(if $(ACCELERATOR), ACCELERATOR=$(ACCELERATOR))" >&2; exit 1; }
	$(foreach dir,$(call teacher_dirs,$(1)),\
		$(UPLOAD) $(dir) $(BUCKET_PATH)/$(dir) &&) true
	$(PY) -m beam_jobs.label_images --images='$(IMAGES)' $(DATA_FLAGS) \
		$(foreach dir,$(call teacher_dirs,$(1)),--teacher=$(BUCKET_PATH)/$(dir)) \
		$(call calibration_flag,$(1)) --output=$(BUCKET_PATH)/$(@D) \
		$(ENGINE_$(WORKER)) $(LABELING_FLAGS) \
		-- $(DATAFLOW_OPTIONS)
	@mkdir -p $(@D)
	$(DOWNLOAD) $(BUCKET_PATH)/$(@D) $(@D)
	gcloud storage cp $(BUCKET_PATH)/$@ $@
endef

BUILD_WITH = _IMAGE=$(IMAGE);_EXTRAS=$(EXTRAS_$(WORKER));_PYTHON_MINOR=$(PYTHON_MINOR)

.PHONY: container estimate

container: | $(VENV)/bin/python  ## Build the container of Dataflow's workers
	$(DATAFLOW_NEEDS)
ifeq ($(BUILDER),docker)
	docker build --platform=linux/amd64 --tag=$(IMAGE) \
		--build-arg=PYTHON_MINOR=$(PYTHON_MINOR) \
		--build-arg=EXTRAS=$(EXTRAS_$(WORKER)) .
	docker push $(IMAGE)
else
	gcloud builds submit --project=$(PROJECT) --config=infra/cloudbuild.yaml \
		--substitutions='^;^$(BUILD_WITH)' .
endif

estimate: | $(INSTALLED)  ## Tell what NUM_IMAGES= take on Dataflow at RATE= a second
	@$(PY) -m beam_jobs.label_images --estimate=$(NUM_IMAGES) \
		--images_per_second=$(RATE) --images='$(IMAGES)' --teacher=none --output=none \
		-- $(DATAFLOW_OPTIONS)

# Submitting needs Google's clients as well.
$(VENV)/gcp-installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV), which takes some minutes"
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[demo,gcp]'
	@touch $@ $(VENV)/demo-installed
