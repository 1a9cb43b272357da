# Noisy Student RS: runs and development. `make help` lists the targets.
#
# For images of one's own: make report RUN=runs/x LABELED=... EVALUATION=... IMAGES=...,
# with FEATURES=SOURCE to learn from pretrained features. PRESET=auto, the default then,
# chooses teacher and student by images, machine, MINUTES= and the weights at hand.
#
# The target of every stage is the file RUN/.../COMPLETED, so finished stages are skipped:
#
#   RUN/choice                      what PRESET=auto has chosen, and why
#   RUN/round-1/teacher/member-I    classifiers trained on the labeled images, and on
#                                   all images if there are few labels; with FEATURES=
#                                   one probe, with its own calibration inside
#   RUN/round-N/calibration         their predictions on labeled images not trained on
#   RUN/round-N/teacher_predictions one row per image, by the teacher of round N
#   RUN/round-N/labeled_predictions the same of the labeled images
#   RUN/round-N/predictions         both, blended over similar images
#   RUN/round-N/excluded/set-I      predictions of images that must not be selected
#   RUN/round-N/selection           rules that decide which predictions are kept
#   RUN/round-N/dataset             the selected images as TFRecords
#   RUN/round-N/samples             thumbnails for the report
#   RUN/round-N/student             the student, which is the teacher of round N+1
#   RUN/round-N/evaluation          accuracy of the student, agreement with pseudo-labels
#   RUN/control                     the student's network, the chain's compute, labeled
#                                   images alone
#
# RUN/round-1/teacher/evaluation and RUN/control/evaluation hold their accuracies.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

include infra/variables.mk

POSITIVE := ROUND ROUNDS PATIENCE SEEDS LABELS_PER_CLASS TEACHERS MAX_COPIES JOBS \
	TEST_PROCESSES SECONDS MINUTES
WHOLE := SEED CALIBRATION_IMAGES FOLDS IMAGES_PER_CLASS NEIGHBORS
SHARE := TARGET_PRECISION CONFIDENCE_THRESHOLD
PLAIN := PYTHON RUN PRESET STUDENT_PRESET DUPLICATE_BITS DUPLICATE_SIMILARITY RUNNER TPU \
	THREADS CONSISTENCY $(WHOLE) $(POSITIVE) $(SHARE)
TEXT := DATA_DIR LABELED EVALUATION IMAGES CLASS_NAMES CALIBRATION EXCLUDE FEATURES \
	TEACHER_FLAGS STUDENT_FLAGS SELECTION_FLAGS LABELING_FLAGS BEAM_FLAGS TPU_COMPILE_FLAGS
# Before anything expands them.
$(call check_no_dollar,$(PLAIN) $(TEXT))

# --- settings of a run; set any of these on the command line -------------------
PYTHON ?= python3
RUN ?= runs/demo
ROUND ?= 1
ROUNDS ?= $(if $(filter rounds,$(MAKECMDGOALS)),3,1)
# make rounds: number of consecutive students without a new best after which to stop.
PATIENCE ?= 1
SEED ?= 1
SEEDS ?= 5
LABELS_PER_CLASS ?= 5
DATA_DIR ?= $(RUN)/data
# Number of labeled digits to calibrate on, neither trained on nor among the unlabeled.
CALIBRATION_IMAGES ?= 0
DIGITS := digits/labels$(LABELS_PER_CLASS)_$(if $(filter-out 0,$(CALIBRATION_IMAGES)),calibration$(CALIBRATION_IMAGES)_)seed$(SEED)
LABELED ?= tfds:$(DIGITS):labeled
EVALUATION ?= tfds:$(DIGITS):test
# Without, only teachers of round 1 can be trained, and calibrated.
IMAGES ?= $(if $(filter file,$(origin LABELED)),tfrecord:$(DATA_DIR)/unlabeled/*.tfrecord)
CLASS_NAMES ?=
# A recipe, or auto for a choice with the reasons in RUN/choice.
PRESET ?= $(if $(call is_default,LABELED),tiny,auto)
STUDENT_PRESET ?= $(PRESET)
# PRESET=auto: longest duration of a round and its control, roughly.
MINUTES ?= 30
# Pretrained features of round 1's teacher, which is then a probe (`teacher.probe`):
# onnx:PATH, hf:OWNER/NAME, keras:NAME, a classifier's directory and so on.
FEATURES ?=
# Number of folds; each teacher of round 1 leaves out one, to be calibrated on. 0: none.
FOLDS ?= 0
TEACHERS ?= $(or $(filter-out 0,$(FOLDS)),1)
# Whether teachers of round 1 learn from the unlabeled images too: on, off, or auto for a
# rule by the number of labels.
CONSISTENCY ?= auto
# Labeled images to calibrate every round's teacher on, never trained on.
CALIBRATION ?=
TEACHER_FLAGS ?=
STUDENT_FLAGS ?=
# Number of similar images whose labels are blended with the teacher's; 0: none. The
# confidences of a calibration are the teacher's.
NEIGHBORS ?= $(if $(or $(CALIBRATION),$(PROBED),$(filter-out 0,$(FOLDS))),0,10)
# Share of pseudo-labels that should be right; without calibration, a threshold instead.
# Where similar images have another class than the teacher says, both have at most 0.5.
TARGET_PRECISION ?= 0.97
CONFIDENCE_THRESHOLD ?= 0.51
IMAGES_PER_CLASS ?= 0
MAX_COPIES ?= 3
# Images that must not be selected, nor duplicates of them: sources separated by blanks,
# at most 20; may be empty.
EXCLUDE ?= $(EVALUATION) $(LABELED) $(CALIBRATION)
# Number of the 64 hash bits in which near-duplicates may differ; -1 keeps them.
DUPLICATE_BITS ?= 0
# Lowest cosine of the teacher's features of near-duplicates, such as 0.95; none without.
DUPLICATE_SIMILARITY ?=
# Further flags of select_labels, such as --what_if.
SELECTION_FLAGS ?=
# local, flink, prism or dataflow, see docs/runners.md and docs/dataflow.md.
RUNNER ?= local
BEAM_FLAGS ?= $(or $(BEAM_FLAGS_$(RUNNER)),$(BEAM_FLAGS_local))
# LABELING_FLAGS: further flags of label_images, such as --engine=tensorflow.
# vm: train on the TPU of this host; pod: on a TPU slice, with this command on each host.
TPU ?=
TPU_COMPILE_FLAGS ?=
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
THREADS ?=
# Number of test processes, of up to 4 GB each.
TEST_PROCESSES ?= 2
# Duration of `make fuzz`, over all kinds of files.
SECONDS ?= 60

VENV := .venv
PY := $(VENV)/bin/python
DIGITS_1_TO_9 := 1 2 3 4 5 6 7 8 9
NUMBERS := $(DIGITS_1_TO_9) 10 11 12 13 14 15 16 17 18 19 20
# Numbers for seeds of students, by round: none begins with the weights of a teacher.
STUDENT_NUMBERS := 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40
# The student of round 20 is calibrated as the teacher of the next.
ROUND_NUMBERS := $(NUMBERS) 21
ALL_SEEDS = $(wordlist 1,$(SEEDS),$(NUMBERS))
MEMBERS = $(wordlist 1,$(TEACHERS),$(NUMBERS))

$(call check_plain,$(PLAIN))
$(call check_text,$(TEXT))
$(call check_positive,$(POSITIVE) $(if $(THREADS),THREADS))
$(call check_whole,$(WHOLE))
$(call check_up_to_1000,NEIGHBORS MAX_COPIES)
$(call check_seed,SEED)
$(call check_share,$(SHARE) $(if $(DUPLICATE_SIMILARITY),DUPLICATE_SIMILARITY))
$(call check_choice,DUPLICATE_BITS,-1 0 1 2 3)
$(call check_choice,CONSISTENCY,on off auto)

# Part of targets: a colon would end their names, a hyphen begin an option.
ifneq ($(or $(findstring :,$(RUN)),$(filter -%,$(RUN)),$(if $(RUN),,empty)),)
$(call refuse,RUN,as the path of a directory)
endif

ifneq ($(call is_default,LABELED),$(call is_default,EVALUATION))
$(error expected LABELED= and EVALUATION= together, or neither for the digits, got \
	LABELED=$(LABELED) and EVALUATION=$(EVALUATION))
endif

ifneq ($(and $(call is_default,LABELED),$(filter-out tfds:digits/%,$(CALIBRATION))),)
$(error expected LABELED=, EVALUATION= and IMAGES= with CALIBRATION=$(CALIBRATION))
endif

ifeq ($(IMAGES),)
ifneq ($(filter demo demo-seeds rounds labels selection records verify student evaluation \
	samples control report $(if $(filter-out 1,$(ROUND)),teacher calibration),$(MAKECMDGOALS)),)
$(error expected IMAGES=, unlabeled images, with LABELED=$(LABELED))
endif
ifeq ($(CONSISTENCY),on)
$(error expected IMAGES=, unlabeled images, with CONSISTENCY=on)
endif
endif

DATA_FLAGS := --data_dir=$(call quote,$(DATA_DIR))
CLASS_FLAGS := $(if $(CLASS_NAMES),--class_names=$(call quote,$(CLASS_NAMES)))
# TEACHER_FLAGS name the features of all labeled images, LABELING_FLAGS those of the
# unlabeled ones.
FEATURE := --image_feature=%
excluded_feature = $(filter $(FEATURE),$(TEACHER_FLAGS))
unlabeled_feature = $(filter $(FEATURE),$(LABELING_FLAGS))
LABELED_FEATURES = $(call quote_words,\
	$(filter $(FEATURE) --label_feature=%,$(TEACHER_FLAGS)))
IMAGE_FLAGS = --images=$(call quote,$(IMAGES)) $(DATA_FLAGS) \
	$(call quote_words,$(unlabeled_feature))
SOURCE_FLAGS = $(DATA_FLAGS) $(CLASS_FLAGS) $(LABELED_FEATURES)
LABEL_FLAGS = --labeled=$(call quote,$(LABELED)) $(EVALUATION_FLAGS)
EVALUATION_FLAGS = --evaluation=$(call quote,$(EVALUATION)) $(SOURCE_FLAGS)

# On a TPU, layers compute in bfloat16, as in the paper.
DEVICE_FLAGS := $(if $(TPU),--backend=jax --set=dtype=bfloat16) \
	$(if $(filter pod,$(TPU)),--distributed=auto)
LIBTPU := $(VENV)/libtpu

$(foreach name,ROUND ROUNDS SEEDS TEACHERS,$(if \
	$(and $(filter 1,$(words $($(name)))),\
		$(filter $(if $(filter ROUND,$(name)),$(ROUND_NUMBERS),$(NUMBERS)),$($(name)))),,\
	$(error expected $(name)= from 1 to 20, got $(name)=$($(name)))))

ifeq ($(FOLDS),1)
$(call refuse,FOLDS,as 0 or at least 2)
endif

ifeq ($(filter 0 $(TEACHERS),$(FOLDS)),)
$(error expected a teacher for each fold, got FOLDS=$(FOLDS) and TEACHERS=$(TEACHERS))
endif

# Goals that make no part of a run.
OTHER_GOALS := help setup clean-demo format lint typecheck test test-all fuzz check browser \
	tpu-compile clean container dataflow-check dataflow-smoke estimate flink-up flink-down \
	test-container test-runners test-engines chaos
AUTO := $(filter auto,$(PRESET) $(STUDENT_PRESET))
CHOICE := $(RUN)/choice/choice.mk
CHOSEN_FEATURES :=
CHOSEN_PRESET :=
CHOSEN_FLAGS :=
ifneq ($(and $(AUTO),$(filter-out $(OTHER_GOALS),$(or $(MAKECMDGOALS),help))),)
ifeq ($(origin LABELED),file)
$(error expected LABELED= with PRESET=auto; the digits have PRESET=tiny)
endif
ifeq ($(and $(findstring n,$(firstword -$(MAKEFLAGS))),\
	$(if $(wildcard $(VENV)/demo-installed),,missing)),missing)
$(error expected `make setup` before make -n, which chooses before it prints, or PRESET=)
endif
# make would run what is in a file: this one may only name things.
NAMES_ONLY := ^CHOSEN_[A-Z]+ := [[:alnum:] .,:/@_=-]*$$
ifneq ($(shell grep -svE '$(NAMES_ONLY)' $(CHOICE)),)
$(error expected names in $(CHOICE); delete $(RUN)/choice)
endif
# make makes this file if need be, and starts again.
include $(CHOICE)
endif
teacher_recipe = $(if $(filter auto,$(PRESET)),$(CHOSEN_PRESET),$(PRESET))
student_recipe = $(if $(filter auto,$(STUDENT_PRESET)),$(CHOSEN_PRESET),$(STUDENT_PRESET))
TEACHER_RECIPE = --preset=$(teacher_recipe) $(if $(filter auto,$(PRESET)),$(CHOSEN_FLAGS))
STUDENT_RECIPE = --preset=$(student_recipe) \
	$(if $(filter auto,$(STUDENT_PRESET)),$(CHOSEN_FLAGS))
PROBED := $(or $(FEATURES),$(if $(filter auto,$(PRESET)),$(CHOSEN_FEATURES)))

# What reads a source of features, by its prefix.
EXTRA_onnx := onnx
EXTRA_hf := hub
EXTRA_keras_hub := pretrained
EXTRA := $(EXTRA_$(firstword $(subst :, ,$(PROBED))))
INSTALLED := $(VENV)/$(if $(filter dataflow,$(RUNNER)),gcp,$(if $(TPU),tpu,demo))-installed \
	$(if $(EXTRA),$(VENV)/$(EXTRA)-installed)

ifneq ($(and $(filter-out 0,$(NEIGHBORS)),\
	$(or $(CALIBRATION),$(PROBED),$(filter-out 0,$(FOLDS)))),)
$(error expected NEIGHBORS=0 with FEATURES=, FOLDS= or CALIBRATION=, whose confidences \
	are the teacher's, got NEIGHBORS=$(NEIGHBORS))
endif

# A probe learns from labels alone, and leaves out each fold itself.
ifneq ($(FEATURES),)
$(foreach wrong,$(filter-out FOLDS=0 TEACHERS=1 CONSISTENCY=auto CONSISTENCY=off,\
	FOLDS=$(FOLDS) TEACHERS=$(TEACHERS) CONSISTENCY=$(CONSISTENCY)),\
	$(error expected FEATURES= without FOLDS=, TEACHERS= and CONSISTENCY=, as the teacher \
		is one probe that calibrates itself, got $(wrong)))
endif

ifneq ($(filter-out vm pod,$(TPU)),)
$(error expected TPU=vm or TPU=pod, got TPU=$(TPU))
endif

# The digits are used only if no other images are given, and labeled by the same engine
# on every machine, so that the results of the demo are the same.
ifeq ($(origin LABELED),file)
DATA := $(RUN)/data/COMPLETED
EXCLUDE := tfds:$(DIGITS):labeled+test$(if $(CALIBRATION),+calibration)
# Different scans of 8x8 pixels can have the same hash.
DUPLICATE_BITS := -1
LABELING_FLAGS ?= $(if $(PROBED),,--engine=tensorflow --dtype=float32)
endif

# The sources to exclude, each one word for make.
ifneq ($(and $(call is_default,EXCLUDE),$(DATA)),)
EXCLUDED := $(EXCLUDE)
else ifneq ($(call is_default,EXCLUDE),)
EXCLUDED := $(foreach name,EVALUATION LABELED CALIBRATION,$(call pack,$($(name))))
else
$(call check_sources,EXCLUDE)
EXCLUDED := $(foreach source,$(EXCLUDE),$(call pack,$(source)))
endif
ifneq ($(word 21,$(EXCLUDED)),)
$(error expected at most 20 sources, got EXCLUDE=$(EXCLUDE))
endif

# A small network runs fastest on one thread; JOBS= of them are trained side by side.
ifneq ($(THREADS),)
export TF_NUM_INTRAOP_THREADS := $(THREADS)
endif

include infra/runners.mk infra/dataflow.mk infra/container.mk infra/dataflow_check.mk

$(call check_known,$(PLAIN) $(TEXT) $(RUNNER_SETTINGS) $(CLOUD) DATAFLOW_FLAGS VENV SHELL)

RUNNERS := $(sort dataflow \
	$(patsubst BEAM_FLAGS_%,%,$(filter BEAM_FLAGS_%,$(.VARIABLES))))
ifeq ($(filter $(RUNNERS),$(RUNNER)),)
$(error expected RUNNER= as one of $(RUNNERS), got RUNNER=$(RUNNER))
endif

.PHONY: help setup demo clean-demo demo-seeds rounds teacher calibration labels selection \
	records verify student evaluation samples control report format lint typecheck test \
	test-all fuzz check browser tpu-compile clean FORCE

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | \
		awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

# --- the environment -----------------------------------------------------------
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		2>/dev/null || { echo "error: expected Python 3.11, 3.12 or 3.13, got" \
		"$$($(PYTHON) --version 2>&1) as $(PYTHON); name one: make PYTHON=python3.12" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo-installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV), which takes some minutes"
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/dev-installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV), which takes some minutes"
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/demo-installed

$(VENV)/tpu-installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV), which takes some minutes"
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[demo,tpu]'
	@touch $@ $(VENV)/demo-installed

$(VENV)/onnx-installed $(VENV)/hub-installed $(VENV)/pretrained-installed: \
		pyproject.toml constraints.txt | $(firstword $(INSTALLED))
	$(PY) -m pip install --quiet --constraint constraints.txt \
		--editable '.[$(@:$(VENV)/%-installed=%)]'
	@touch $@

# libtpu is installed elsewhere: JAX would try to use it on machines without a TPU.
$(LIBTPU)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV), which takes some minutes"
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[jax]'
	$(PY) -m pip install --quiet --no-deps --upgrade --target $(LIBTPU) \
		"$$(grep '^libtpu==' constraints.txt)"
	@touch $@

setup: $(INSTALLED)  ## Create .venv and install what a run needs; with TPU=vm for a TPU
	@echo "installed in $(VENV): make report or make help next, or . $(VENV)/bin/activate"

# --- the demo ------------------------------------------------------------------
demo: | $(INSTALLED)  ## Run all stages on handwritten digits, in five to eight minutes
	@$(MAKE) --no-print-directory -j$(JOBS) THREADS=1 report

clean-demo:  ## Delete the files of the demo
	rm -rf runs/demo

DEMO_SEEDS := runs/demo-seeds$(if $(filter-out 5,$(LABELS_PER_CLASS)),-$(LABELS_PER_CLASS))
demo-seeds: | $(INSTALLED)  ## Run the demo with SEEDS=5 seeds and compare the results
	@for seed in $(ALL_SEEDS); do \
		$(MAKE) --no-print-directory demo SEED=$$seed \
			RUN=$(DEMO_SEEDS)/seed-$$seed || exit 1; \
	done
	@$(PY) -m workflow.report --output=$(DEMO_SEEDS)/summary.json \
		$(foreach seed,$(ALL_SEEDS),--run=$(DEMO_SEEDS)/seed-$(seed))

# Another round if the student beats the best before it on CALIBRATION, at most ROUNDS.
rounds: | $(INSTALLED)  ## Run rounds while accuracy on CALIBRATION= improves, at most ROUNDS=3
ifneq ($(CALIBRATION),)
	@set -e; for round in $(wordlist 1,$(ROUNDS),$(NUMBERS)); do \
		$(MAKE) --no-print-directory -j$(JOBS) THREADS=1 student ROUND=$$round; \
		$(MAKE) --no-print-directory calibration ROUND=1; \
		$(MAKE) --no-print-directory calibration ROUND=$$((round + 1)); \
		$(PY) -m workflow.rounds --run=$(RUN) --patience=$(PATIENCE) || \
			{ [ $$? = 3 ] && break; exit 1; }; \
	done; \
	$(MAKE) --no-print-directory -j$(JOBS) THREADS=1 report ROUNDS=$$round
else ifeq ($(origin LABELED),file)
	@$(MAKE) --no-print-directory rounds CALIBRATION_IMAGES=200 \
		CALIBRATION=tfds:digits/labels$(LABELS_PER_CLASS)_calibration200_seed$(SEED):calibration \
		RUN=$(if $(filter file,$(origin RUN)),runs/rounds,$(RUN))
else
	$(error expected CALIBRATION=, labeled images to compare rounds on)
endif

# --- stages --------------------------------------------------------------------
teacher_dirs = $(if $(filter 1,$(1)),$(MEMBERS:%=$(RUN)/round-1/teacher/member-%),\
	$(RUN)/round-$(word $(1),0 $(NUMBERS))/student)
teacher_flags = $(foreach dir,$(call teacher_dirs,$(1)),--teacher=$(dir))
completed = $(patsubst %,%/COMPLETED,$(1))
# A student is trained on all folds.
is_calibrated = $(or $(CALIBRATION),$(and $(filter 1,$(1)),$(or $(PROBED),\
	$(filter-out 0,$(FOLDS)))))
# A probe's calibration is made with it, unless each class has one labeled image only.
has_own = $(and $(filter 1,$(1)),$(PROBED),$(if $(CALIBRATION),,own))
own_calibration = $(if $(call has_own,$(1)),$(call teacher_dirs,$(1))/calibration)
calibration_dir = $(if $(call has_own,$(1)),,\
	$(if $(call is_calibrated,$(1)),$(RUN)/round-$(1)/calibration))
calibration_flag = $(if $(call has_own,$(1)),\
	`test ! -e $(own_calibration) || echo --calibration=$(own_calibration)`,\
	$(addprefix --calibration=,$(call calibration_dir,$(1))))
at_precision = --target_precision=$(TARGET_PRECISION)
at_threshold = --confidence_threshold=$(CONFIDENCE_THRESHOLD)
threshold_flag = $(if $(call has_own,$(1)),\
	`test -e $(own_calibration) && echo $(at_precision) || echo $(at_threshold)`,\
	$(if $(call is_calibrated,$(1)),$(at_precision),$(at_threshold)))
excluded_dirs = $(patsubst %,$(RUN)/round-$(1)/excluded/set-%,\
	$(wordlist 1,$(words $(EXCLUDED)),$(NUMBERS)))
calibrate_on = $(if $(CALIBRATION),--held_out=$(call quote,$(CALIBRATION)),\
	--out_of_fold=$(call quote,$(LABELED)))
# Differs for any two pairs of SEED and number: seeds with two digits behind SEED end in 0.
seed = --seed=$(SEED)$(1)$(if $(filter $(DIGITS_1_TO_9),$(1)),,0)

teacher: $(call completed,$(call teacher_dirs,$(ROUND)))  ## Train the teacher of round ROUND=1
calibration: $(call completed,$(or $(strip $(call calibration_dir,$(ROUND))),\
	$(call teacher_dirs,$(ROUND))))
calibration:  ## Calibrate the teacher, with FOLDS=, FEATURES= or CALIBRATION=
labels: $(RUN)/round-$(ROUND)/predictions/COMPLETED  ## Label all images with the teacher
selection: $(RUN)/round-$(ROUND)/selection/COMPLETED  ## Select the best predictions of every class
records: $(RUN)/round-$(ROUND)/dataset/COMPLETED  ## Write the selected images as TFRecords
verify: $(RUN)/round-$(ROUND)/dataset/COMPLETED  ## Verify the records of round ROUND=1
	@$(PY) -m pseudo_label.verify $(<D)
student: $(RUN)/round-$(ROUND)/student/COMPLETED  ## Train the student of round ROUND=1
evaluation: $(RUN)/round-$(ROUND)/evaluation/COMPLETED  ## Compare the student with its teacher
samples: $(RUN)/round-$(ROUND)/samples/COMPLETED  ## Draw samples for the report's contact sheets
control: $(RUN)/control/COMPLETED  ## Train the control: labels alone, compute of a chain of ROUNDS=1

reported = $(foreach round,$(wordlist 1,$(ROUNDS),$(NUMBERS)),\
	$(RUN)/round-$(round)/samples $(RUN)/round-$(round)/evaluation)
report: $(call completed,$(RUN)/round-1/teacher/evaluation $(RUN)/control/evaluation \
		$(reported))
report:  ## Run ROUNDS=1 rounds and report on them
	@$(PY) -m workflow.report --run=$(RUN)

# The settings determine the content of RUN; other settings, or images that have changed,
# need another RUN.
SETTINGS := LABELED EVALUATION IMAGES CLASS_NAMES PRESET STUDENT_PRESET SEED TEACHERS \
	CONSISTENCY NEIGHBORS FOLDS FEATURES CALIBRATION TARGET_PRECISION TPU \
	CONFIDENCE_THRESHOLD IMAGES_PER_CLASS MAX_COPIES EXCLUDE DUPLICATE_BITS \
	DUPLICATE_SIMILARITY SELECTION_FLAGS TEACHER_FLAGS STUDENT_FLAGS $(if $(AUTO),MINUTES)

FORCE:

$(RUN)/settings: FORCE | $(INSTALLED) $(CLOUD_SEEN)
	@$(PY) -m workflow.settings --run=$(RUN) $(DATA_FLAGS) \
		$(foreach name,$(SETTINGS),$(call quote,$(name)=$($(name))))

READY = $(RUN)/settings $(INSTALLED)

# Settings that a probe cannot have.
of_network = $(filter-out 0,$(FOLDS))$(filter-out 1,$(TEACHERS))$(filter on,$(CONSISTENCY))\
$(if $(call is_default,NEIGHBORS),,$(filter-out 0,$(NEIGHBORS)))\
$(filter-out $(FEATURE) --label_feature=% --license=%,$(TEACHER_FLAGS))

$(CHOICE): FORCE | $(INSTALLED) $(CLOUD_SEEN)
	@$(PY) -m workflow.choose --labeled=$(call quote,$(LABELED)) $(SOURCE_FLAGS) \
		$(if $(IMAGES),--images=$(call quote,$(IMAGES))) \
		$(call quote_words,$(unlabeled_feature:--%=--unlabeled_%)) \
		$(if $(FEATURES),--features=$(call quote,$(FEATURES)) \
			$(call quote_words,$(filter --set=%,$(TEACHER_FLAGS)))) \
		$(if $(strip $(of_network)),--network) $(if $(TPU),--tpu) \
		--minutes=$(MINUTES) --output=$(@D)

$(RUN)/data/COMPLETED: | $(READY)
	$(PY) -m workflow.digits --output=$(@D) \
		--labels_per_class=$(LABELS_PER_CLASS) \
		--calibration_images=$(CALIBRATION_IMAGES) --seed=$(SEED)

unlabeled_flags = --unlabeled=$(call quote,$(IMAGES)) --consistency=$(CONSISTENCY) \
	$(foreach images,$(EXCLUDED),--exclude=$(call quote,$(call unpack,$(images)))) \
	$(call quote_words,$(unlabeled_feature:--%=--unlabeled_%))

# Members differ in their seed and in the fold that they leave out.
member_fold = $(if $(filter-out 0,$(FOLDS)),--folds=$(FOLDS) --fold=$$(($(1) - 1)))

define train_member
	$(PY) -m teacher.train $(TEACHER_RECIPE) $(LABEL_FLAGS) --workdir=$(@D) \
		$(if $(IMAGES),$(unlabeled_flags)) \
		$(call seed,$*) $(call member_fold,$*) $(DEVICE_FLAGS) \
		$(call quote_words,$(TEACHER_FLAGS))
endef

define probe_member
	$(PY) -m teacher.probe --features=$(call quote,$(PROBED)) $(LABEL_FLAGS) \
		--workdir=$(@D) $(call seed,$*) $(call quote_words,$(TEACHER_FLAGS))
endef

$(RUN)/round-1/teacher/member-%/COMPLETED: $(DATA) | $(READY)
	$(if $(PROBED),$(probe_member),$(train_member))

$(RUN)/round-1/teacher/evaluation/COMPLETED: $(call completed,$(call teacher_dirs,1))
	$(PY) -m teacher.evaluate $(call teacher_flags,1) --output=$(@D) \
		$(EVALUATION_FLAGS)

# Directories of a round's predictions by its teacher alone. With blending, `predictions`
# holds those that are selected from.
blends := $(filter-out 0,$(NEIGHBORS))
teacher_predictions = $(RUN)/round-$(1)/$(if $(blends),teacher_)predictions
labeled_predictions = $(if $(blends),$(RUN)/round-$(1)/labeled_predictions)
compares := $(if $(DUPLICATE_SIMILARITY),--embeddings)
embeddings := $(or $(compares),$(if $(blends),--embeddings))
labeling_flags = $(call quote_words,$(filter-out $(FEATURE),$(LABELING_FLAGS)))

# On Dataflow, the directories of a job are in the bucket: infra/dataflow.mk.
MIRROR ?=
upload ?=
download ?=
beam_options ?= $(call quote_words,$(BEAM_FLAGS))
labeling_beam_options ?= $(labeling_flags) -- $(beam_options)

define ROUND_RULES
$(RUN)/round-$(1)/calibration/COMPLETED: $(call completed,$(call teacher_dirs,$(1)))
	$(PY) -m teacher.calibrate $(call teacher_flags,$(1)) $$(calibrate_on) \
		--output=$$(@D) $$(SOURCE_FLAGS)

$(call teacher_predictions,$(1))/COMPLETED: \
		$(call completed,$(call teacher_dirs,$(1)) $(call calibration_dir,$(1)))
	$$(call upload,$(call teacher_dirs,$(1)))
	$(PY) -m beam_jobs.label_images $$(IMAGE_FLAGS) \
		$(foreach dir,$(call teacher_dirs,$(1)),--teacher=$$(MIRROR)$(dir)) \
		$(call calibration_flag,$(1)) --output=$$(MIRROR)$$(@D) \
		$(embeddings) $$(labeling_beam_options)
	$$(download)

$(RUN)/round-$(1)/excluded/set-%/COMPLETED: $(call completed,$(call teacher_dirs,$(1)))
	@echo "$$(@D): labels test images and the like, so that none, nor a copy, is selected"
	$(PY) -m beam_jobs.label_images $$(DATA_FLAGS) \
		--images=$$(call quote,$$(call unpack,$$(word $$*,$$(EXCLUDED)))) \
		$(call teacher_flags,$(1)) --output=$$(@D) $(compares) $$(labeling_flags) \
		$$(call quote_words,$$(excluded_feature))

$(RUN)/round-$(1)/selection/COMPLETED: $(RUN)/round-$(1)/predictions/COMPLETED \
		$(call completed,$(call excluded_dirs,$(1)))
	$$(call upload,$$(<D) $(call excluded_dirs,$(1)))
	$(PY) -m beam_jobs.select_labels --predictions=$$(MIRROR)$$(<D) \
		$(foreach dir,$(call excluded_dirs,$(1)),--exclude=$$(MIRROR)$(dir)) \
		--duplicate_bits=$(DUPLICATE_BITS) \
		$(if $(DUPLICATE_SIMILARITY),--duplicate_similarity=$(DUPLICATE_SIMILARITY)) \
		$$(call quote_words,$$(SELECTION_FLAGS)) \
		$(call calibration_flag,$(1)) $(call threshold_flag,$(1)) \
		--images_per_class=$(IMAGES_PER_CLASS) --max_copies=$(MAX_COPIES) \
		--output=$$(MIRROR)$$(@D) -- $$(beam_options)
	$$(download)

$(RUN)/round-$(1)/dataset/COMPLETED: $(RUN)/round-$(1)/selection/COMPLETED
	$$(call upload,$(RUN)/round-$(1)/predictions $$(<D))
	$(PY) -m beam_jobs.write_records $$(IMAGE_FLAGS) \
		--predictions=$$(MIRROR)$(RUN)/round-$(1)/predictions \
		--selection=$$(MIRROR)$$(<D) --round=$(1) \
		--output=$$(MIRROR)$$(@D) -- $$(beam_options)
	$$(download)

$(RUN)/round-$(1)/samples/COMPLETED: $(RUN)/round-$(1)/selection/COMPLETED
	$(PY) -m workflow.sample_images $$(IMAGE_FLAGS) \
		--predictions=$(RUN)/round-$(1)/predictions --selection=$$(<D) \
		$(foreach dir,$(call excluded_dirs,$(1)),--exclude=$(dir)) \
		$$(foreach images,$$(EXCLUDED),\
			--exclude_images=$$(call quote,$$(call unpack,$$(images)))) \
		$$(call quote_words,$$(excluded_feature:--%=--excluded_%)) \
		--output=$$(@D) -- $$(call quote_words,$$(BEAM_FLAGS))

$(RUN)/round-$(1)/student/COMPLETED: $(RUN)/round-$(1)/dataset/COMPLETED
	$(PY) -m student.train $(STUDENT_RECIPE) $$(LABEL_FLAGS) \
		--pseudo_labeled=$$(<D) --workdir=$$(@D) \
		$$(call seed,$$(word $(1),$$(STUDENT_NUMBERS))) \
		$(DEVICE_FLAGS) $$(call quote_words,$$(STUDENT_FLAGS))

$(RUN)/round-$(1)/evaluation/COMPLETED: $(RUN)/round-$(1)/student/COMPLETED
	$(PY) -m student.evaluate --student=$$(<D) $(call teacher_flags,$(1)) \
		--pseudo_labeled=$(RUN)/round-$(1)/dataset --output=$$(@D) \
		$$(EVALUATION_FLAGS)
endef

define BLEND_RULES
$(call labeled_predictions,$(1))/COMPLETED: $(call completed,$(call teacher_dirs,$(1)))
	$(PY) -m beam_jobs.label_images --images=$$(call quote,$$(LABELED)) $$(SOURCE_FLAGS) \
		$(call teacher_flags,$(1)) --output=$$(@D) --embeddings $$(labeling_flags)

$(RUN)/round-$(1)/predictions/COMPLETED: \
		$(call completed,$(call teacher_predictions,$(1)) $(call labeled_predictions,$(1)))
	$$(call upload,$(call teacher_predictions,$(1)) $(call labeled_predictions,$(1)))
	$(PY) -m beam_jobs.propagate_labels \
		--predictions=$$(MIRROR)$(call teacher_predictions,$(1)) \
		--labeled=$$(MIRROR)$(call labeled_predictions,$(1)) \
		--neighbors=$(NEIGHBORS) $(compares) --output=$$(MIRROR)$$(@D) -- $$(beam_options)
	$$(download)
endef
$(foreach round,$(ROUND_NUMBERS),$(eval $(call ROUND_RULES,$(round)))\
	$(if $(blends),$(eval $(call BLEND_RULES,$(round)))))

# Beside the first student, so its length is an upper bound of what the chain computes.
$(RUN)/control/COMPLETED: $(RUN)/round-1/dataset/COMPLETED
	$(PY) -m student.train $(STUDENT_RECIPE) $(LABEL_FLAGS) \
		--pseudo_labeled=$(<D) --control --workdir=$(@D) --seed=$(SEED) \
		--rounds=$(ROUNDS) $(foreach dir,$(call teacher_dirs,1) \
			$(call teacher_predictions,1) $(call labeled_predictions,1) \
			$(call excluded_dirs,1),--compute_of=$(dir)) \
		$(DEVICE_FLAGS) $(call quote_words,$(STUDENT_FLAGS))

$(RUN)/control/evaluation/COMPLETED: $(RUN)/control/COMPLETED
	$(PY) -m student.evaluate --student=$(<D) --output=$(@D) $(EVALUATION_FLAGS)

# --- development ---------------------------------------------------------------
format: | $(VENV)/dev-installed  ## Format the code
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lint: | $(VENV)/dev-installed  ## Check style, docstrings and the layers of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/hadolint Dockerfile

typecheck: | $(VENV)/dev-installed  ## Check the types
	$(PY) -m mypy

test: | $(VENV)/dev-installed  ## Run the fast tests
	$(PY) -m pytest -m 'not slow' -n $(TEST_PROCESSES) --dist loadfile \
		--no-loadscope-reorder

test-all: | $(VENV)/dev-installed  ## Run all tests, and fuzz for half a minute
	$(PY) -m pytest
	$(PY) -m tests.fuzz --seconds=30

fuzz: | $(VENV)/dev-installed  ## Read damaged files for SECONDS=60; SEED=1
	@$(PY) -m tests.fuzz --seconds=$(SECONDS) --seed=$(SEED)

check: lint typecheck test  ## Run what CI runs: lint, typecheck and test

browser:  ## Install Chromium (Debian, as root) for a test of the report
	apt-get update
	apt-get install --yes --no-install-recommends chromium

tpu-compile: $(LIBTPU)/installed  ## Compile the training step for TPUs, on a machine without one
	@TPU_LIBRARY_PATH=$(LIBTPU)/libtpu/libtpu.so \
		$(PY) -m classifier.tpu_compile $(call quote_words,$(TPU_COMPILE_FLAGS))

clean:  ## Delete caches and build files; keep runs/ and .venv
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
