// SPDX-License-Identifier: Apache-2.0
#include "testkit/canary_scenario.h"

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"

namespace firn::testkit {
namespace {

constexpr uint64_t kEntrySizeBytes = 16;  // offset 8, size 4, CRC of both 4

class ToyLog {
 public:
  explicit ToyLog(CanaryBug bug) : bug_(bug) {}

  Status open(Storage& storage) {
    TRY_INTO(values_, storage.open("toy", as_bytes("values"), OpenMode::create));
    TRY_INTO(index_, storage.open("toy", as_bytes("index"), OpenMode::create));
    count_ = 0;
    value_end_ = 0;
    while ((count_ + 1) * kEntrySizeBytes <= index_->size()) {
      std::array<std::byte, kEntrySizeBytes> entry;
      const Status read = index_->read_at(count_ * kEntrySizeBytes, entry);
      if (!read && bug_ == CanaryBug::unreadable_is_torn) break;
      TRY(read);
      const uint64_t offset = load_big_endian<uint64_t>(entry.data());
      const uint64_t size = load_big_endian<uint32_t>(entry.data() + 8);
      if (load_big_endian<uint32_t>(entry.data() + 12) != checksum(entry)) break;
      if (offset != value_end_ || size > values_->size() - offset) break;
      value_end_ += size;
      ++count_;
    }
    const bool cut = index_->size() != count_ * kEntrySizeBytes || values_->size() != value_end_;
    if (cut) {
      ++cuts_;
      TRY(index_->resize(count_ * kEntrySizeBytes));
      if (bug_ != CanaryBug::unsynced_cut) TRY(index_->sync());
      TRY(values_->resize(value_end_));
    }
    if (bug_ == CanaryBug::unsynced_adoption || bug_ == CanaryBug::unsynced_cut) return {};
    TRY(values_->sync());
    Status synced = index_->sync();
    return bug_ == CanaryBug::ignored_failure ? Status() : synced;
  }

  Status append(std::span<const std::string> values) {
    std::string bytes;
    Bytes entries;
    for (const std::string& value : values) {
      std::array<std::byte, kEntrySizeBytes> entry;
      store_big_endian<uint64_t>(entry.data(), value_end_ + bytes.size());
      store_big_endian<uint32_t>(entry.data() + 8, static_cast<uint32_t>(value.size()));
      store_big_endian<uint32_t>(entry.data() + 12, checksum(entry));
      entries.insert(entries.end(), entry.begin(), entry.end());
      bytes += value;
    }
    const auto write_values = [&] { return values_->write_at(value_end_, as_bytes(bytes)); };
    const auto write_index = [&] { return index_->write_at(count_ * kEntrySizeBytes, entries); };
    if (bug_ == CanaryBug::index_synced_first) {
      TRY(write_index());
      TRY(write_values());
      TRY(index_->sync());
      TRY(values_->sync());
    } else {
      TRY(write_values());
      if (bug_ != CanaryBug::no_value_sync) TRY(values_->sync());
      TRY(write_index());
      if (bug_ != CanaryBug::no_index_sync) TRY(index_->sync());
    }
    count_ += values.size();
    value_end_ += bytes.size();
    return {};
  }

  [[nodiscard]] uint64_t cuts() const { return cuts_; }

  Result<std::vector<std::string>> read_all() {
    std::vector<std::string> values;
    for (uint64_t i = 0; i < count_; ++i) {
      std::array<std::byte, kEntrySizeBytes> entry;
      TRY(index_->read_at(i * kEntrySizeBytes, entry));
      Bytes value(load_big_endian<uint32_t>(entry.data() + 8));
      TRY(values_->read_at(load_big_endian<uint64_t>(entry.data()), value));
      values.emplace_back(as_text(value));
    }
    return values;
  }

 private:
  static uint32_t checksum(std::span<const std::byte, kEntrySizeBytes> entry) {
    // Not 0 for an entry of zeros: a file may be longer than its data.
    return crc32c(entry.first(12)) ^ 0x5A5A5A5A;
  }

  CanaryBug bug_;
  std::unique_ptr<Blob> values_;
  std::unique_ptr<Blob> index_;
  uint64_t count_ = 0;
  uint64_t value_end_ = 0;
  uint64_t cuts_ = 0;
};

class CanaryScenario final : public Scenario {
 public:
  CanaryScenario(CanaryBug bug, Random& config)
      : bug_(bug), batch_max_(config.between(1, 4)), value_size_max_(config.between(1, 1500)) {}

  [[nodiscard]] Status open(Storage& storage) override {
    log_ = std::make_unique<ToyLog>(bug_);
    poisoned_ = false;
    Status opened = log_->open(storage);
    cuts_ += log_->cuts();
    return opened;
  }

  [[nodiscard]] Status step(Random& random) override {
    std::vector<std::string> batch(random.between(1, batch_max_));
    for (std::string& value : batch)
      value = std::string(as_text(random.bytes(random.between(1, value_size_max_))));
    return append(batch);
  }

  [[nodiscard]] size_t alphabet_size() const override { return 2; }
  [[nodiscard]] Status perform(size_t operation) override {
    const std::vector<std::string> batch(operation + 1, std::string(60, 'v'));
    return append(batch);
  }

  [[nodiscard]] std::optional<std::string> check() override {
    auto recovered = log_->read_all();
    if (!recovered) return recovered.error().message;
    if (recovered->size() < acknowledged_)
      return concat("only ", recovered->size(), " of ", acknowledged_, " synced values are left");
    if (recovered->size() > issued_.size())
      return concat(recovered->size(), " values recovered, but only ", issued_.size(), " issued");
    for (size_t i = 0; i < recovered->size(); ++i)
      if ((*recovered)[i] != issued_[i]) return concat("value ", i, " is not what was written");
    issued_ = *std::move(recovered);
    acknowledged_ = issued_.size();
    return std::nullopt;
  }

  void crash() override { log_.reset(); }

  [[nodiscard]] Reached reached() const override {
    return {{"a torn end is cut", cuts_},
            {std::string(rare::kGhostTaken), 0},
            {std::string(rare::kTornFile), 0},
            {std::string(rare::kFullInRecovery), 0},
            {std::string(rare::kRecoveryRepeated), 0}};
  }

 private:
  Status append(const std::vector<std::string>& batch) {
    if (poisoned_) return fail(Errc::poisoned, "an earlier append failed");
    issued_.insert(issued_.end(), batch.begin(), batch.end());
    Status appended = log_->append(batch);
    if (appended)
      acknowledged_ = issued_.size();
    else
      poisoned_ = true;
    return appended;
  }

  CanaryBug bug_;
  uint64_t batch_max_;
  uint64_t value_size_max_;
  std::unique_ptr<ToyLog> log_;
  bool poisoned_ = false;
  std::vector<std::string> issued_;
  uint64_t acknowledged_ = 0;
  uint64_t cuts_ = 0;
};

}  // namespace

ScenarioFactory canary_factory(CanaryBug bug) {
  return [bug](Random& config) { return std::make_unique<CanaryScenario>(bug, config); };
}

}  // namespace firn::testkit
