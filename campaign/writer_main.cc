// SPDX-License-Identifier: Apache-2.0
//
// firn_writer: what `firn archive import STORE - --lines --ack` and that of a freezer do, through
// the library, with buffers, budgets and bounds that the command has no flags for.
//
//   firn_writer archive|freezer STORE [--FLAG N]... <LINES
//
// Prints "doubling" when the table of a freezer on disk begins to double, and "doubled" at the end.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iostream>
#include <map>
#include <string>

#include "firn/archive/prunable_archive.h"
#include "firn/base/text.h"
#include "firn/codec/varint.h"
#include "firn/freezer/freezer.h"
#include "firn/io/posix_storage.h"
#include "tools/firn/sha256.h"

namespace firn::campaign {
namespace {

using Flags = std::map<std::string, uint64_t>;

template <class T>
void take(const Flags& flags, const std::string& name, T& target) {
  if (const auto found = flags.find(name); found != flags.end())
    target = static_cast<typename std::remove_cvref_t<decltype(target)>>(found->second);
}

template <class T>
void take(const Flags& flags, const std::string& name, std::optional<T>& target) {
  if (const auto found = flags.find(name); found != flags.end())
    target = static_cast<T>(found->second);
}

template <class Options>
void take_common(const Flags& flags, Options& options) {
  take(flags, "--page-size", options.page_size_bytes);
  take(flags, "--compression", options.compression_level);
  take(flags, "--write-buffer", options.write_buffer_bytes);
  take(flags, "--page-cache", options.page_cache_bytes);
  take(flags, "--open-sections", options.open_sections_max);
}

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

// Keys and values are those of the command's import.
class ArchiveWriter {
 public:
  Status open(Storage& storage, const Flags& flags) {
    PrunableArchiveOptions options;
    take_common(flags, options);
    take(flags, "--items-per-section", options.items_per_section);
    TRY_INTO(archive_, PrunableArchive::open(storage, options));
    const auto last = archive_->last_index();
    next_ = last ? *last + 1 : archive_->oldest_allowed();
    return {};
  }
  Status put(ByteSpan key, std::span<const ByteSpan> value) {
    TRY(archive_->put(next_, key, value));
    ++next_;
    return {};
  }
  Status sync() { return archive_->sync(); }
  Status close() { return archive_->close(); }
  [[nodiscard]] uint64_t acknowledgement() const { return next_ - 1; }

 private:
  std::unique_ptr<PrunableArchive> archive_;
  uint64_t next_ = 0;
};

class FreezerWriter {
 public:
  Status open(Storage& storage, const Flags& flags) {
    FreezerOptions options;
    take_common(flags, options);
    take(flags, "--table-size", options.table.initial_size);
    take(flags, "--resize-chunk", options.table.resize_chunk);
    take(flags, "--memory-budget", options.memory_budget_bytes);
    take(flags, "--section-target", options.section_target_bytes);
    TRY_INTO(freezer_, Freezer::open(storage, options));
    tell_of_doubling();
    return {};
  }
  // Content that is there is not put again.
  Status put(ByteSpan key, std::span<const ByteSpan> value) {
    ++lines_;
    TRY_INTO(const auto held, freezer_->get(key));
    Bytes whole;
    for (const ByteSpan part : value)
      whole.insert(whole.end(), part.begin(), part.end());
    if (held && equal_bytes(held->bytes(), whole)) return {};
    TRY(freezer_->put(key, value));
    tell_of_doubling();
    return {};
  }
  Status sync() {
    TRY(freezer_->sync());
    tell_of_doubling();
    return {};
  }
  Status close() {
    TRY(freezer_->close());
    return {};
  }
  [[nodiscard]] uint64_t acknowledgement() const { return lines_; }

 private:
  void tell_of_doubling() {
    const FreezerStatistics now = freezer_->statistics();
    const bool doubles = !now.resident && now.resizing;
    if (doubles != doubles_) say(doubles ? "doubling" : "doubled");
    doubles_ = doubles;
  }

  std::unique_ptr<Freezer> freezer_;
  uint64_t lines_ = 0;
  bool doubles_ = false;
};

template <class Writer>
Status write_lines(const std::string& path, const Flags& flags) {
  uint64_t sync_every = UINT64_MAX;
  take(flags, "--sync-every", sync_every);
  TRY_INTO(const auto storage, open_posix_storage(path, {.create = true}));
  Writer writer;
  TRY(writer.open(*storage, flags));
  uint64_t unsynced = 0;
  const auto sync = [&]() -> Status {
    if (unsynced == 0) return {};
    TRY(writer.sync());
    unsynced = 0;
    say(concat("synced ", writer.acknowledgement()));
    return {};
  };
  for (std::string line; std::getline(std::cin, line);) {
    std::array<std::byte, kMaxVarintSize<uint64_t>> length;
    const size_t length_size = store_varint(length, line.size());
    const std::array<ByteSpan, 2> value = {ByteSpan(length).first(length_size), as_bytes(line)};
    TRY(writer.put(command::sha256(as_bytes(line)), value));
    if (++unsynced >= sync_every) TRY(sync());
  }
  TRY(sync());
  return writer.close();
}

int run(int argc, char** argv) {
  const std::string kind = argc > 2 ? argv[1] : "";
  Flags flags;
  for (int i = 3; i + 1 < argc; i += 2) {
    const std::string_view number = argv[i + 1];
    std::from_chars(number.data(), number.data() + number.size(), flags[argv[i]]);
  }
  if (kind != "archive" && kind != "freezer") {
    std::fprintf(stderr, "usage: firn_writer archive|freezer STORE [--FLAG N]... <LINES\n");
    return 2;
  }
  const Status done = kind == "archive" ? write_lines<ArchiveWriter>(argv[2], flags)
                                        : write_lines<FreezerWriter>(argv[2], flags);
  if (done) return 0;
  std::fprintf(stderr, "firn_writer: %s\n", done.error().message.c_str());
  return 1;
}

}  // namespace
}  // namespace firn::campaign

int main(int argc, char** argv) {
  return firn::campaign::run(argc, argv);
}
