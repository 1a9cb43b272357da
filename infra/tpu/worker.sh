# Trains on one host of a TPU slice, as root, whenever it boots. `infra.tpu.job` puts
# lines before this one that set MACHINE, a directory in the bucket; LIMIT, the seconds
# until the training is told to stop; DELETE, words of gcloud that delete the slice, or
# none; and "$@", the arguments of Python.
HOME=${DIRECTORY:-/opt/noisy-student-rs}
export HOME
mkdir -p "$HOME"
cd "$HOME" || exit
host=$(hostname)

# The limit counts from the first boot.
test -s stop_at || echo $(($(date +%s) + LIMIT)) > stop_at
stop_at=$(cat stop_at)

# Runs a command until then. SIGTERM lets a training save its state.
limited() {
    left=$((stop_at - $(date +%s)))
    timeout --preserve-status --kill-after=300 $((left > 1 ? left : 1)) "$@"
}

# 75: the host is being preempted; the training has saved its state.
report() {
    status=$?
    set +e
    gcloud storage cp log "$MACHINE/$host.log"
    case $status in 0 | 75) word= ;; *) word=failed ;; esac
    test "$(date +%s)" -lt "$stop_at" || word=stopped
    test -z "$word" || gcloud storage cp log "$MACHINE/$word-$host"
    test -n "$DELETE" || return
    # The slice is billed until it is deleted. Who has requested it does that, unless
    # killed. Before gcloud 467 only its alpha track has these words.
    sleep 900
    gcloud $DELETE || gcloud alpha $DELETE
}
trap report EXIT
exec > log 2>&1
set -eux

gcloud storage cp stop_at "$MACHINE/started-$host"
# Spares compiling after the next preemption.
export JAX_COMPILATION_CACHE_DIR="$MACHINE/compiled"
gcloud storage cp "$MACHINE/code.tar.gz" .
tar -xzf code.tar.gz
# The image's own Python is 3.10.
if ! test -x .venv/bin/python; then
    curl -LsSf --max-time 600 https://astral.sh/uv/install.sh > install.sh
    sh install.sh
    .local/bin/uv venv --seed --python=3.12 .venv
fi
command -v make || { apt-get update; apt-get install --yes make; }
limited make setup TPU=vm
limited .venv/bin/python "$@"
