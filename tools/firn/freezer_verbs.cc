// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/freezer_verbs.h"

#include <algorithm>
#include <array>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "firn/base/text.h"
#include "firn/codec/varint.h"
#include "tools/firn/file_walk.h"
#include "tools/firn/freezer_access.h"
#include "tools/firn/item.h"
#include "tools/firn/progress.h"
#include "tools/firn/sha256.h"
#include "tools/firn/store_kind.h"

namespace firn::command {
namespace {

using nlohmann::ordered_json;

// A value has at most 2^32 - 5 bytes; its length takes 5 of them.
constexpr uint64_t kContentMaxBytes = UINT32_MAX - 4 - kMaxVarintSize<uint32_t>;

// Puts what is not there yet: content, whatever its name. Files of equal content have one key, and
// only one of them could be the newest.
class FreezerSink final : public ItemSink {
 public:
  explicit FreezerSink(Freezer& freezer) : freezer_(freezer) {}

  Status put(ByteSpan key, std::span<const ByteSpan> value) override {
    ++items_;
    TRY_INTO(const std::optional<Value> stored, freezer_.get(key));
    if (stored && equal_bytes(decode_item(stored->bytes()).content, value.back())) {
      ++known_;
      return {};
    }
    TRY(freezer_.put(key, value));
    return {};
  }
  Status sync() override {
    TRY(freezer_.sync());
    return {};
  }
  Status close() override {
    TRY(freezer_.close());
    return {};
  }
  [[nodiscard]] uint64_t acknowledgement() const override { return items_; }
  [[nodiscard]] uint64_t known() const { return known_; }

 private:
  Freezer& freezer_;
  uint64_t items_ = 0;
  uint64_t known_ = 0;
};

Result<Bytes> parse_key(const std::string& hex, const Freezer& freezer) {
  auto key = from_hex(hex);
  if (!key || key->empty()) {
    return fail(Errc::invalid_argument, concat("--key '", hex,
                                               "' is not hexadecimal: two digits a byte, nothing "
                                               "else"));
  }
  if (key->size() != freezer.key_size_bytes()) {
    return fail(Errc::invalid_argument,
                concat("--key has ", key->size(), " bytes; the keys of this store have ",
                       freezer.key_size_bytes()));
  }
  return std::move(*key);
}

Status absent(ByteSpan key) {
  return fail(Errc::not_found, concat("no item has the key ", to_hex(key)));
}

}  // namespace

Status run_freezer_import(const FreezerImportRequest& request, Output& output) {
  TRY(check_sources(request.sources, request.store.key_size_bytes));
  TRY_INTO(const FoundFiles found, find_sources(request.sources, request.store.path));
  TRY_INTO(const OpenedFreezer opened, open_freezer(request.store, Access::create));
  TRY(check_sources(request.sources, opened.freezer->key_size_bytes()));
  FreezerSink sink(*opened.freezer);
  TRY_INTO(const Imported imported, import_items(request.sources, found, sink, output));
  return summarize_import(
      imported, {{"known", sink.known()}},
      sink.known() > 0 ? fmt::format("; {} were there already", sink.known()) : std::string(),
      output);
}

Status run_freezer_put(const FreezerPutRequest& request, Output& output) {
  // Before a store is made.
  const uint32_t new_key_size = request.store.key_size_bytes.value_or(sizeof(Sha256));
  const bool is_a_size = new_key_size > 0 && new_key_size <= freezer::kKeySizeMaxBytes;
  if (request.key_hex.empty() && is_a_size && new_key_size != sizeof(Sha256))
    return fail(Errc::invalid_argument,
                concat("keys of ", new_key_size, " bytes are not made of the content: give --key"));
  TRY_INTO(const Bytes content, request.value ? Result<Bytes>(to_bytes(as_bytes(*request.value)))
                                              : read_input(request.file, kContentMaxBytes));
  TRY_INTO(const OpenedFreezer opened, open_freezer(request.store, Access::create));
  Freezer& freezer = *opened.freezer;
  Bytes key = to_bytes(sha256(content));
  if (!request.key_hex.empty()) {
    TRY_INTO(key, parse_key(request.key_hex, freezer));
  } else if (freezer.key_size_bytes() != key.size()) {
    return fail(Errc::invalid_argument, concat("the keys of this store have ",
                                               freezer.key_size_bytes(), " bytes: give --key"));
  }
  std::array<std::byte, kMaxVarintSize<uint64_t>> length;
  const size_t length_size = store_varint(length, content.size());
  const std::array<ByteSpan, 2> value = {ByteSpan(length).first(length_size), content};
  TRY(freezer.put(key, value));
  TRY(freezer.close());
  return output.result({{"key", to_hex(key)}, {"size", content.size()}}, to_hex(key) + "\n", {});
}

Status run_freezer_get(const FreezerGetRequest& request, Output& output) {
  TRY_INTO(const OpenedFreezer opened, open_freezer(request.store, Access::read));
  TRY_INTO(const Bytes key, parse_key(request.key_hex, *opened.freezer));
  TRY_INTO(const std::optional<Value> value, opened.freezer->get(key));
  if (!value) return absent(key);
  const Item item = decode_item(value->bytes());
  const ByteSpan shown = request.raw ? item.whole : item.content;
  if (!output.json()) {
    TRY(output.write(shown));
    return output.flush();
  }
  ordered_json object = {{"key", to_hex(key)}, {"size", item.content.size()}};
  if (item.file) {
    describe_file(*item.file, object);
    object["mode"] = item.file->mode;
    object["mtime"] = time_text(item.file->mtime);
  }
  describe_content(shown, object);
  return output.result(std::move(object), {}, {});
}

Status run_freezer_contains(const FreezerContainsRequest& request, Output& output) {
  TRY_INTO(const OpenedFreezer opened, open_freezer(request.store, Access::read));
  TRY_INTO(const Bytes key, parse_key(request.key_hex, *opened.freezer));
  TRY_INTO(const Freezer::Presence presence, opened.freezer->contains(key));
  const bool is_present = presence == Freezer::Presence::present;
  return output.result({{"key", to_hex(key)}, {"present", is_present}},
                       is_present ? "present\n" : "", is_present ? Status() : absent(key));
}

Status run_freezer_list(const FreezerListRequest& request, Output& output) {
  TRY_INTO(const OpenedFreezer opened, open_freezer(request.store, Access::read));
  const Freezer& freezer = *opened.freezer;
  uint64_t left = request.limit.value_or(UINT64_MAX);
  uint64_t unreadable = 0;
  Progress progress("listing", std::min(left, freezer.statistics().items), "items");
  progress.leave_room_for_output();
  const auto show = [&](const FreezerItem& found) -> Status {
    auto value = freezer.read_value(found);
    if (!value && value.error().code != Errc::corrupt) return pass_on(value);
    if (!value) {
      ++unreadable;
      progress.finish();
      warn("list", value.error().message);
    }
    const Item item = decode_item(value ? value->bytes() : ByteSpan());
    if (!output.json()) {
      return output.line(fmt::format("{}\t{}", to_hex(found.key),
                                     value ? fmt::format("{}", item.content.size()) : "?"));
    }
    ordered_json object = {{"key", to_hex(found.key)}, {"size", nullptr}};
    if (value) object["size"] = item.content.size();
    if (item.file) describe_file(*item.file, object);
    return output.object(object);
  };
  Status written;
  Status visited = freezer.visit([&](const FreezerItem& found) {
    if (left == 0) return false;
    --left;
    written = show(found);
    progress.add(1);
    return written.has_value() && left > 0;
  });
  progress.finish();
  TRY(std::move(written));
  TRY(output.flush());
  if (!visited) return visited;
  if (unreadable == 0) return {};
  return fail(Errc::corrupt,
              concat(unreadable, " of the listed items cannot be read; run 'firn verify --deep ",
                     request.store.path,
                     "', and put what can be read into a new store with 'firn salvage SRC DST'"));
}

Status run_freezer_stat(const FreezerStatRequest& request, Output& output) {
  TRY_INTO(const StoreSurvey survey, survey_freezer_store(request.store));
  return output.result(survey.facts, survey.text, {});
}

Status run_freezer_rebuild(const FreezerRebuildRequest& request, Output& output) {
  TRY_INTO(const OpenedFreezer opened, open_freezer(request.store, Access::write, true));
  const uint64_t items = opened.freezer->item_count();
  const uint32_t table_size = opened.freezer->statistics().table_size;
  TRY(opened.freezer->close());
  return output.result(
      {{"items", items}, {"table_size", table_size}},
      fmt::format("rebuilt the table of {} positions from {} items\n", table_size, items), {});
}

}  // namespace firn::command
