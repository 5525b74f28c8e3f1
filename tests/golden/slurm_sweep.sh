#!/usr/bin/env bash
# A sweep, by `python -m gnexp.launch.slurm`.
#SBATCH --job-name=gnexp-gn
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=2
#SBATCH --time=1-00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120

# Slurm starts this on the first node, in the folder that it was submitted from.
. .venv/bin/activate || exit
command=(
  python -m gnexp.train
  --config=configs/fmnist_sweep.py
  --config.sweep.parallel=16
  --config.sweep.resources.gpus=0.5
  --workdir=runs/gn
  --config.sweep.executor=ray
)

# How the job ends. Slurm sends SIGTERM before it takes the nodes away, and USR1 two minutes before the time limit. Then
# the training saves and exits with 143. After USR1 the job has itself queued again; after a preemption Slurm does so.
trainer='' ray='' requeue=''

stop() {
  if [[ $trainer ]]; then kill -TERM "$trainer" 2>/dev/null; else exit 143; fi
}
trap stop TERM
trap 'requeue=yes; stop' USR1

finish() {
  local code=$?
  trap '' TERM USR1
  if [[ $ray ]]; then
    # The job's only step. A signal to srun itself would reach Ray as SIGKILL, which leaves Ray's files behind.
    scancel --signal=TERM "$SLURM_JOB_ID.0" 2>/dev/null || kill "$ray" 2>/dev/null
    wait "$ray"
  fi
  if [[ $requeue && $code == 143 ]]; then scontrol requeue "$SLURM_JOB_ID"; fi
  exit "$code"
}
trap finish EXIT

run() {
  "$@" &
  trainer=$!
  # A signal ends `wait` before the training ends.
  while wait "$trainer"; kill -0 "$trainer" 2>/dev/null; do :; done
  wait "$trainer"
  exit
}

# A Ray cluster for this job only: its ports come from the job's number, and nobody else has its token.
port=$((20000 + 2 * (SLURM_JOB_ID % 5000)))
address=$(hostname):$port
RAY_AUTH_TOKEN=$(< /proc/sys/kernel/random/uuid)
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
# Otherwise Ray waits 30 seconds at the end for services to drain, which nothing needs here.
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0

# Runs on every node, and gives Ray what Slurm gave the job there. A worker waits for its head. A sweep sends settings
# and figures, for which 256 MiB of memory are plenty. Ray's output is shown only if Ray fails, that is, ends by itself.
ray_node() {
  local role=(--address="$address") stopped=''
  if ((SLURM_NODEID == 0)); then
    role=(--head --port="$port" --ray-client-server-port="$((port + 1))" --include-dashboard=false)
  fi
  # A short path, because those of Ray's sockets have at most 107 characters.
  folder=$(mktemp -d /tmp/gnexp-ray.XXXXXX)
  trap 'rm -rf "$folder"' EXIT
  trap 'stopped=yes' TERM
  ray start --block "${role[@]}" --temp-dir="$folder" --object-store-memory=268435456 \
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" \
    --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0 >"$folder/start.log" 2>&1
  if [[ ! $stopped ]]; then
    cat "$folder/start.log" >&2
    return 1
  fi
}
export -f ray_node
export port address
srun --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" bash -c ray_node &
ray=$!

python - "$address" "$SLURM_NNODES" <<'PYTHON' &
import sys
import time

import ray

address, nodes, joined, deadline = sys.argv[1], int(sys.argv[2]), 0, time.monotonic() + 300
while joined < nodes:
    if time.monotonic() > deadline:
        sys.exit(f"gnexp: {joined} of {nodes} nodes joined the Ray cluster in 300 seconds")
    time.sleep(1)
    try:
        ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR")
    except Exception:  # It is not up yet: Ray raises various exceptions.
        continue
    joined = sum(node["Alive"] for node in ray.nodes())
PYTHON
joined=$!
if ! wait -n "$ray" "$joined"; then
  kill "$joined" 2>/dev/null
  echo "gnexp: the Ray cluster did not start; see the output of its nodes above" >&2
  exit 1
fi

run "${command[@]}" --ray_address="$address"
