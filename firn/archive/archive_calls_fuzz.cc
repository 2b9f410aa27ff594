// SPDX-License-Identifier: Apache-2.0
//
// Sequences of calls of an archive, each answer compared at once with the items of every section in
// the order of their puts. Numbers, keys and sizes come from small sets, so that they collide and
// meet boundaries; each open may have other buffers, caches and translators. A store that was
// dropped, or whose device lost what no sync covered, has a prefix of each section.
#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "firn/archive/prunable_archive.h"
#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/random.h"
#include "testkit/fuzz_input.h"
#include "testkit/fuzzed_storage.h"

namespace {

using namespace firn;

constexpr uint64_t kCallsMax = 300;
constexpr uint64_t kKeys = 8;

struct Item {
  uint64_t index = 0;
  Bytes key;
  Bytes value;
};

struct SectionItems {
  std::vector<Item> items;
  size_t synced = 0;
};

class Calls {
 public:
  explicit Calls(testkit::FuzzInput& input) : input_(input) {
    options_.key_size_bytes = static_cast<uint32_t>(1 + input_.below(20));
    options_.items_per_section = 1 + input_.below(9);
    options_.page_size_bytes = static_cast<uint32_t>(1 + input_.below(128));
    if (input_.below(3) == 0) options_.compression_level = 1;
    open();
  }

  void run() {
    for (uint64_t i = 0; i < kCallsMax && !input_.empty(); ++i)
      call();
    compare_all();
    close();
  }

 private:
  void call() {
    switch (input_.below(24)) {
      case 0: return sync();
      case 1: return prune();
      case 2: close(); return open();
      case 3: return lose(false);
      case 4: return lose(true);
      case 5: return verify();
      case 6: return compare_all();
      case 7: return refuse();
      case 8: return get_range();
      case 9: return destroy();
      case 10: return compare_gaps(index());
      case 11:
      case 12: return compare_key(key());
      case 13:
      case 14: return compare_index(index());
      case 15:
      case 16:
      case 17: return put(true);
      default: return put(false);
    }
  }

  uint64_t index() {
    const uint64_t number = input_.number(1);
    return number < 160 ? number % 40 : number < 224 ? number * 7 : UINT64_MAX - number % 8;
  }
  // All of them have the same first byte, some the same last one.
  Bytes key() {
    const uint64_t number = input_.below(kKeys);
    Bytes key(*options_.key_size_bytes);
    key.back() = static_cast<std::byte>(number);
    key[key.size() / 2] ^= static_cast<std::byte>(number / 4 * 16);
    return key;
  }
  Bytes value() {
    const auto near = std::to_array<uint64_t>(
        {0, *options_.page_size_bytes, options_.write_buffer_bytes, 64, 256, 4096});
    const uint64_t size = near[input_.below(near.size())] + input_.below(5);
    return Random(input_.number(1)).bytes(size < 2 ? 0 : size - 2);
  }

  void open() {
    options_.write_buffer_bytes = std::to_array<size_t>({0, 1, 100, 5000})[input_.below(4)];
    options_.page_cache_bytes = std::to_array<size_t>({0, 500, 1 << 16})[input_.below(3)];
    options_.open_sections_max = 1 + input_.below(4);
    options_.translator = KeyTranslator::cap(1 + input_.below(8));
    if (input_.below(2) == 0)
      options_.translator = KeyTranslator::hashed(*options_.translator, input_.number(1));
    auto opened = PrunableArchive::open(storage_, options_);
    CHECK(opened.has_value(), "a store that nobody damaged opens");
    archive_ = std::move(*opened);
    CHECK(archive_->recovery().damage.empty(), "nothing is damaged");
    CHECK(archive_->oldest_allowed() == boundary_, "a boundary that was acknowledged stays");
  }

  void close() {
    CHECK(archive_->close().has_value(), "memory does not fail");
    acknowledge();
    archive_.reset();
  }

  // The process is killed, or the device loses what it may, too.
  void lose(bool unsynced) {
    archive_.reset();
    if (unsynced) storage_.lose_unsynced();
    open();
    std::map<uint64_t, size_t> found;
    const Status visited = archive_->visit(0, UINT64_MAX, false, [&](const ArchiveItem& item) {
      ++found[item.section.value];
      return true;
    });
    CHECK(visited.has_value(), "what is there is visited");
    for (auto& [start, section] : sections_) {
      CHECK(found[start] >= section.synced, "what was synced is there");
      CHECK(found[start] <= section.items.size(), "nothing is there that was not put");
      section.items.resize(found[start]);
    }
    compare_all();
    acknowledge();  // recovery makes durable what it serves
  }

  void sync() {
    CHECK(archive_->sync().has_value(), "memory does not fail");
    acknowledge();
  }

  void prune() {
    const uint64_t min = index();
    CHECK(archive_->prune(min).has_value(), "memory does not fail");
    boundary_ = std::max(boundary_, section_of(min));
    sections_.erase(sections_.begin(), sections_.lower_bound(boundary_));
    CHECK(archive_->oldest_allowed() == boundary_, "whole sections are pruned");
  }

  void destroy() {
    if (input_.below(8) != 0) return;
    CHECK(archive_->destroy().has_value(), "memory does not fail");
    archive_.reset();
    sections_.clear();
    boundary_ = 0;
    open();
  }

  void verify() const {
    RecoveryLog findings(storage_, true);
    CHECK(archive_->log().verify(true, findings, [](uint64_t) {}).has_value(),
          "verify reports, it does not fail");
    CHECK(findings.report().damage.empty(), "nothing is damaged");
  }

  Result<PutOutcome> put_item(const Item& item, bool multi) {
    if (!multi) return archive_->put(item.index, item.key, item.value);
    TRY(archive_->put_multi(item.index, item.key, item.value));
    return PutOutcome::added;
  }

  void put(bool multi) {
    Item item{.index = index(), .key = key(), .value = value()};
    const bool is_there = first(item.index) != nullptr;
    const auto put = put_item(item, multi);
    if (item.index < boundary_) {
      CHECK(!put && put.error().code == Errc::pruned, "what was pruned takes no items");
      return;
    }
    const bool is_added = multi || !is_there;
    CHECK(put && (*put == PutOutcome::added) == is_added, "an index is put once");
    if (is_added) sections_[section_of(item.index)].items.push_back(std::move(item));
  }

  // Arguments that cannot be right change nothing.
  void refuse() {
    Bytes wrong = key();
    wrong.resize(input_.below(2) == 0 ? wrong.size() + 1 : wrong.size() - 1);
    const auto put = archive_->put(boundary_, wrong, Bytes(3));
    CHECK(!put && put.error().code == Errc::invalid_argument, "keys have one size");
    const auto read = archive_->get(ByteSpan(wrong));
    CHECK(!read && read.error().code == Errc::invalid_argument, "keys have one size");
  }

  [[nodiscard]] uint64_t section_of(uint64_t index) const {
    return index - index % *options_.items_per_section;
  }
  [[nodiscard]] const Item* first(uint64_t index) const {
    const auto section = sections_.find(section_of(index));
    if (section == sections_.end()) return nullptr;
    const auto found = std::ranges::find(section->second.items, index, &Item::index);
    return found == section->second.items.end() ? nullptr : &*found;
  }
  // Of [first, last], ascending; of one index in the order of their puts.
  [[nodiscard]] std::vector<const Item*> items(uint64_t first, uint64_t last) const {
    std::vector<const Item*> items;
    for (const auto& [start, section] : sections_)
      for (const Item& item : section.items)
        if (item.index >= first && item.index <= last) items.push_back(&item);
    // Items of an index are in one section, and lie there in order.
    std::ranges::sort(items, {}, [](const Item* item) { return std::pair(item->index, item); });
    return items;
  }
  [[nodiscard]] std::set<uint64_t> indices() const {
    std::set<uint64_t> indices;
    for (const Item* item : items(0, UINT64_MAX))
      indices.insert(item->index);
    return indices;
  }

  void acknowledge() {
    for (auto& [start, section] : sections_)
      section.synced = section.items.size();
  }

  static bool is_value(const Result<std::optional<Value>>& read, const Item* expected) {
    if (!read || read->has_value() != (expected != nullptr)) return false;
    return expected == nullptr || equal_bytes((*read)->bytes(), expected->value);
  }

  void compare_index(uint64_t index) const {
    const Item* const expected = first(index);
    CHECK(is_value(archive_->get(index), expected), "an index has its first item");
    const auto presence = archive_->contains(index);
    CHECK(presence && (*presence == PrunableArchive::Presence::present) == (expected != nullptr),
          "contains says what get does");
    const auto found = archive_->find(index);
    CHECK(found && found->has_value() == (expected != nullptr), "find says what get does");
    CHECK(!*found || (*found)->key == expected->key, "find has the key");
    const auto all = archive_->get_all(index);
    const auto expected_all = items(index, index);
    CHECK(all && all->has_value() == (expected != nullptr), "get_all says what get does");
    if (!*all) return;
    CHECK((*all)->size() == expected_all.size(), "all items of an index");
    for (size_t i = 0; i < expected_all.size(); ++i)
      CHECK(equal_bytes((**all)[i].bytes(), expected_all[i]->value), "in the order of their puts");
  }

  // Any item with the key will do.
  void compare_key(const Bytes& key) const {
    const auto all = items(0, UINT64_MAX);
    const auto has_key = [&](const Item* item) { return item->key == key; };
    const bool is_there = std::ranges::any_of(all, has_key);
    const auto check = [&](const Result<std::optional<Value>>& read) {
      CHECK(read && read->has_value() == is_there, "a key that was put is found, and no other");
      CHECK(!*read ||
                std::ranges::any_of(
                    all, [&](const Item* item) { return has_key(item) && is_value(read, item); }),
            "a key has the value of one of its items");
    };
    check(archive_->get(ByteSpan(key)));
    const ByteSpan span(key);
    check(archive_->get_many(std::span(&span, 1)).front());
    const auto presence = archive_->contains(ByteSpan(key));
    CHECK(presence && (*presence == PrunableArchive::Presence::present) == is_there,
          "contains says what get does");
    const auto found = archive_->find(ByteSpan(key));
    CHECK(found && found->has_value() == is_there, "find says what get does");
    if (!*found) return;
    const auto read = archive_->read_value(**found);
    CHECK(read.has_value(), "what was found is read");
    CHECK(std::ranges::any_of(all,
                              [&](const Item* item) {
                                return item->index == (*found)->index && has_key(item) &&
                                       equal_bytes(item->value, read->bytes());
                              }),
          "find names an item that was put");
  }

  void compare_gaps(uint64_t index) const {
    const std::set<uint64_t> present = indices();
    const auto at = present.lower_bound(index);
    const auto next = at == present.end() ? std::nullopt : std::optional(*at);
    CHECK(archive_->next_index(index) == next, "the next index");
    const auto above = present.upper_bound(index);
    const auto previous =
        above == present.begin() ? std::nullopt : std::optional(*std::prev(above));
    CHECK(archive_->previous_index(index) == previous, "the previous index");
    uint64_t end = index;
    IndexGap gap;
    if (present.contains(index)) {
      while (end < UINT64_MAX && present.contains(end + 1))
        ++end;
      gap.current_end = end;
    }
    const auto start = present.upper_bound(end);
    if (start != present.end()) gap.next_start = *start;
    CHECK(archive_->next_gap(index) == gap, "what surrounds an index");
    std::vector<uint64_t> missing;
    for (uint64_t at_index = index; missing.size() < 10 && !present.empty(); ++at_index) {
      if (at_index >= *present.rbegin()) break;
      if (!present.contains(at_index)) missing.push_back(at_index);
    }
    CHECK(archive_->missing_items(index, 10) == missing, "what is missing before the last index");
  }

  void get_range() {
    const uint64_t from = index();
    const IndexRange range{from, from + std::min<uint64_t>(input_.below(40), UINT64_MAX - from)};
    const size_t max = 1 + input_.below(6);
    const auto expected = items(range.start, range.end);
    size_t count = 0;
    while (count < expected.size() &&
           (count < max || expected[count]->index == expected[count - 1]->index))
      ++count;
    const auto read = archive_->get_many(range, max);
    CHECK(read && read->size() == count, "so many items of a range");
    for (size_t i = 0; i < count; ++i)
      CHECK((*read)[i].index == expected[i]->index && (*read)[i].value &&
                equal_bytes((*read)[i].value->bytes(), expected[i]->value),
            "the items of a range");
  }

  void compare_all() const {
    const auto expected = items(0, UINT64_MAX);
    size_t count = 0;
    const Status visited = archive_->visit(0, UINT64_MAX, false, [&](const ArchiveItem& item) {
      CHECK(count < expected.size() && item.index == expected[count]->index &&
                item.key == expected[count]->key,
            "items are visited in order");
      const auto value = archive_->read_value(item);
      CHECK(value && equal_bytes(value->bytes(), expected[count]->value), "with their values");
      ++count;
      return true;
    });
    CHECK(visited && count == expected.size(), "every item is visited");
    const ArchiveStatistics statistics = archive_->statistics();
    CHECK(statistics.records == expected.size(), "records are counted");
    CHECK(statistics.items_tracked == indices().size(), "indices are counted");
  }

  testkit::FuzzInput& input_;
  mutable testkit::FuzzedStorage storage_;
  PrunableArchiveOptions options_;
  std::unique_ptr<PrunableArchive> archive_;
  std::map<uint64_t, SectionItems> sections_;
  uint64_t boundary_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  Calls(input).run();
  return 0;
}
