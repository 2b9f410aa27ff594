// SPDX-License-Identifier: Apache-2.0
//
// Sequences of calls of a freezer, each answer compared at once with the list of its puts. Keys and
// sizes come from small sets, so that they collide and meet boundaries; each open may have another
// memory budget, table on disk, and other buffers and caches. A store that was dropped, or whose
// device lost what no sync covered, has a prefix of the puts.
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <ranges>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/random.h"
#include "firn/freezer/freezer.h"
#include "testkit/fuzz_input.h"
#include "testkit/fuzzed_storage.h"

namespace {

using namespace firn;

constexpr uint64_t kCallsMax = 300;
constexpr uint64_t kKeys = 24;

struct Item {
  Bytes key;
  Bytes value;
  FreezerCursor cursor = {};
};

struct Committed {
  FreezerCheckpoint checkpoint;
  size_t count = 0;  // of items
};

class Calls {
 public:
  explicit Calls(testkit::FuzzInput& input) : input_(input) {
    options_.key_size_bytes = static_cast<uint32_t>(1 + input_.below(20));
    options_.page_size_bytes = static_cast<uint32_t>(1 + input_.below(128));
    options_.table.initial_size = uint32_t{1} << input_.below(5);
    options_.table.resize_frequency = static_cast<uint32_t>(1 + input_.below(3));
    options_.table.resize_chunk = static_cast<uint32_t>(1 + input_.below(5));
    if (input_.below(3) == 0) options_.compression_level = 1;
    open(std::nullopt);
  }

  void run() {
    for (uint64_t i = 0; i < kCallsMax && !input_.empty(); ++i)
      call();
    compare_all();
    close();
  }

 private:
  void call() {
    switch (input_.below(22)) {
      case 0: return sync();
      case 1: close(); return open(std::nullopt);
      case 2: return lose(false);
      case 3: return lose(true);
      case 4: return verify();
      case 5: return compare_all();
      case 6: return refuse();
      case 7: return rebuild();
      case 8: return go_back();
      case 9: return destroy();
      case 10: return put_many();
      case 11: return compare_many();
      case 12:
      case 13:
      case 14: return compare(key());
      default: return put();
    }
  }

  // All of them have the same first byte, some the same last one.
  Bytes key() { return key(input_.below(kKeys)); }
  [[nodiscard]] Bytes key(uint64_t number) const {
    Bytes key(*options_.key_size_bytes);
    key.back() = static_cast<std::byte>(number);
    key[key.size() / 2] ^= static_cast<std::byte>(number / 4 * 16);
    return key;
  }
  Bytes value() {
    const auto near =
        std::to_array<uint64_t>({0, *options_.page_size_bytes, options_.write_buffer_bytes,
                                 options_.section_target_bytes, 64, 256, 4096});
    const uint64_t size = near[input_.below(near.size())] + input_.below(5);
    return Random(input_.number(1)).bytes(size < 2 ? 0 : size - 2);
  }

  void open(const std::optional<FreezerCheckpoint>& checkpoint) {
    options_.checkpoint = checkpoint;
    options_.table.writing =
        input_.below(3) == 0 ? TableWriting::immediate : TableWriting::deferred;
    // Of the third, a few puts are too much: the store leaves its memory.
    options_.memory_budget_bytes =
        std::to_array<size_t>({0, 1 << 20, (64 << 10) + 64 * input_.number(1)})[input_.below(3)];
    options_.section_target_bytes = std::to_array<uint64_t>({0, 1, 100, 5000})[input_.below(4)];
    options_.write_buffer_bytes = std::to_array<size_t>({0, 1, 100, 5000})[input_.below(4)];
    options_.page_cache_bytes = std::to_array<size_t>({0, 500, 1 << 16})[input_.below(3)];
    options_.open_sections_max = 1 + input_.below(4);
    options_.access =
        has_store_ && input_.below(8) == 0 ? FreezerAccess::rebuild : FreezerAccess::create;
    auto opened = Freezer::open(storage_, options_);
    CHECK(opened.has_value(), "a store that nobody damaged opens");
    freezer_ = std::move(*opened);
    has_store_ = true;
    CHECK(freezer_->recovery().damage.empty(), "nothing is damaged");
  }

  void close() {
    acknowledge(freezer_->close());
    freezer_.reset();
  }

  void sync() { acknowledge(freezer_->sync()); }

  void acknowledge(const Result<FreezerCheckpoint>& checkpoint) {
    CHECK(checkpoint.has_value(), "memory does not fail");
    synced_ = items_.size();
    committed_.push_back({*checkpoint, synced_});
  }

  // The process is killed, or the device loses what it may, too.
  void lose(bool unsynced) {
    freezer_.reset();
    if (unsynced) storage_.lose_unsynced();
    open(std::nullopt);
    const uint64_t count = freezer_->item_count();
    CHECK(count >= synced_, "what was synced is there");
    CHECK(count <= items_.size(), "nothing is there that was not put");
    items_.resize(count);
    synced_ = count;  // recovery makes durable what it serves
    compare_all();
  }

  void go_back() {
    close();
    const size_t to = input_.below(committed_.size());
    open(committed_[to].checkpoint);
    items_.resize(committed_[to].count);
    synced_ = items_.size();
    committed_.resize(to + 1);
    compare_all();
  }

  void destroy() {
    if (input_.below(8) != 0) return;
    CHECK(freezer_->destroy().has_value(), "memory does not fail");
    freezer_.reset();
    items_.clear();
    committed_.clear();
    synced_ = 0;
    has_store_ = false;
    open(std::nullopt);
  }

  void verify() const {
    RecoveryLog findings(storage_, true);
    CHECK(freezer_->verify(FreezerDepth::values, findings, [](uint64_t) {}).has_value(),
          "verify reports, it does not fail");
    CHECK(findings.report().damage.empty(), "nothing is damaged");
    CHECK(freezer_->chains().has_value(), "chains are walked");
  }

  void rebuild() const { CHECK(freezer_->rebuild_table().has_value(), "memory does not fail"); }

  void put() {
    Item item{.key = key(), .value = value()};
    const auto cursor = freezer_->put(item.key, item.value);
    CHECK(cursor.has_value(), "memory has room");
    item.cursor = *cursor;
    items_.push_back(std::move(item));
  }

  void put_many() {
    std::vector<Item> items(input_.below(6));
    std::vector<FreezerPut> puts;
    for (Item& item : items) {
      item.key = key();
      item.value = value();
      puts.push_back({item.key, item.value});
    }
    const auto cursors = freezer_->put_many(puts);
    CHECK(cursors && cursors->size() == items.size(), "memory has room");
    for (size_t i = 0; i < items.size(); ++i) {
      items[i].cursor = (*cursors)[i];
      items_.push_back(std::move(items[i]));
    }
  }

  // Arguments that cannot be right change nothing.
  void refuse() {
    Bytes wrong = key();
    wrong.resize(input_.below(2) == 0 ? wrong.size() + 1 : wrong.size() - 1);
    const auto put = freezer_->put(wrong, Bytes(3));
    CHECK(!put && put.error().code == Errc::invalid_argument, "keys have one size");
    const auto read = freezer_->get(ByteSpan(wrong));
    CHECK(!read && read.error().code == Errc::invalid_argument, "keys have one size");
  }

  [[nodiscard]] const Item* newest(const Bytes& key) const {
    const auto backwards = std::views::reverse(items_);
    const auto found = std::ranges::find(backwards, key, &Item::key);
    return found == backwards.end() ? nullptr : &*found;
  }

  static bool is_value(const Result<std::optional<Value>>& read, const Item* expected) {
    if (!read || read->has_value() != (expected != nullptr)) return false;
    return expected == nullptr || equal_bytes((*read)->bytes(), expected->value);
  }

  void compare(const Bytes& key) const {
    const Item* const expected = newest(key);
    CHECK(is_value(freezer_->get(ByteSpan(key)), expected), "a key has its newest value");
    const auto presence = freezer_->contains(key);
    CHECK(presence && (*presence == Freezer::Presence::present) == (expected != nullptr),
          "contains says what get does");
    const auto found = freezer_->find(key);
    CHECK(found && found->has_value() == (expected != nullptr), "find says what get does");
    CHECK(!*found || (*found)->cursor() == expected->cursor, "find names the newest put");
  }

  void compare_many() {
    std::vector<Bytes> keys(input_.below(8));
    std::ranges::generate(keys, [this] { return key(); });
    const auto read = freezer_->get_many(std::vector<ByteSpan>(keys.begin(), keys.end()));
    CHECK(read.size() == keys.size(), "each question has an answer");
    for (size_t i = 0; i < keys.size(); ++i)
      CHECK(is_value(read[i], newest(keys[i])), "a key has its newest value");
  }

  void compare_all() const {
    size_t count = 0;
    const Status visited = freezer_->visit([&](const FreezerItem& item) {
      CHECK(count < items_.size() && item.key == items_[count].key &&
                item.cursor() == items_[count].cursor,
            "puts are visited in order");
      const auto value = freezer_->get(item.cursor());
      CHECK(value && equal_bytes(value->bytes(), items_[count].value), "with their values");
      ++count;
      return true;
    });
    CHECK(visited && count == items_.size(), "every put is visited");
    CHECK(freezer_->item_count() == count, "puts are counted");
    for (uint64_t number = 0; number < kKeys; ++number)
      compare(key(number));
  }

  testkit::FuzzInput& input_;
  mutable testkit::FuzzedStorage storage_;
  FreezerOptions options_;
  std::unique_ptr<Freezer> freezer_;
  std::vector<Item> items_;  // in the order of their puts
  size_t synced_ = 0;        // of them
  std::vector<Committed> committed_;
  bool has_store_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  Calls(input).run();
  return 0;
}
