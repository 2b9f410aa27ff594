#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make demo` runs: the main job on real input. Imports the files below /usr/include and
# /usr/share/doc, reads some back, kills an import in the middle, verifies, exports and compares;
# then freezes the same files, kills that, too, loses the table and makes it anew.
# Every claim that it prints is checked; it ends with an error at the first that is wrong.
# STORE=DIRECTORY keeps the store there; otherwise all goes to a temporary folder that is removed.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/build.sh
build demo
firn=$PWD/build/release/bin/firn

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
store=${STORE:-$work/store}
if [[ -e $store && -n $(ls -A "$store") ]]; then
  echo "demo: '$store' is not empty; give a new directory as STORE" >&2
  exit 1
fi

say() { printf '\n== %s\n' "$*"; }
# run COMMAND...: shows the command as a user would type it, and runs it.
run() {
  printf '$ %s\n' "${*/#$firn/firn}"
  "$@"
}
die() {
  printf 'demo: FAILED: %s\n' "$*" >&2
  exit 1
}
# member NAME: the value of a number in a line of JSON.
member() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; }

sources=()
for folder in /usr/include /usr/share/doc; do
  [[ ! -d $folder ]] || sources+=("$folder")
done
[[ ${#sources[@]} -gt 0 ]] || die "neither /usr/include nor /usr/share/doc is there to import"
files=$(find "${sources[@]}" -type f | wc -l)

say "Import: every file below ${sources[*]} becomes an item, found by a number and by its SHA-256"
run "$firn" archive import "$store" "${sources[@]}" --items-per-section 4096
run "$firn" archive stat "$store"
items=$("$firn" archive stat "$store" --json | member items)
[[ $items -eq $files ]] || die "find counts $files files, the store has $items items"
[[ -z $("$firn" archive gaps "$store") ]] || die "there are gaps"

say "Read: by index and by key, compared with the files"
run "$firn" archive list "$store" --limit 3
for ((i = 0; i < 200; ++i)); do
  index=$((i * (items - 1) / 199))
  item=$("$firn" archive list "$store" --from "$index" --limit 1 --json)
  path=/$(sed -n 's/.*"path":"\([^"\\]*\)".*/\1/p' <<<"$item")
  key=$(sed -n 's/.*"key":"\([0-9a-f]*\)".*/\1/p' <<<"$item")
  size=$(member size <<<"$item")
  [[ -f $path ]] || continue  # a name with quotes in it
  "$firn" archive get "$store" --index "$index" >"$work/by-index"
  "$firn" archive get "$store" --key "$key" >"$work/by-key"
  cmp -s "$work/by-index" "$path" || die "item $index differs from $path"
  cmp -s "$work/by-key" "$path" || die "the item with the key $key differs from $path"
  [[ $(sha256sum <"$path") == "$key  -" ]] || die "$key is not the SHA-256 of $path"
  [[ $(stat -c %s "$path") -eq $size ]] || die "$path does not have $size bytes"
done
echo "200 items spread over the store: equal to their files, both ways"

say "Crash: a second import, killed with SIGKILL in the middle"
sync_every=$((items / 50 + 1))
echo "$ firn archive import STORE ${sources[*]} --ack --sync-every $sync_every & kill -9 \$!"
"$firn" archive import "$store" "${sources[@]}" --ack --sync-every "$sync_every" \
  >"$work/acks" 2>"$work/killed-import.log" &
importer=$!
while [[ $(wc -l <"$work/acks") -lt 10 ]]; do
  kill -0 "$importer" 2>/dev/null || die "the import ended early: $(cat "$work/killed-import.log")"
  sleep 0.01
done
kill -KILL "$importer" || die "the import ended before it could be killed"
wait "$importer" 2>/dev/null && die "the import was not killed"
acknowledged=$(tail -n 1 "$work/acks" | cut -d ' ' -f 2)
echo "killed; the last acknowledgement: 'synced $acknowledged'"
run "$firn" archive stat "$store"
last=$("$firn" archive stat "$store" --json | member last_index)
[[ $last -ge $acknowledged ]] || die "index $acknowledged was acknowledged, but $last is the last"
[[ -z $("$firn" archive gaps "$store") ]] || die "there are gaps after the crash"
"$firn" archive list "$store" --limit $((acknowledged - items + 1)) | cut -f 2,3 >"$work/before"
"$firn" archive list "$store" --from "$items" --limit $((acknowledged - items + 1)) |
  cut -f 2,3 >"$work/after"
[[ -s $work/after ]] || die "nothing was acknowledged"
cmp "$work/before" "$work/after" || die "what was acknowledged is not what was imported"
echo "all $((acknowledged - items + 1)) acknowledged items of the killed import are there, and" \
  "the $items before them"

say "Verify: every page and every value"
run "$firn" verify "$store" --deep

say "Export, and compare with the sources"
run "$firn" archive export "$store" --to "$work/exported"
for folder in "${sources[@]}"; do
  # Links are not imported, and neither are folders without files.
  diff -r --no-dereference "$folder" "$work/exported$folder" >"$work/diff" || true
  while IFS= read -r line; do
    if [[ $line =~ ^Only\ in\ (/[^:]*):\ (.*)$ ]]; then
      only=${BASH_REMATCH[1]}/${BASH_REMATCH[2]}
      [[ -n $(find "$only" -type f -print -quit) ]] || continue
    fi
    die "diff: $line"
  done <"$work/diff"
  (cd "$folder" && find . -type f -printf '%P %m %T@\n' | sort) >"$work/sources.list"
  (cd "$work/exported$folder" && find . -type f -printf '%P %m %T@\n' | sort) >"$work/exported.list"
  cmp "$work/sources.list" "$work/exported.list" || die "modes or times below $folder differ"
done
echo "equal: contents, modes and times of $files files"

say "Freeze: the same files, found by their SHA-256 for ever; the import is killed half way"
frozen=$work/frozen
echo "$ firn freezer import FROZEN ${sources[*]} --ack --sync-every $sync_every & kill -9 \$!"
"$firn" freezer import "$frozen" "${sources[@]}" --ack --sync-every "$sync_every" \
  >"$work/acks" 2>"$work/killed-import.log" &
importer=$!
while [[ $(wc -l <"$work/acks") -lt 25 ]]; do
  kill -0 "$importer" 2>/dev/null || die "the import ended early: $(cat "$work/killed-import.log")"
  sleep 0.01
done
kill -KILL "$importer" || die "the import ended before it could be killed"
wait "$importer" 2>/dev/null && die "the import was not killed"
acknowledged=$(tail -n 1 "$work/acks" | cut -d ' ' -f 2)
echo "killed; the last acknowledgement: 'synced $acknowledged'"
frozen_keys() { "$firn" freezer list "$frozen" | cut -f 1 | sort -u; }
frozen_keys >"$work/frozen.keys"
"$firn" archive list "$store" --limit "$acknowledged" | cut -f 2 | sort -u >"$work/wanted.keys"
lost=$(comm -23 "$work/wanted.keys" "$work/frozen.keys")
[[ -z $lost ]] || die "acknowledged keys are missing: $lost"
echo "every key of the $acknowledged acknowledged items is there"
run "$firn" freezer import "$frozen" "${sources[@]}"
run "$firn" freezer stat "$frozen"
"$firn" archive list "$store" | cut -f 2 | sort -u >"$work/wanted.keys"
frozen_keys >"$work/frozen.keys"
cmp "$work/wanted.keys" "$work/frozen.keys" || die "the keys are not those of the files"
# answers: what 50 keys spread over the store, and 20 keys that nobody put, are answered with.
answers() {
  while IFS= read -r key; do
    [[ $("$firn" freezer get "$frozen" --key "$key" | sha256sum) == "$key  -" ]] ||
      die "the value of $key is not what was put"
    echo "$key"
  done < <(awk -v every="$(($(wc -l <"$work/frozen.keys") / 50 + 1))" 'NR % every == 1' \
    "$work/frozen.keys")
  for ((i = 0; i < 20; ++i)); do
    key=$(echo "nobody put $i" | sha256sum | cut -d ' ' -f 1)
    ! "$firn" freezer contains "$frozen" --key "$key" >/dev/null 2>&1 || die "$key is there"
    echo "$key is absent"
  done
}
answers >"$work/answers"
echo "$(grep -vc absent "$work/answers") keys give what was put," \
  "$(grep -c absent "$work/answers") keys that nobody put are absent"
rm "$frozen"/table/*
run "$firn" freezer rebuild "$frozen"
answers >"$work/answers.rebuilt"
cmp "$work/answers" "$work/answers.rebuilt" || die "the rebuilt table answers differently"
run "$firn" verify "$frozen" --deep

[[ -z ${STORE:-} ]] || printf '\nThe store is in %s\n' "$store"
printf '\nThe demo is done (%d s).\n' "$SECONDS"
