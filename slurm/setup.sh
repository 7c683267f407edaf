# A line of the profile that fails ends the job: the cell must not train in another environment than was asked for. What
# fails within a file that a line sources, or within a function, is that one's own affair.
bench_failed() {
    bench_said="a set-up line of the profile failed with exit code $1: $(sed -n "$2p" "$0")"
    echo "$bench_said" >&2
    [ -z "$bench_log" ] || echo "$bench_said" >> "$bench_log.setup"
    exit "$bench_wrong_setup"
}
trap 'bench_status=$?; [ ${#BASH_SOURCE[@]} -gt 1 ] || bench_failed $bench_status "$LINENO"' ERR
