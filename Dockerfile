# The container of Dataflow's workers: Beam's own, this project, what constraints.txt
# pins. `make container` builds it for the Python that submits; both must be the same.
ARG PYTHON_MINOR=3.11
FROM apache/beam_python${PYTHON_MINOR}_sdk:2.77.0

# Extras of pyproject.toml: what the network runs on.
ARG EXTRAS=gcp,openvino

# Beam would start each worker in a virtual environment of its own. Dataflow mounts the
# driver of a GPU in /usr/local/nvidia, where nothing would look for it. TensorFlow's
# warnings are shown: they alone tell why it has found no GPU.
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64 \
    PATH=/usr/local/nvidia/bin:$PATH \
    TF_CPP_MIN_LOG_LEVEL=1 \
    GRPC_VERBOSITY=ERROR \
    KERAS_BACKEND=tensorflow \
    MALLOC_ARENA_MAX=1

WORKDIR /opt/noisy-student-rs

# First what it depends on, of a project without packages: a layer that stays the same
# while the code changes.
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
RUN pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]"

COPY stage stage
COPY classifier classifier
COPY pseudo_label pseudo_label
COPY beam_jobs beam_jobs
COPY teacher teacher
COPY student student
COPY workflow workflow
COPY noisy_student noisy_student
RUN pip install --no-cache-dir --no-deps --force-reinstall . && pip check

WORKDIR /
RUN python -c "import beam_jobs.labeling.worker"

ENTRYPOINT ["/opt/apache/beam/boot"]
