# The container of Dataflow's workers, see docs/dataflow.md. Included by the
# Makefile.

# What builds the container: cloud (Cloud Build) or docker (this machine).
BUILDER ?= cloud
$(call check_choice,BUILDER,cloud docker)

WORKER := $(if $(ACCELERATOR),$(firstword $(subst -, ,$(ACCELERATOR))),cpu)
EXTRAS_cpu := gcp,openvino
EXTRAS_nvidia := gcp,tensorflow-cuda

ifneq ($(filter-out nvidia-l4 nvidia-tesla-t4,$(ACCELERATOR)),)
$(error expected ACCELERATOR=nvidia-l4 or nvidia-tesla-t4, got $(ACCELERATOR); labeling \
	has no engine for TPUs)
endif

# The tag of the image is a hash of its content, and the Python version that submits.
PYTHON_MINOR = $(shell $(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
CONTAINER_FILES := Dockerfile pyproject.toml setup.py constraints.txt
CONTAINER_DIRS := stage classifier pseudo_label beam_jobs teacher student workflow
CONTAINER_VERSION = $(shell find $(CONTAINER_FILES) $(CONTAINER_DIRS) -type f \
	! -path '*/__pycache__/*' | LC_ALL=C sort | xargs cksum | cksum | cut -d ' ' -f 1)
REGISTRY = $(REGION)-docker.pkg.dev/$(PROJECT)/noisy-student-rs
IMAGE ?= $(REGISTRY)/worker-$(WORKER):py$(PYTHON_MINOR)-$(CONTAINER_VERSION)

BUILD_WITH = _IMAGE=$(IMAGE);_EXTRAS=$(EXTRAS_$(WORKER));_PYTHON_MINOR=$(PYTHON_MINOR)

.PHONY: container test-container

container: | $(VENV)/bin/python  ## Build the container of Dataflow workers
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

test-container: | $(VENV)/dev-installed  ## Run the Dockerfile's steps here, without docker
	@$(PY) -m tests.container_steps --extras=$(EXTRAS_$(WORKER))
