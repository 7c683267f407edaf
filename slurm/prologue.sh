# What a job does before anything else; variables that begin with bench_ are set above. Slurm itself writes nothing to the
# store: a store that is missing or read-only for a while would end the job before its first line. It waits, then logs there.
bench_log=$bench_jobs/${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}_0_log
bench_waited=0 bench_pause=1
until { cd "$bench_code" && : >> "$bench_log.out"; } 2> /dev/null; do
    if [ "$bench_waited" -ge "$bench_patience" ]; then
        echo "$(date +%FT%T) $bench_jobs: can't be written from $SLURMD_NODENAME for $bench_waited s" \
            >> "${TMPDIR:-/tmp}/bench-$SLURM_JOB_ID.log"
        exit "$bench_no_store"
    fi
    sleep "$bench_pause"
    bench_waited=$((bench_waited + bench_pause))
    bench_pause=$((bench_pause < 30 ? 2 * bench_pause : 60))
done
exec >> "$bench_log.out" 2>> "$bench_log.err"
# A cell in a container without scontrol leaves it to this script to put the job back into the queue.
bench_at_exit() {
    [ "$1" -ne "$bench_ask_outside" ] || [ -z "$bench_python" ] || "$bench_python" -m slurm.outside "$bench_jobs"
}
trap 'bench_status=$?; bench_at_exit "$bench_status" || exit $?; exit "$bench_status"' EXIT
