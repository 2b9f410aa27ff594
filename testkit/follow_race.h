// SPDX-License-Identifier: Apache-2.0
//
// FollowRace: a writer and a reader of one storage in memory that take turns between any two of
// their calls, and in the middle of reads and writes, as the seed has it.
// ReadersOfARecovery: what fresh readers meet at every call of a writer that recovers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "firn/base/result.h"
#include "firn/base/text.h"
#include "firn/io/memory_storage.h"
#include "testkit/logged_storage.h"
#include "testkit/observed_storage.h"
#include "testkit/turns.h"

namespace firn::testkit {

class FollowRace {
 public:
  explicit FollowRace(uint64_t seed) : turns_(seed) {}

  [[nodiscard]] Storage& of_writer() { return write_storage_; }
  [[nodiscard]] Storage& of_reader() { return read_storage_; }
  // Calls of the reader that change something.
  [[nodiscard]] uint64_t reader_changes() const { return read_log_.changes(); }
  void run(const std::function<void()>& write, const std::function<void()>& read) {
    turns_.run(write, read);
  }

 private:
  MemoryStorage memory_;
  Turns turns_;
  LoggedStorage read_log_{memory_};
  ObservedStorage read_storage_{read_log_, [this] { turns_.pass(); }};
  ObservedStorage write_storage_{memory_, [this] { turns_.pass(); }};
};

// A reader must wait, or see as many items as were synced.
class ReadersOfARecovery {
 public:
  // `count` opens a reader and counts the items that it has.
  ReadersOfARecovery(MemoryStorage& memory, uint64_t synced,
                     std::function<Result<uint64_t>()> count)
      : synced_(synced), count_(std::move(count)), storage_(memory, [this] { look(); }) {}

  [[nodiscard]] Storage& of_writer() { return storage_; }
  void look() {
    const Result<uint64_t> seen = count_();
    if (!seen && seen.error().code == Errc::locked) {
      ++waited_;
    } else if (!seen) {
      problem_ = seen.error().message;
    } else if (*seen != synced_) {
      problem_ = concat("a reader sees ", *seen, " of ", synced_, " synced items");
    } else {
      ++complete_;
    }
  }

  [[nodiscard]] int waited() const { return waited_; }
  [[nodiscard]] int complete() const { return complete_; }
  [[nodiscard]] const std::optional<std::string>& problem() const { return problem_; }

 private:
  const uint64_t synced_;
  const std::function<Result<uint64_t>()> count_;
  int waited_ = 0;
  int complete_ = 0;
  std::optional<std::string> problem_;
  ObservedStorage storage_;
};

}  // namespace firn::testkit
