// SPDX-License-Identifier: Apache-2.0
//
// firn archive import: files or lines become items, numbered from the store's last index on.
#include <algorithm>
#include <array>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "firn/base/text.h"
#include "firn/base/units.h"
#include "firn/codec/varint.h"
#include "tools/firn/file_walk.h"
#include "tools/firn/human.h"
#include "tools/firn/item.h"
#include "tools/firn/line_reader.h"
#include "tools/firn/progress.h"
#include "tools/firn/sha256.h"
#include "tools/firn/verbs.h"

namespace firn::command {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kVerb = "import";
// Unless told otherwise: at most so much is lost by a crash, and a flush costs next to nothing.
constexpr uint64_t kSyncEveryItems = 10'000;
constexpr uint64_t kSyncEveryBytes = 256 << 20;
// A value has at most 2^32 - 5 bytes; its length takes 5 of them.
constexpr uint64_t kWholeMaxBytes = UINT32_MAX - 4 - kMaxVarintSize<uint32_t>;

// Puts items under consecutive indices, syncs now and then, and acknowledges.
class Importer {
 public:
  Importer(PrunableArchive& archive, const ImportRequest& request, Output& output)
      : archive_(archive), request_(request), output_(output) {
    const auto last = archive.last_index();
    next_index_ = last ? *last + 1 : archive.oldest_allowed();
    is_full_ = last == UINT64_MAX;
    first_index_ = next_index_;
  }

  // Requires: head and content have at most kWholeMaxBytes together.
  Status add(ByteSpan head, ByteSpan content) {
    if (is_full_) {
      return fail(Errc::invalid_argument,
                  "the store's last index is 2^64 - 1: there is no number for another item");
    }
    std::array<std::byte, kMaxVarintSize<uint64_t>> length;
    const size_t length_size = store_varint(length, head.size() + content.size());
    const std::array<ByteSpan, 3> value = {ByteSpan(length).first(length_size), head, content};
    TRY(archive_.put(next_index_, sha256(content), value));
    is_full_ = next_index_ == UINT64_MAX;
    ++next_index_;
    ++items_;
    bytes_ += content.size();
    ++unsynced_items_;
    unsynced_bytes_ += head.size() + content.size();
    const bool due = request_.sync_every
                         ? unsynced_items_ >= *request_.sync_every
                         : unsynced_items_ >= kSyncEveryItems || unsynced_bytes_ >= kSyncEveryBytes;
    return due ? sync() : Status();
  }

  // Everything is durable and acknowledged, and the store is closed, on return.
  Status finish() {
    if (unsynced_items_ > 0) TRY(sync());
    return archive_.close();
  }

  [[nodiscard]] uint64_t items() const { return items_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  [[nodiscard]] uint64_t first_index() const { return first_index_; }
  [[nodiscard]] uint64_t last_index() const { return next_index_ - 1; }

 private:
  Status sync() {
    TRY(archive_.sync());
    unsynced_items_ = 0;
    unsynced_bytes_ = 0;
    if (!request_.acknowledge) return {};
    if (output_.json())
      TRY(output_.object({{"synced", last_index()}}));
    else
      TRY(output_.line(concat("synced ", last_index())));
    return output_.flush();
  }

  PrunableArchive& archive_;
  const ImportRequest& request_;
  Output& output_;
  uint64_t first_index_ = 0;
  uint64_t next_index_ = 0;
  bool is_full_ = false;
  uint64_t items_ = 0;
  uint64_t bytes_ = 0;
  uint64_t unsynced_items_ = 0;
  uint64_t unsynced_bytes_ = 0;
};

// What could not be read: told at once, counted for the end.
class Failures {
 public:
  void add(std::string_view text, Progress& progress) {
    progress.finish();
    warn(kVerb, concat(text, "; left out"));
    ++count_;
  }
  [[nodiscard]] uint64_t count() const { return count_; }

 private:
  uint64_t count_ = 0;
};

Status import_files(const FoundFiles& found, Importer& importer, Progress& progress,
                    Failures& failures) {
  Bytes content;
  for (const FoundFile& file : found.files) {
    FileInfo info;
    info.path = portable_path(file.path);
    struct stat status;
    // Room for the JSON line: of a path, each byte takes at most eight.
    const auto read = read_file(file.path, kWholeMaxBytes - 64 * kKiB, content, status);
    if (!read) {
      failures.add(read.error().message, progress);
      continue;
    }
    info.mode = status.st_mode & 07777;
    info.mtime = status.st_mtim;
    info.size_bytes = content.size();
    TRY(importer.add(as_bytes(encode_file_line(info)), content));
    progress.add(content.size());
  }
  return {};
}

Status import_lines(LineReader reader, Importer& importer, Progress& progress, Failures& failures) {
  while (true) {
    const auto next = reader.next();
    if (!next) {
      failures.add(next.error().message, progress);
      return {};
    }
    const auto& line = *next;
    if (!line) return {};
    if (line->size() > kWholeMaxBytes) {
      return fail(Errc::invalid_argument,
                  concat("a line has ", line->size(), " bytes, but an item has at most ",
                         kWholeMaxBytes, "; the lines before it are not lost"));
    }
    TRY(importer.add({}, *line));
    progress.add(line->size() + 1);
  }
}

Status import_all_lines(const FoundFiles& found, bool from_standard_input, Importer& importer,
                        Progress& progress, Failures& failures) {
  for (const FoundFile& file : found.files) {
    auto reader = LineReader::open(file.path);
    if (!reader) {
      failures.add(reader.error().message, progress);
      continue;
    }
    TRY(import_lines(std::move(*reader), importer, progress, failures));
  }
  if (!from_standard_input) return {};
  TRY_INTO(LineReader reader, LineReader::open("-"));
  return import_lines(std::move(reader), importer, progress, failures);
}

Status check_request(const ImportRequest& request) {
  if (request.store.key_size_bytes.value_or(sizeof(Sha256)) != sizeof(Sha256)) {
    return fail(Errc::invalid_argument,
                concat("--key-size ", *request.store.key_size_bytes,
                       ": import makes keys of 32 bytes, the SHA-256 of the content"));
  }
  if (request.sync_every == uint64_t{0})
    return fail(Errc::invalid_argument, "--sync-every 0: the least is 1, a sync after each item");
  const auto standard_inputs = std::ranges::count(request.paths, "-");
  if (standard_inputs > 0 && !request.lines)
    return fail(Errc::invalid_argument, "'-', standard input, needs --lines");
  if (standard_inputs > 0 && request.paths.size() > 1)
    return fail(Errc::invalid_argument, "'-', standard input, must be the only PATH");
  return {};
}

Status summarize(const Importer& importer, double seconds, uint64_t failed, Output& output,
                 Status outcome) {
  const auto bytes = static_cast<double>(importer.bytes());
  const double per_second = 1 / std::max(seconds, 1e-9);
  const double item_rate = static_cast<double>(importer.items()) * per_second;
  if (output.json()) {
    ordered_json object = {{"items", importer.items()},
                           {"bytes", importer.bytes()},
                           {"seconds", seconds},
                           {"items_per_second", item_rate},
                           {"bytes_per_second", bytes * per_second},
                           {"failed", failed}};
    if (importer.items() > 0) {
      object["first_index"] = importer.first_index();
      object["last_index"] = importer.last_index();
    }
    return output.result(std::move(object), {}, std::move(outcome));
  }
  std::string line =
      fmt::format("imported {}, {}, in {} ({}/s, {:.0f} items/s)",
                  human_count(importer.items(), "item", "items"), human_bytes(bytes),
                  human_seconds(seconds), human_bytes(bytes * per_second), item_rate);
  if (importer.items() > 0)
    line += fmt::format("; indices {} to {}", importer.first_index(), importer.last_index());
  fmt::print(stderr, "{}\n", line);
  return outcome;
}

}  // namespace

Status run_import(const ImportRequest& request, Output& output) {
  TRY(check_request(request));
  const bool from_standard_input = request.lines && request.paths.front() == "-";
  FoundFiles found;
  if (!from_standard_input) {
    TRY_INTO(found, find_files(request.paths, request.store.path, request.lines));
  }
  TRY_INTO(const OpenedArchive opened, open_archive(request.store, Access::create));
  PrunableArchive& archive = *opened.archive;
  if (archive.key_size_bytes() != sizeof(Sha256)) {
    return fail(Errc::invalid_argument,
                concat("the keys of '", request.store.path, "' have ", archive.key_size_bytes(),
                       " bytes, but import makes keys of 32 bytes"));
  }
  for (const CutRange& cut : archive.recovery().cuts) {
    warn(kVerb, concat("recovered from a crash: cut ", cut.range.size_bytes, " bytes of ",
                       cut.range.partition, "/", cut.range.blob, " at offset ", cut.range.offset,
                       ": ", cut.range.reason));
  }

  Progress progress("importing", found.total_bytes);
  Failures failures;
  for (const std::string& failure : found.failures)
    failures.add(failure, progress);
  Importer importer(archive, request, output);
  const Status imported =
      request.lines ? import_all_lines(found, from_standard_input, importer, progress, failures)
                    : import_files(found, importer, progress, failures);
  // What was put before a failure is kept.
  const Status finished = importer.finish();
  if (!imported) return imported;
  if (!finished) return finished;
  const double seconds = progress.seconds();
  progress.finish();
  Status outcome;
  if (failures.count() > 0) {
    outcome = fail(Errc::io, concat(failures.count(),
                                    " of the files and directories could not be "
                                    "read and were left out; all others are stored"));
  }
  return summarize(importer, seconds, failures.count(), output, std::move(outcome));
}

}  // namespace firn::command
