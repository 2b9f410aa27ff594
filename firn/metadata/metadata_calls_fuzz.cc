// SPDX-License-Identifier: Apache-2.0
//
// Sequences of calls of a metadata store, each answer compared at once with a map, and with the map
// of the last sync: what a reader in another process sees, and what is there after the store was
// dropped or its device lost what no sync covered.
#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/metadata/metadata_store.h"
#include "testkit/fuzz_input.h"
#include "testkit/fuzzed_storage.h"

namespace {

using namespace firn;
using Map = std::map<std::string, std::string>;

constexpr uint64_t kCallsMax = 300;
constexpr uint32_t kValueSizeMaxBytes = 20000;

class Calls {
 public:
  explicit Calls(testkit::FuzzInput& input) : input_(input) {
    options_.key_size_bytes = static_cast<uint32_t>(1 + input_.below(4));
    options_.value_size_max_bytes = kValueSizeMaxBytes;
    open();
  }

  void run() {
    for (uint64_t i = 0; i < kCallsMax && !input_.empty(); ++i)
      call();
    compare();
  }

 private:
  void call() {
    switch (input_.below(16)) {
      case 0: return sync(false);
      case 1: return sync(true);
      case 2: return lose(false);
      case 3: return lose(true);
      case 4: return follow();
      case 5: return refuse();
      case 6: return compare_and_set();
      case 7: return retain();
      case 8: return clear();
      case 9: return apply();
      case 10: return remove();
      case 11: return compare();
      default: return put();
    }
  }

  // The second one is now and then the one that the first one asks about.
  std::string key() {
    std::string key(options_.key_size_bytes, 'k');
    key.back() = static_cast<char>(input_.below(6));
    key.front() = static_cast<char>(key.front() + key.back() % 2);
    return key;
  }
  // Lengths around those of their varints, and around the size that is there.
  std::string value(const std::string& key) {
    const auto held = map_.find(key);
    const auto near =
        std::to_array<uint64_t>({0, 128, 16384, 500, held == map_.end() ? 7 : held->second.size()});
    const uint64_t size = near[input_.below(near.size())] + input_.below(3);
    return std::string(size == 0 ? 0 : size - 1, static_cast<char>(input_.number(1)));
  }

  void open() {
    recovery_.emplace(storage_, false);
    auto opened = MetadataStore::open(storage_, options_, *recovery_);
    CHECK(opened.has_value(), "a store that nobody damaged opens");
    store_ = std::move(*opened);
    CHECK(recovery_->report().damage.empty(), "nothing is damaged");
  }

  // The process is killed, or the device loses what it may, too.
  void lose(bool unsynced) {
    store_.reset();
    if (unsynced) storage_.lose_unsynced();
    open();
    map_ = synced_;
    compare();
  }

  void sync(bool both) {
    const Status outcome = both ? store_->sync_both() : store_->sync();
    CHECK(outcome.has_value(), "memory does not fail");
    synced_ = map_;
    has_synced_ = true;
  }

  // A reader that was opened once sees the last sync.
  void follow() {
    if (!has_synced_) return;
    if (!reader_) {
      MetadataStoreOptions options = options_;
      options.read_only = true;
      looking_.emplace(storage_, true);
      auto opened = MetadataStore::open(storage_, options, *looking_);
      CHECK(opened.has_value(), "a store that nobody damaged opens");
      reader_ = std::move(*opened);
    }
    const auto version = reader_->refresh();
    CHECK(version && *version == store_->version(), "the newest commit is taken over");
    CHECK(content(*reader_) == synced_, "a reader sees what was synced");
    CHECK(!reader_->put(as_bytes(key()), {}), "a reader changes nothing");
  }

  void refuse() {
    const std::string wrong = key() + "k";
    const auto is_refused = [](const Status& outcome) {
      return !outcome && outcome.error().code == Errc::invalid_argument;
    };
    CHECK(is_refused(store_->put(as_bytes(wrong), {})), "keys have one size");
    CHECK(is_refused(store_->put(as_bytes(key()), Bytes(kValueSizeMaxBytes + 1))),
          "values have a limit");
  }

  void put() {
    const std::string name = key();
    std::string bytes = value(name);
    CHECK(store_->put(as_bytes(name), as_bytes(bytes)).has_value(), "it fits");
    map_[name] = std::move(bytes);
    compare(name);
  }

  void remove() {
    const std::string name = key();
    CHECK(store_->remove(as_bytes(name)).has_value(), "a key is removed if it is there");
    map_.erase(name);
    compare(name);
  }

  void apply() {
    MetadataBatch batch;
    for (uint64_t changes = input_.below(6); changes > 0; --changes) {
      const std::string name = key();
      if (input_.below(3) == 0) {
        batch.remove(as_bytes(name));
        map_.erase(name);
      } else {
        const std::string bytes = value(name);
        batch.put(as_bytes(name), as_bytes(bytes));
        map_[name] = bytes;
      }
    }
    CHECK(store_->apply(batch).has_value(), "it fits");
    compare();
  }

  void compare_and_set() {
    const std::string name = key();
    const auto held = map_.find(name);
    const std::string asked = value(name);
    const std::string desired = value(name);
    const uint64_t how = input_.number(1);
    std::optional<ByteSpan> expected;
    bool is_equal = held == map_.end();
    if (how % 2 == 0) {
      expected = as_bytes(asked);
      is_equal = held != map_.end() && held->second == asked;
    } else if (how % 4 == 1 && held != map_.end()) {
      expected = as_bytes(held->second);
      is_equal = true;
    }
    const bool is_removal = how / 4 % 4 == 0;
    const auto compared = store_->compare_and_set(
        as_bytes(name), expected, is_removal ? std::nullopt : std::optional(as_bytes(desired)));
    CHECK(compared && (*compared == MetadataStore::Comparison::equal) == is_equal,
          "the value is what it is compared with, or not");
    if (is_equal && is_removal)
      map_.erase(name);
    else if (is_equal)
      map_[name] = desired;
    compare();
  }

  void retain() {
    const std::string kept = key();
    const auto keep = [&](std::string_view name) { return name >= kept; };
    CHECK(store_->retain([&](ByteSpan name, ByteSpan) { return keep(as_text(name)); }).has_value(),
          "what is not kept goes");
    std::erase_if(map_, [&](const auto& pair) { return !keep(pair.first); });
    compare();
  }

  void clear() {
    if (input_.below(4) != 0) return;
    CHECK(store_->clear().has_value(), "everything goes");
    map_.clear();
  }

  static Map content(const MetadataStore& store) {
    Map map;
    store.for_each([&](ByteSpan key, ByteSpan value) {
      CHECK(map.emplace(as_text(key), as_text(value)).second, "a key is there once");
    });
    return map;
  }

  void compare(const std::string& key) const {
    const auto held = map_.find(key);
    const auto read = store_->get(as_bytes(key));
    CHECK(read.has_value() == (held != map_.end()), "a key is there if it was put");
    CHECK(!read || as_text(*read) == held->second, "a key has its value");
  }

  void compare() {
    CHECK(content(*store_) == map_, "the map is what was put");
    CHECK(store_->statistics().keys == map_.size(), "keys are counted");
    const std::string prefix = key().substr(0, 1);
    Map with_prefix;
    store_->for_each_with_prefix(as_bytes(prefix), [&](ByteSpan name, ByteSpan value) {
      with_prefix.emplace(as_text(name), as_text(value));
    });
    Map expected = map_;
    std::erase_if(expected, [&](const auto& pair) { return !pair.first.starts_with(prefix); });
    CHECK(with_prefix == expected, "the keys of a prefix");
  }

  testkit::FuzzInput& input_;
  testkit::FuzzedStorage storage_;
  MetadataStoreOptions options_;
  std::optional<RecoveryLog> recovery_;
  std::optional<RecoveryLog> looking_;
  std::unique_ptr<MetadataStore> store_;
  std::unique_ptr<MetadataStore> reader_;
  Map map_;
  Map synced_;
  bool has_synced_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  Calls(input).run();
  return 0;
}
