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
