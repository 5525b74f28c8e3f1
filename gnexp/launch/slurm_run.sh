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
