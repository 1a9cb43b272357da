# Trains on one host of a TPU slice, as root, whenever it boots. `infra.tpu.job` puts
# lines before this one that set MACHINE, a directory in the bucket, and "$@", the
# arguments of Python.
HOME=${DIRECTORY:-/opt/noisy-student-rs}
export HOME
mkdir -p "$HOME"
cd "$HOME" || exit
host=$(hostname)

# 75: the host is being preempted; the training has saved its state.
report() {
    status=$?
    gcloud storage cp log "$MACHINE/$host.log"
    case $status in 0 | 75) return ;; esac
    gcloud storage cp log "$MACHINE/failed-$host"
}
trap report EXIT
exec > log 2>&1
set -eux

# Spares compiling after the next preemption.
export JAX_COMPILATION_CACHE_DIR="$MACHINE/compiled"
gcloud storage cp "$MACHINE/code.tar.gz" .
tar -xzf code.tar.gz
# The image's own Python is 3.10.
if ! test -x .venv/bin/python; then
    curl -LsSf https://astral.sh/uv/install.sh > install.sh
    sh install.sh
    .local/bin/uv venv --seed --python=3.12 .venv
fi
command -v make || { apt-get update; apt-get install --yes make; }
make setup TPU=vm
.venv/bin/python "$@"
