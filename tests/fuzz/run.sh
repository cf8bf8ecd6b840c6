#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Runs a fuzzer for a while, as its ctest test: run.sh PROGRAM SECONDS ARGUMENT...
# The environment's BULKHEAD_FUZZ_SECONDS makes it longer.
set -eu
program=$1
seconds=$2
shift 2
[ "${BULKHEAD_FUZZ_SECONDS:-0}" -le "$seconds" ] || seconds=$BULKHEAD_FUZZ_SECONDS
exec "$program" -max_total_time="$seconds" -timeout=10 -verbosity=0 -print_final_stats=1 "$@"
