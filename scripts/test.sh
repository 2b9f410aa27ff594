#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make test` runs: every test on an optimised build, the unit tests under the address and
# undefined-behaviour sanitizers, the concurrency tests under the thread sanitizer. The whole output
# goes to build/test.log; the screen gets one line a step, and the end of the log of a step that
# failed.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
log=build/test.log
: >"$log"
jobs=$(nproc)
# One test more than processors: some wait for processes that they slow down.
export CTEST_PARALLEL_LEVEL=$((jobs + 1)) CMAKE_BUILD_PARALLEL_LEVEL=$jobs
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:strict_string_checks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}

# step NAME COMMAND...: runs the command into the log, prints the time and ctest's count.
step() {
  local name=$1 begin=$SECONDS from status=0 count
  shift
  from=$(wc -l <"$log")
  printf '%-42s' "$name"
  printf '\n=== %s: %s\n' "$name" "$*" >>"$log"
  "$@" >>"$log" 2>&1 || status=$?
  output() { tail -n "+$((from + 1))" "$log"; }
  count=$(output | sed -n 's/.*tests passed.* out of \([0-9]*\)$/\1 tests/p')
  if [[ $status -ne 0 ]]; then
    printf 'FAILED after %d s\n\n' $((SECONDS - begin))
    output | grep -v '^\[[0-9/]*\] Building\| Passed \|^ *Start ' | tail -n 60
    printf '\nThe whole log: %s. Again: %s\n' "$log" "$*"
    exit 1
  fi
  printf '%4d s  %s\n' "$((SECONDS - begin))" "$count"
}

for preset in release asan tsan; do
  step "$preset: configure" cmake --preset "$preset"
  step "$preset: build" cmake --build --preset "$preset"
  step "$preset: test" ctest --preset "$preset"
done
printf 'All tests pass (%d s). The log is %s.\n' "$SECONDS" "$log"
