// SPDX-License-Identifier: Apache-2.0
//
// Crash scenario of FileStorage itself: blobs are created, written, cut, synced and removed in two
// partitions. Its recovery opens and syncs every blob, as the structures above do.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/text.h"
#include "sim/scenarios.h"
#include "testkit/rare_findings.h"

namespace firn::sim {
namespace {

using testkit::Scenario;

constexpr std::string_view kPartitions[] = {"left", "right"};
constexpr uint64_t kNames = 3;

// What is known about one blob. Bytes in `uncertain` and every length in `lengths` may come back.
struct BlobModel {
  bool may_exist = false;
  bool must_exist = false;
  Bytes durable;
  Bytes visible;
  std::vector<bool> uncertain;
  std::set<uint64_t> lengths = {0};

  void doubt(uint64_t begin, uint64_t end) {
    if (uncertain.size() < end) uncertain.resize(end);
    for (uint64_t i = begin; i < end; ++i)
      uncertain[i] = true;
  }
  void settle(Bytes content) {
    visible = std::move(content);
    durable = visible;
    uncertain.clear();
    lengths = {durable.size()};
  }
};

class FileStorageScenario final : public Scenario {
 public:
  explicit FileStorageScenario(Random& config) : write_max_(config.between(1, 3000)) {}

  [[nodiscard]] Status open(Storage& storage) override {
    storage_ = &storage;
    for (const std::string_view partition : kPartitions) {
      // A killed process may have unlinked without syncing. Removing a name that never was syncs
      // the partition, so that what is missing stays missing.
      const Bytes never_used{std::byte{0xFF}};
      TRY(storage.remove(partition, std::span(&never_used, 1)));
      TRY_INTO(const auto names, storage.scan(partition));
      for (const Bytes& name : names) {
        TRY_INTO(auto blob, storage.open(partition, name, OpenMode::read_write));
        TRY(blob->sync());
        open_.insert_or_assign(Key(partition, name), std::move(blob));
      }
    }
    return {};
  }

  [[nodiscard]] Status step(Random& random) override {
    const Key key(kPartitions[random.below(2)], Bytes{std::byte(random.below(kNames))});
    const auto blob = open_.find(key);
    if (blob == open_.end()) return create(key);
    switch (random.below(8)) {
      case 0: return remove(key);
      case 1: return resize(key, random.below(blob->second->size() + 100));
      case 2:
      case 3: return sync(key);
      default: {
        const uint64_t end = blob->second->size();
        const uint64_t offset = random.one_in(3) ? random.below(end + 600) : end;
        return write(key, offset, random.bytes(random.between(1, write_max_)));
      }
    }
  }

  [[nodiscard]] size_t alphabet_size() const override { return 4; }
  [[nodiscard]] Status perform(size_t operation) override {
    const Key key("left", Bytes{std::byte{0}});
    if (open_.find(key) == open_.end()) return create(key);
    switch (operation) {
      case 0: return remove(key);
      case 1: return write(key, open_.at(key)->size(), Bytes(700, std::byte{'w'}));
      case 2: return resize(key, open_.at(key)->size() / 2);
      default: return sync(key);
    }
  }

  [[nodiscard]] std::optional<std::string> check() override {
    for (auto& [key, model] : models_) {
      const auto blob = open_.find(key);
      const std::string name = concat(key.first, "/", to_hex(key.second));
      if (blob == open_.end()) {
        if (model.must_exist) return concat("blob ", name, " is gone");
        model = {};
        continue;
      }
      if (!model.may_exist) return concat("blob ", name, " is back");
      Bytes content(blob->second->size());
      if (const Status read = blob->second->read_at(0, content); !read) return read.error().message;
      if (auto problem = compare(model, content)) return concat("blob ", name, *problem);
      if (!model.must_exist) found_.met(kNotRemoved);
      if (content.size() != model.durable.size()) found_.met(kOtherLength);
      if (content.size() == model.durable.size() && content != model.durable)
        found_.met(kOtherBytes);
      model = {};
      model.may_exist = model.must_exist = true;
      model.settle(std::move(content));
    }
    for (const auto& [key, blob] : open_)
      if (!models_.contains(key)) return concat("a blob that was never created: ", key.first);
    return std::nullopt;
  }

  void crash() override { open_.clear(); }

  [[nodiscard]] Reached reached() const override { return found_.counts(); }

 private:
  static constexpr std::string_view kNotRemoved =
      "a creation or removal that was cut off: it is there";
  static constexpr std::string_view kOtherLength = "a length that no sync covered";
  static constexpr std::string_view kOtherBytes =
      "bytes that no sync covered, in the length of before";

  using Key = std::pair<std::string, Bytes>;

  static std::optional<std::string> compare(const BlobModel& model, const Bytes& content) {
    if (!model.lengths.contains(content.size()))
      return concat(" has ", content.size(), " bytes, a length that it never had");
    for (size_t i = 0; i < content.size(); ++i) {
      if (i < model.uncertain.size() && model.uncertain[i]) continue;
      const std::byte expected = i < model.durable.size() ? model.durable[i] : std::byte{0};
      if (content[i] != expected) return concat(" differs at ", i, " of ", content.size());
    }
    return std::nullopt;
  }

  Status create(const Key& key) {
    BlobModel& model = models_[key];
    model.may_exist = true;
    TRY_INTO(auto blob, storage_->open(key.first, key.second, OpenMode::create_new));
    model = {};
    model.may_exist = model.must_exist = true;
    open_.insert_or_assign(key, std::move(blob));
    return {};
  }

  Status remove(const Key& key) {
    BlobModel& model = models_[key];
    model.must_exist = false;
    open_.erase(key);
    const Bytes name = key.second;
    TRY(storage_->remove(key.first, std::span(&name, 1)));
    model = {};
    return {};
  }

  Status write(const Key& key, uint64_t offset, const Bytes& bytes) {
    BlobModel& model = models_[key];
    const uint64_t end = offset + bytes.size();
    const uint64_t size = model.visible.size();
    model.doubt(offset, end);
    // A write that fails half-way may leave any length up to its end.
    for (uint64_t length = std::max(size, offset); length <= end; ++length)
      model.lengths.insert(length);
    TRY(open_.at(key)->write_at(offset, bytes));
    model.visible.resize(std::max(size, end));
    copy_bytes(std::span(model.visible).subspan(offset), bytes);
    return {};
  }

  Status resize(const Key& key, uint64_t size) {
    BlobModel& model = models_[key];
    model.lengths.insert(size);
    model.doubt(size, std::max<uint64_t>(size, model.visible.size()));
    TRY(open_.at(key)->resize(size));
    model.visible.resize(size);
    return {};
  }

  Status sync(const Key& key) {
    BlobModel& model = models_[key];
    TRY(open_.at(key)->sync());
    model.settle(model.visible);
    return {};
  }

  uint64_t write_max_;
  Storage* storage_ = nullptr;
  std::map<Key, std::unique_ptr<Blob>> open_;
  std::map<Key, BlobModel> models_;
  testkit::RareFindings found_ = {kNotRemoved, kOtherLength, kOtherBytes, testkit::rare::kFileBack,
                                  testkit::rare::kTornFile};
};

}  // namespace

testkit::ScenarioFactory file_storage_scenario() {
  return [](Random& config) { return std::make_unique<FileStorageScenario>(config); };
}

}  // namespace firn::sim
