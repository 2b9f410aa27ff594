// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/item_import.h"

#include <algorithm>
#include <array>
#include <utility>

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

namespace firn::command {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kImportVerb = "import";
// Unless told otherwise: at most so much is lost by a crash, and a flush costs next to nothing.
constexpr uint64_t kSyncEveryItems = 10'000;
constexpr uint64_t kSyncEveryBytes = 256 << 20;
// A value has at most 2^32 - 5 bytes; its length takes 5 of them.
constexpr uint64_t kWholeMaxBytes = UINT32_MAX - 4 - kMaxVarintSize<uint32_t>;

// Puts items, syncs now and then, and acknowledges.
class Importer {
 public:
  Importer(ItemSink& sink, const ImportSources& sources, Output& output)
      : sink_(sink), sources_(sources), output_(output) {}

  // Requires: head and content have at most kWholeMaxBytes together.
  Status add(ByteSpan head, ByteSpan content) {
    std::array<std::byte, kMaxVarintSize<uint64_t>> length;
    const size_t length_size = store_varint(length, head.size() + content.size());
    const std::array<ByteSpan, 3> value = {ByteSpan(length).first(length_size), head, content};
    TRY(sink_.put(sha256(content), value));
    ++items_;
    bytes_ += content.size();
    ++unsynced_items_;
    unsynced_bytes_ += head.size() + content.size();
    const bool due = sources_.sync_every
                         ? unsynced_items_ >= *sources_.sync_every
                         : unsynced_items_ >= kSyncEveryItems || unsynced_bytes_ >= kSyncEveryBytes;
    return due ? sync() : Status();
  }

  // Everything is durable and acknowledged, and the store is closed, on return.
  Status finish() {
    if (unsynced_items_ > 0) TRY(sync());
    return sink_.close();
  }

  [[nodiscard]] uint64_t items() const { return items_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  Status sync() {
    TRY(sink_.sync());
    unsynced_items_ = 0;
    unsynced_bytes_ = 0;
    if (!sources_.acknowledge) return {};
    if (output_.json())
      TRY(output_.object({{"synced", sink_.acknowledgement()}}));
    else
      TRY(output_.line(concat("synced ", sink_.acknowledgement())));
    return output_.flush();
  }

  ItemSink& sink_;
  const ImportSources& sources_;
  Output& output_;
  uint64_t items_ = 0;
  uint64_t bytes_ = 0;
  uint64_t unsynced_items_ = 0;
  uint64_t unsynced_bytes_ = 0;
};

// What could not be read, or is too large: told at once, counted for the end.
class Failures {
 public:
  void add(const Error& error, Progress& progress) {
    progress.finish();
    warn(kImportVerb, concat(error.message, "; left out"));
    ++count_;
    if (error.code == Errc::invalid_argument) ++too_large_;
  }
  [[nodiscard]] uint64_t count() const { return count_; }
  [[nodiscard]] uint64_t too_large() const { return too_large_; }

 private:
  uint64_t count_ = 0;
  uint64_t too_large_ = 0;
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
      failures.add(read.error(), progress);
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
      failures.add(next.error(), progress);
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
      failures.add(reader.error(), progress);
      continue;
    }
    TRY(import_lines(std::move(*reader), importer, progress, failures));
  }
  if (!from_standard_input) return {};
  TRY_INTO(LineReader reader, LineReader::open("-"));
  return import_lines(std::move(reader), importer, progress, failures);
}

bool reads_standard_input(const ImportSources& sources) {
  return sources.lines && sources.paths.front() == "-";
}

}  // namespace

Status check_sources(const ImportSources& sources, std::optional<uint32_t> key_size_bytes) {
  if (key_size_bytes.value_or(sizeof(Sha256)) != sizeof(Sha256)) {
    return fail(Errc::invalid_argument,
                concat("the keys have ", *key_size_bytes,
                       " bytes, but import makes keys of 32 bytes, the SHA-256 of the content"));
  }
  if (sources.sync_every == uint64_t{0})
    return fail(Errc::invalid_argument, "--sync-every 0: the least is 1, a sync after each item");
  const auto standard_inputs = std::ranges::count(sources.paths, "-");
  if (standard_inputs > 0 && !sources.lines)
    return fail(Errc::invalid_argument, "'-', standard input, needs --lines");
  if (standard_inputs > 0 && sources.paths.size() > 1)
    return fail(Errc::invalid_argument, "'-', standard input, must be the only PATH");
  return {};
}

Result<FoundFiles> find_sources(const ImportSources& sources, const std::string& store_path) {
  if (reads_standard_input(sources)) return FoundFiles();
  return find_files(sources.paths, store_path, sources.lines);
}

Result<Imported> import_items(const ImportSources& sources, const FoundFiles& found, ItemSink& sink,
                              Output& output) {
  Progress progress("importing", found.total_bytes);
  Failures failures;
  for (const std::string& failure : found.failures)
    failures.add({Errc::io, failure}, progress);
  Importer importer(sink, sources, output);
  const Status imported = sources.lines ? import_all_lines(found, reads_standard_input(sources),
                                                           importer, progress, failures)
                                        : import_files(found, importer, progress, failures);
  const Status finished = importer.finish();
  if (!imported) return std::unexpected(imported.error());
  if (!finished) return std::unexpected(finished.error());
  const double seconds = progress.seconds();
  progress.finish();
  return Imported{importer.items(),     importer.bytes(),    failures.count(),
                  failures.too_large(), found.special_count, seconds};
}

namespace {

Status outcome_of(const Imported& imported) {
  constexpr std::string_view kOthers = " and were left out; all others are stored";
  const std::string too_large =
      concat(counted(imported.too_large, "file"), imported.too_large == 1 ? " is" : " are",
             " larger than an item can be");
  if (imported.failed == 0) return {};
  if (imported.failed == imported.too_large)
    return fail(Errc::invalid_argument, concat(too_large, kOthers));
  return fail(Errc::io, concat(imported.failed - imported.too_large,
                               " of the files and directories could not be read",
                               imported.too_large > 0 ? concat(", ", too_large) : "", kOthers));
}

}  // namespace

Status summarize_import(const Imported& imported, const ordered_json& object,
                        const std::string& text, Output& output) {
  Status outcome = outcome_of(imported);
  const auto bytes = static_cast<double>(imported.bytes);
  const double per_second = 1 / std::max(imported.seconds, 1e-9);
  const double item_rate = static_cast<double>(imported.items) * per_second;
  if (output.json()) {
    ordered_json all = {{"items", imported.items},
                        {"bytes", imported.bytes},
                        {"seconds", imported.seconds},
                        {"items_per_second", item_rate},
                        {"bytes_per_second", bytes * per_second},
                        {"failed", imported.failed},
                        {"special_files", imported.special_files}};
    all.update(object);
    return output.result(std::move(all), {}, std::move(outcome));
  }
  if (imported.special_files > 0)
    warn(kImportVerb, concat("left out ", counted(imported.special_files, "special file"),
                             " (symbolic links, pipes, devices, sockets)"));
  fmt::print(stderr, "imported {}, {}, in {} ({}/s, {:.0f} items/s){}\n",
             human_count(imported.items, "item", "items"), human_bytes(bytes),
             human_seconds(imported.seconds), human_bytes(bytes * per_second), item_rate, text);
  return outcome;
}

}  // namespace firn::command
