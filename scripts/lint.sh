#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make lint` runs, with the tools of clang 19: `format`; `alone`, which parses every file of
# the library without the includes of its neighbours; `threads`, which compiles everything
# with the thread-safety analysis and warnings as errors; and `tidy`, clang-tidy over everything.
# Those two read the files of a folder as one: nearly all of their time goes into the headers of
# libraries. What clang-tidy found clean is not read again until it, a header or the rules change.
set -euo pipefail
cd "$(dirname "$0")/.."
sources=(git ls-files -co --exclude-standard)

check_format() {
  "${sources[@]}" '*.h' '*.cc' | xargs -r clang-format-19 --dry-run -Werror
}

check_alone() {
  "${sources[@]}" 'firn/*.cc' | grep -v '_\(test\|fuzz\|sim\)\.cc$' |
    xargs -r -P "$(nproc)" -n 1 clang++-19 -std=c++23 -I. '-DFIRN_VERSION="0"' -fsyntax-only
}

check_threads() {
  cmake --preset lint >/dev/null
  ninja -C build/lint -t targets all | sed -n 's/^\(.*\.o\): CXX_COMPILER.*/\1/p' |
    xargs ninja -C build/lint -k 0 --quiet
}

check_unit() {  # UNIT HASH-OF-RULES-AND-HEADERS
  local stamp included='s|^#include "\(.*\.cc\)"$|\1|p'
  stamp=build/lint/clean/$({ echo "$2 $1"; cat "$1"; sed -n "$included" "$1" | xargs -r cat; } |
    sha256sum | cut -d' ' -f1)
  [[ -e $stamp ]] || { clang-tidy-19 --quiet -p build/lint "$1" 2>/dev/null && touch "$stamp"; }
}
export -f check_unit

check_tidy() {
  local rules
  rules=$({ cat .clang-tidy; "${sources[@]}" '*.h' | sort | xargs cat; } | sha256sum)
  mkdir -p build/lint/clean
  sed -n 's|^ *"file": "\(.*\)",*$|\1|p' build/lint/compile_commands.json | sort -u |
    xargs -r -P "$(nproc)" -I {} bash -c 'check_unit "$1" "$2"' _ {} "$rules"
}

failed=()
for check in format alone threads tidy; do
  begin=$SECONDS
  echo "lint: $check"
  "check_$check" || failed+=("$check")
  echo "lint: $check took $((SECONDS - begin)) s"
done
[[ ${#failed[@]} -eq 0 ]] || { echo "lint: problems in: ${failed[*]}" >&2; exit 1; }
echo "lint: clean"
