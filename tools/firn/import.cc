// SPDX-License-Identifier: Apache-2.0
//
// firn archive import: files or lines become items, numbered from the store's last index on.
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "firn/base/text.h"
#include "tools/firn/file_walk.h"
#include "tools/firn/item_import.h"
#include "tools/firn/verbs.h"

namespace firn::command {
namespace {

// Puts items under consecutive indices.
class ArchiveSink final : public ItemSink {
 public:
  explicit ArchiveSink(PrunableArchive& archive) : archive_(archive) {
    const auto last = archive.last_index();
    next_index_ = last ? *last + 1 : archive.oldest_allowed();
    is_full_ = last == UINT64_MAX;
    first_index_ = next_index_;
  }

  Status put(ByteSpan key, std::span<const ByteSpan> value) override {
    if (is_full_) {
      return fail(Errc::invalid_argument,
                  "the store's last index is 2^64 - 1: there is no number for another item");
    }
    TRY(archive_.put(next_index_, key, value));
    is_full_ = next_index_ == UINT64_MAX;
    ++next_index_;
    return {};
  }
  Status sync() override { return archive_.sync(); }
  Status close() override { return archive_.close(); }
  [[nodiscard]] uint64_t acknowledgement() const override { return last_index(); }

  [[nodiscard]] uint64_t first_index() const { return first_index_; }
  [[nodiscard]] uint64_t last_index() const { return next_index_ - 1; }

 private:
  PrunableArchive& archive_;
  uint64_t first_index_ = 0;
  uint64_t next_index_ = 0;
  bool is_full_ = false;
};

// Items go after the last one, which may hide in a damaged section.
Status check_next_index(const PrunableArchive& archive) {
  const auto damaged = archive.damaged_sections();
  if (damaged.empty() || damaged.back().value / archive.items_per_section() <
                             archive.last_index().value_or(0) / archive.items_per_section())
    return {};
  return fail(Errc::corrupt,
              concat("section ", damaged.back(),
                     ", the last one, is damaged: which index comes next cannot be told. "
                     "'firn verify' tells which file to restore"));
}

}  // namespace

Status run_import(const ImportRequest& request, Output& output) {
  TRY(check_sources(request.sources, request.store.key_size_bytes));
  TRY_INTO(const FoundFiles found, find_sources(request.sources, request.store.path));
  TRY_INTO(const OpenedArchive opened, open_archive(request.store, Access::create));
  PrunableArchive& archive = *opened.archive;
  TRY(check_sources(request.sources, archive.key_size_bytes()));
  TRY(check_next_index(archive));
  ArchiveSink sink(archive);
  TRY_INTO(const Imported imported, import_items(request.sources, found, sink, output));
  auto object = nlohmann::ordered_json::object();
  std::string text;
  if (imported.items > 0) {
    object = {{"first_index", sink.first_index()}, {"last_index", sink.last_index()}};
    text = fmt::format("; indices {} to {}", sink.first_index(), sink.last_index());
  }
  return summarize_import(imported, object, text, output);
}

}  // namespace firn::command
