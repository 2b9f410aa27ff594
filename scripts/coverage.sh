#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make coverage` runs: the tests below, compiled by clang with counters, then the table of
# scripts/coverage.py. Fails if a test does, or if a file of scripts/coverage.toml is below its
# thresholds. A SIGKILL takes the counters of its process along: what only killed processes did
# counts as not done.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/build.sh
programs=(firn_{codec,io,journal,journal_allocation,metadata,store,freezer,archive,sim}_test
  firn_{paged_blob,value_log,metadata,manifest,freezer,salvage}_fuzz)
build coverage "${programs[@]}"

tree=build/coverage
rm -rf "$tree/counts"
paths=()
for name in "${programs[@]}"; do
  path=$(find "$tree" -type f -name "$name")
  paths+=("$path")
  echo "running $name ..."
  log=$tree/$name.log
  arguments=(--gtest_brief=1)
  [[ $name != *_fuzz ]] || arguments=(--inputs 200 --corpus "fuzz/corpus/$name")
  LLVM_PROFILE_FILE="$tree/counts/%p.profraw" "$path" "${arguments[@]}" >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    echo "coverage: $name failed; the whole log: $log" >&2
    exit 1
  }
done
llvm-profdata-19 merge -sparse "$tree/counts" -o "$tree/counts.profdata"
llvm-cov-19 export --skip-expansions -instr-profile="$tree/counts.profdata" \
  "${paths[@]/#/-object=}" >"$tree/coverage.json"
scripts/coverage.py "$tree/coverage.json"
