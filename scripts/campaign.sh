#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make campaign` runs: the stages of the list STAGE, as "sim sweep", or all of them, in the
# order below. A stage is an executable file scripts/campaign/STAGE.sh. It gets DURATION (seconds),
# SEED and ONLY in the environment, empty for its defaults, and the path of its report as its
# argument: {"stage","cases","violations","seconds","seed"}. ONLY is a row of its table, so it goes
# with one stage; fuzz takes a list of targets, mutants a regular expression, threads has no rows.
# A stage that finds a violation prints the command that replays it and exits with an error; the
# other stages still run.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
  echo "campaign: $*" >&2
  exit 1
}

stages=(sim sweep calls kill powercut fuzz threads mutants)
read -rd '' -a wanted <<<"${STAGE:-}" || true  # it meets the end, not a delimiter
[[ ${#wanted[@]} -gt 0 ]] || wanted=("${stages[@]}")
for stage in "${wanted[@]}"; do
  [[ " ${stages[*]} " == *" $stage "* ]] || die "no stage '$stage'; there are: ${stages[*]}"
  [[ -x scripts/campaign/$stage.sh ]] || die "scripts/campaign/$stage.sh is not executable"
done
[[ -z ${ONLY:-} || ${#wanted[@]} -eq 1 ]] || die "ONLY is a row of one stage: say STAGE, too"
[[ -z ${ONLY:-} || ${wanted[0]} != threads ]] || die "the stage threads has no rows for ONLY"

mkdir -p build/campaign
failed=()
for stage in "${wanted[@]}"; do
  report=build/campaign/$stage.json
  rm -f "$report"
  "scripts/campaign/$stage.sh" "$report" || failed+=("$stage")
done
printf '\n%-10s %14s %11s %9s %12s\n' stage cases violations seconds seed
for stage in "${wanted[@]}"; do
  report=build/campaign/$stage.json
  if [[ -f $report ]]; then
    value() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$report"; }
    printf '%-10s %14s %11s %9s %12s\n' "$stage" "$(value cases)" "$(value violations)" \
      "$(value seconds)" "$(value seed)"
  else
    printf '%-10s %14s\n' "$stage" "no report"
  fi
done
[[ ${#failed[@]} -eq 0 ]] || die "violations or errors in: ${failed[*]}"
