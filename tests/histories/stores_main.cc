// SPDX-License-Identifier: Apache-2.0
//
// firn_store_histories: threads race on a few keys of an archive or a freezer in memory, while
// others sync and prune, and every history is checked for linearizability. At the end the store is
// closed, or synced and dropped, and opened again: it must hold what the history ends with.
#include <atomic>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "firn/archive/prunable_archive.h"
#include "firn/base/endian.h"
#include "firn/base/random.h"
#include "firn/base/text.h"
#include "firn/freezer/freezer.h"
#include "firn/index/history_test_support.h"
#include "firn/io/memory_storage.h"
#include "testkit/forwarding_storage.h"
#include "tests/histories/arguments.h"

namespace firn::histories {
namespace {

using Kind = HistoryOperation::Kind;

constexpr uint64_t kOperations = 6'000;
constexpr size_t kNumberBytes = sizeof(uint64_t);

template <class T>
T must(Result<T> outcome) {
  if (!outcome) std::fprintf(stderr, "%s\n", outcome.error().message.c_str());
  CHECK(outcome.has_value(), "a store in memory does not fail");
  return std::move(*outcome);
}

void must(const Status& outcome) {
  if (!outcome) std::fprintf(stderr, "%s\n", outcome.error().message.c_str());
  CHECK(outcome.has_value(), "a store in memory does not fail");
}

Bytes key_of(uint64_t key) {
  Bytes bytes(kNumberBytes);
  store_big_endian(bytes.data(), key * 0x9E3779B97F4A7C15u);
  return bytes;
}

// A value is its number, and so much more that pages are filled.
Bytes value_of(uint64_t number, Random& random) {
  Bytes bytes(kNumberBytes + random.below(200));
  store_big_endian(bytes.data(), number);
  return bytes;
}

// What a lookup found: a value's number, 0 for none.
uint64_t number_in(const std::optional<Value>& found) {
  return found ? load_big_endian<uint64_t>(found->bytes().data()) : 0;
}

// Gives the processor away before one access in four, so that threads meet inside of operations.
void yield_sometimes() {
  static thread_local uint64_t state = std::hash<std::thread::id>()(std::this_thread::get_id());
  if (split_mix64(state) % 4 == 0) std::this_thread::yield();
}

class YieldingBlob final : public testkit::ForwardingBlob {
 public:
  using ForwardingBlob::ForwardingBlob;
  Status read_at(uint64_t offset, MutableByteSpan out) override {
    yield_sometimes();
    return ForwardingBlob::read_at(offset, out);
  }
  Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override {
    yield_sometimes();
    return ForwardingBlob::write_at(offset, buffers);
  }
  Status sync() override {
    yield_sometimes();
    return ForwardingBlob::sync();
  }
};

class YieldingStorage final : public testkit::ForwardingStorage {
 public:
  using ForwardingStorage::ForwardingStorage;

 private:
  std::unique_ptr<Blob> wrap(std::unique_ptr<Blob> blob, std::string_view, ByteSpan) override {
    return std::make_unique<YieldingBlob>(std::move(blob));
  }
};

// What one thread does and is answered.
class Recorder {
 public:
  Recorder(History& history, size_t thread, uint64_t seed)
      : random(seed * History::kThreadsMax + thread), history_(history), thread_(thread) {}

  // `act` returns what the operation was and its answer; its times are filled in.
  void record(const auto& act) {
    const uint64_t begin = history_time();
    HistoryOperation operation = act();
    operation.end = history_time();
    operation.begin = begin;
    history_.thread(thread_).push_back(operation);
  }
  // The same for an answer to all keys at once.
  void record_walk(const auto& act) {
    record([&]() -> HistoryOperation {
      history_.walks(thread_).push_back(act());
      return {.kind = Kind::walk, .answer = history_.walks(thread_).size() - 1};
    });
  }
  [[nodiscard]] uint64_t new_number() { return thread_ + 1 + History::kThreadsMax * ++puts_; }

  Random random;

 private:
  History& history_;
  const size_t thread_;
  uint64_t puts_ = 0;
};

class RacedStore {
 public:
  virtual ~RacedStore() = default;
  virtual void step(Recorder& recorder) = 0;
  // Everything is synced, and the store closed or dropped, and opened again.
  virtual void reopen(bool closes) = 0;
  // What the history must end with.
  [[nodiscard]] virtual uint64_t final(uint32_t key) const = 0;
};

class RacedFreezer final : public RacedStore {
 public:
  RacedFreezer(Random& random, uint32_t keys) {
    for (uint64_t key = 0; key < keys; ++key)
      keys_.push_back(key_of(key));
    for (const Bytes& key : keys_)
      spans_.emplace_back(key);
    options_.key_size_bytes = kNumberBytes;
    options_.memory_budget_bytes = random.one_in(2) ? 1 << 20 : 0;
    options_.table.initial_size = 2;
    options_.table.resize_frequency = 1;
    options_.table.resize_chunk = 2;
    if (random.one_in(4)) options_.table.writing = TableWriting::immediate;
    options_.section_target_bytes = random.between(2'000, 60'000);
    options_.write_buffer_bytes = random.one_in(2) ? 0 : 1 << 14;
    options_.page_cache_bytes = random.one_in(2) ? 0 : 1 << 20;
    options_.page_size_bytes = 200;
    freezer_ = must(Freezer::open(storage_, options_));
  }

  void step(Recorder& recorder) override {
    const uint64_t kind = recorder.random.below(100);
    const auto key = static_cast<uint32_t>(recorder.random.below(keys_.size()));
    if (kind < 35) {
      const uint64_t number = recorder.new_number();
      const Bytes value = value_of(number, recorder.random);
      recorder.record([&]() -> HistoryOperation {
        must(freezer_->put(keys_[key], value));
        return {.kind = Kind::set, .key = key, .location = number};
      });
    } else if (kind < 85) {
      recorder.record([&]() -> HistoryOperation {
        return {
            .kind = Kind::find, .key = key, .answer = number_in(must(freezer_->get(keys_[key])))};
      });
    } else if (kind < 95) {
      recorder.record_walk([&] {
        std::vector<uint64_t> numbers;
        for (auto& answer : freezer_->get_many(spans_))
          numbers.push_back(number_in(must(std::move(answer))));
        return numbers;
      });
    } else {
      must(freezer_->sync());
    }
  }

  void reopen(bool closes) override {
    if (closes)
      must(freezer_->close());
    else
      must(freezer_->sync());
    freezer_.reset();
    freezer_ = must(Freezer::open(storage_, options_));
  }

  uint64_t final(uint32_t key) const override { return number_in(must(freezer_->get(keys_[key]))); }

 private:
  std::vector<Bytes> keys_;
  std::vector<ByteSpan> spans_;
  FreezerOptions options_;
  MemoryStorage memory_;
  YieldingStorage storage_{memory_};
  std::unique_ptr<Freezer> freezer_;
};

// An item is put once. Threads put at a frontier that moves, and prune what is far behind it.
class RacedArchive final : public RacedStore {
 public:
  RacedArchive(Random& random, uint32_t keys) : key_count_(keys) {
    options_.key_size_bytes = kNumberBytes;
    options_.items_per_section = kItemsPerSection;
    options_.write_buffer_bytes = random.one_in(2) ? 0 : 1 << 14;
    options_.page_cache_bytes = random.one_in(2) ? 0 : 1 << 20;
    options_.page_size_bytes = 200;
    archive_ = must(PrunableArchive::open(storage_, options_));
  }

  void step(Recorder& recorder) override {
    const uint64_t kind = recorder.random.below(100);
    const uint64_t frontier =
        steps_.fetch_add(1, std::memory_order_relaxed) * key_count_ / kOperations;
    const uint64_t from = frontier > 2 * kItemsPerSection ? frontier - 2 * kItemsPerSection : 0;
    const auto index = static_cast<uint32_t>(
        std::min<uint64_t>(from + recorder.random.below(3 * kItemsPerSection), key_count_ - 1));
    if (kind < 25) {
      put(recorder, index);
    } else if (kind < 60) {
      recorder.record([&]() -> HistoryOperation {
        return {.kind = Kind::seek, .key = index, .answer = number_in(must(archive_->get(index)))};
      });
    } else if (kind < 93) {
      const Bytes key = key_of(index);
      recorder.record([&]() -> HistoryOperation {
        return {.kind = Kind::seek, .key = index, .answer = number_in(must(archive_->get(key)))};
      });
    } else if (kind < 98 || from < kItemsPerSection) {
      must(archive_->sync());
    } else {
      const uint64_t min = from / kItemsPerSection * kItemsPerSection;
      recorder.record([&]() -> HistoryOperation {
        must(archive_->prune(min));
        return {.kind = Kind::prune, .location = min};
      });
    }
  }

  void reopen(bool closes) override {
    if (closes)
      must(archive_->close());
    else
      must(archive_->sync());
    archive_.reset();
    archive_ = must(PrunableArchive::open(storage_, options_));
  }

  uint64_t final(uint32_t key) const override {
    return key < archive_->oldest_allowed() ? HistoryOperation::kGone
                                            : number_in(must(archive_->get(key)));
  }

 private:
  static constexpr uint64_t kItemsPerSection = 4;

  void put(Recorder& recorder, uint32_t index) {
    const uint64_t number = recorder.new_number();
    const Bytes value = value_of(number, recorder.random);
    const Bytes key = key_of(index);
    recorder.record([&]() -> HistoryOperation {
      const auto outcome = archive_->put(index, key, value);
      if (!outcome && outcome.error().code == Errc::pruned)
        return {.kind = Kind::find, .key = index, .answer = HistoryOperation::kGone};
      const bool added = must(outcome) == PutOutcome::added;
      return {.kind = Kind::add, .key = index, .location = number, .answer = added ? 1u : 0u};
    });
  }

  const uint64_t key_count_;
  PrunableArchiveOptions options_;
  MemoryStorage memory_;
  YieldingStorage storage_{memory_};
  std::unique_ptr<PrunableArchive> archive_;
  std::atomic<uint64_t> steps_ = 0;
};

// One store, from empty to the check of its history.
std::optional<std::string> run_seed(uint64_t seed) {
  Random random(seed);
  const size_t thread_count = random.between(2, 4);
  const bool is_freezer = random.one_in(2);
  const auto keys = static_cast<uint32_t>(is_freezer ? random.between(1, 12) : 400);
  const std::unique_ptr<RacedStore> store =
      is_freezer ? std::unique_ptr<RacedStore>(std::make_unique<RacedFreezer>(random, keys))
                 : std::make_unique<RacedArchive>(random, keys);
  History history(thread_count, keys);
  run_together(thread_count, [&](size_t thread, const std::function<void()>& wait) {
    Recorder recorder(history, thread, seed);
    wait();
    for (uint64_t i = 0; i < kOperations / thread_count; ++i)
      store->step(recorder);
  });
  store->reopen(random.one_in(2));
  std::vector<uint64_t> final;
  for (uint32_t key = 0; key < keys; ++key)
    final.push_back(store->final(key));
  const auto violation = history.violation(final);
  if (!violation) return std::nullopt;
  return concat(is_freezer ? "freezer" : "archive", ", ", thread_count, " threads: ", *violation);
}

}  // namespace
}  // namespace firn::histories

int main(int argc, char** argv) {
  const auto arguments = firn::histories::parse(argc, argv);
  if (!arguments) return firn::histories::print_usage(argc, argv);
  return firn::histories::run_histories("firn_store_histories", *arguments,
                                        firn::histories::kOperations, firn::histories::run_seed);
}
