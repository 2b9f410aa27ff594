#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fuzz targets under libFuzzer, address and undefined-behaviour sanitizers, one after another: each
# for an equal share of DURATION, in whole seconds by the clock, rounded up. What it learns stays in
# build/fuzz-corpus for the next run.
# usage: fuzz.sh REPORT, with DURATION (seconds, default 60), SEED and ONLY in the environment. ONLY
# lists targets, as "freezer archive_calls"; default: all of them.
set -euo pipefail
mapfile -t targets < <(grep -oh '[a-z0-9_]*_fuzz\.cc' {firn/*,fuzz,tools/firn}/CMakeLists.txt |
  sed 's/_fuzz\.cc//')
names=()
for target in ${ONLY:-"${targets[@]}"}; do
  if [[ " ${targets[*]} " != *" $target "* ]]; then
    echo "fuzz: no target '$target'; there are: ${targets[*]}" >&2
    exit 1
  fi
  names+=("firn_${target}_fuzz")
done
scripts/setup.sh fuzz
source scripts/build.sh
build fuzz "${names[@]}"

seed=${SEED:-1} cases=0 violations=0 begin=$SECONDS
share=$(((${DURATION:-60} + ${#names[@]} - 1) / ${#names[@]}))
echo "${#names[@]} targets, each for $share seconds by the clock"
for name in "${names[@]}"; do
  program=$(find build/fuzz -type f -name "$name")
  corpus=build/fuzz-corpus/$name log=build/campaign/$name.log
  mkdir -p "$corpus"
  seeds=$(find fuzz/corpus -type d -name "$name")  # read first, never written
  "$program" -seed="$seed" -max_total_time="$share" -timeout=10 -malloc_limit_mb=256 \
    -print_final_stats=1 -artifact_prefix="build/campaign/$name-" "$corpus" $seeds >"$log" 2>&1 || {
    violations=$((violations + 1))
    tail -n 30 "$log" >&2
    echo "replay: $program $(ls -t build/campaign/"$name"-* | grep -v '\.log$' | head -n 1)" >&2
  }
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  cases=$((cases + ${runs:-0}))
  printf '%-36s %10s inputs\n' "$name" "${runs:-?}"
done
printf '{"stage":"fuzz","cases":%d,"violations":%d,"seconds":%d,"seed":%d}\n' \
  "$cases" "$violations" "$((SECONDS - begin))" "$seed" >"$1"
[[ $violations -eq 0 ]]
