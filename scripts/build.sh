# SPDX-License-Identifier: Apache-2.0
#
# Sourced by the other scripts. build PRESET [TARGET...]: configures and builds, silent unless it
# takes long or fails; the output is in build/PRESET.log.
build() {
  local preset=$1 log=build/$1.log targets=()
  shift
  [[ $# -eq 0 ]] || targets=(--target "$@")
  mkdir -p build
  echo "building ($preset) ..."
  if ! { cmake --preset "$preset" && cmake --build --preset "$preset" "${targets[@]}"; } \
      >"$log" 2>&1; then
    grep -v '^\[[0-9/]*\] Building' "$log" | tail -n 60 >&2
    echo "the build failed; the whole log: $log" >&2
    exit 1
  fi
}
