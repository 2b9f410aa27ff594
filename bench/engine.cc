// SPDX-License-Identifier: Apache-2.0
#include "bench/engine.h"

#include "bench/report.h"
#include "firn/archive/prunable_archive.h"
#include "firn/io/posix_storage.h"

namespace firn::bench {

namespace {

class FirnEngine final : public Engine {
 public:
  explicit FirnEngine(bool map_reads) : map_reads_(map_reads) {}

  void open(const std::string& directory, const EngineOptions& engine) override {
    auto storage = open_posix_storage(directory, {.create = true, .map_reads = map_reads_});
    if (!storage) give_up(storage.error().message);
    storage_ = std::move(*storage);
    PrunableArchiveOptions options;
    options.key_size_bytes = static_cast<uint32_t>(engine.key_size_bytes);
    options.items_per_section = engine.large_values ? 16384 : 65536;
    options.page_cache_bytes = engine.cache_bytes;
    auto archive = PrunableArchive::open(*storage_, options);
    if (!archive) give_up(archive.error().message);
    archive_ = std::move(*archive);
  }

  void put(uint64_t index, ByteSpan key, ByteSpan value) override {
    const auto outcome = archive_->put(index, key, value);
    if (!outcome) give_up(outcome.error().message);
  }

  void sync() override {
    const Status synced = archive_->sync();
    if (!synced) give_up(synced.error().message);
  }

  uint64_t get(uint64_t index) override { return sum_of(archive_->get(index)); }
  uint64_t get(ByteSpan key) override { return sum_of(archive_->get(key)); }

  uint64_t get_many(std::span<const uint64_t> indices) override {
    uint64_t sum = 0;
    for (const auto& answer : archive_->get_many(indices))
      sum += sum_of(answer);
    return sum;
  }

  uint64_t get_many(std::span<const ByteSpan> keys) override {
    uint64_t sum = 0;
    for (const auto& answer : archive_->get_many(keys))
      sum += sum_of(answer);
    return sum;
  }

  void close() override {
    const Status closed = archive_->close();
    if (!closed) give_up(closed.error().message);
    archive_.reset();
    storage_.reset();
  }

 private:
  static uint64_t sum_of(const Result<std::optional<Value>>& answer) {
    if (!answer) give_up(answer.error().message);
    return *answer ? sum_words((*answer)->bytes()) : 0;
  }

  const bool map_reads_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<PrunableArchive> archive_;
};

}  // namespace

std::unique_ptr<Engine> make_firn_engine() {
  return std::make_unique<FirnEngine>(false);
}

std::unique_ptr<Engine> make_mapped_firn_engine() {
  return std::make_unique<FirnEngine>(true);
}

}  // namespace firn::bench
