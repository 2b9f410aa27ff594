#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make lint` runs, with the tools of clang 19: `format`; `threads`, which compiles everything
# with the thread-safety analysis and warnings as errors; and `tidy`, clang-tidy over every file. A
# file that clang-tidy found clean is not read again until it, a header or the rules change.
set -euo pipefail
cd "$(dirname "$0")/.."
sources=(git ls-files -co --exclude-standard)

check_format() {
  "${sources[@]}" '*.h' '*.cc' | xargs -r clang-format-19 --dry-run -Werror
}

check_threads() {
  cmake --preset lint >/dev/null
  ninja -C build/lint -t targets all | sed -n 's/^\(.*\.cc\.o\): CXX_COMPILER.*/\1/p' |
    xargs ninja -C build/lint -k 0 --quiet
}

check_file() {  # FILE HASH-OF-RULES-AND-HEADERS
  local stamp
  stamp=build/lint/clean/$({ echo "$2 $1"; cat "$1"; } | sha256sum | cut -d' ' -f1)
  [[ -e $stamp ]] || { clang-tidy-19 --quiet -p build/lint "$1" 2>/dev/null && touch "$stamp"; }
}
export -f check_file

check_tidy() {
  local rules known="s|^ *\"file\": \"$PWD/\(.*\)\",*|\1|p"
  rules=$({ cat .clang-tidy; "${sources[@]}" '*.h' | sort | xargs cat; } | sha256sum)
  mkdir -p build/lint/clean
  "${sources[@]}" '*.cc' |
    grep -F -x -f <(sed -n "$known" build/lint/compile_commands.json) |
    xargs -r -P "$(nproc)" -I {} bash -c 'check_file "$1" "$2"' _ {} "$rules"
}

failed=()
for check in format threads tidy; do
  begin=$SECONDS
  echo "lint: $check"
  "check_$check" || failed+=("$check")
  echo "lint: $check took $((SECONDS - begin)) s"
done
[[ ${#failed[@]} -eq 0 ]] || { echo "lint: problems in: ${failed[*]}" >&2; exit 1; }
echo "lint: clean"
