// SPDX-License-Identifier: Apache-2.0
#include "firn/index/history_test_support.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <ranges>
#include <sstream>

#include "firn/base/check.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace firn {

uint64_t history_time() {
#if defined(__x86_64__)
  _mm_lfence();
  const uint64_t now = __rdtsc();
  _mm_lfence();
  return now;
#else
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

History::History(size_t thread_count, size_t key_count)
    : threads_(thread_count), walks_(thread_count), initial_(key_count) {
  CHECK(thread_count <= kThreadsMax, "a bit of a mask for each thread");
}

std::string describe(const HistoryOperation& operation, size_t thread) {
  static constexpr const char* kNames[] = {"find",  "put",  "replace_if", "remove",
                                           "clear", "walk", "put_many",   "set",
                                           "add",   "seek", "prune"};
  std::ostringstream line;
  line << "[" << operation.begin << " to " << operation.end << "] thread " << thread << ": "
       << kNames[static_cast<size_t>(operation.kind)] << " key " << operation.key << " old "
       << operation.old << " location " << operation.location << " answers " << operation.answer;
  return line.str();
}

// Not an unnamed one: HistoryCheck has members of these types.
namespace history {

using Kind = HistoryOperation::Kind;

// What an operation makes of the location of a key, if it can give its answer there.
static std::optional<uint64_t> effect(const HistoryOperation& operation, uint64_t present) {
  switch (operation.kind) {
    case Kind::clear: return 0;
    case Kind::set: return operation.location;
    case Kind::add:
      if ((present == 0) != (operation.answer != 0)) return std::nullopt;
      return operation.answer != 0 ? operation.location : present;
    case Kind::seek:
      if (operation.answer == 0 && present == HistoryOperation::kGone) return present;
      break;
    case Kind::replace_if:
      if ((present == operation.old) != (operation.answer != 0)) return std::nullopt;
      return operation.answer != 0 ? operation.location : present;
    default: break;
  }
  if (present != operation.answer) return std::nullopt;
  if (operation.kind == Kind::put) return operation.location;
  return operation.kind == Kind::remove ? 0 : present;
}

// What may be the state of one key: its location, and the threads whose running operation has taken
// effect already.
struct Possible {
  uint64_t location;
  uint32_t done;
  friend bool operator==(const Possible&, const Possible&) = default;
};

class KeyCheck {
 public:
  explicit KeyCheck(uint64_t initial) : possible_{{initial, 0}} {}

  void begin(size_t thread, const HistoryOperation& operation) {
    running_[thread] = operation;
    mask_ |= 1U << thread;
  }

  // The operation of a thread has ended: in what is possible now, it has taken effect.
  bool end(size_t thread) {
    const uint32_t bit = 1U << thread;
    expand(bit);
    std::erase_if(possible_, [&](const Possible& each) { return (each.done & bit) == 0; });
    for (Possible& each : possible_)
      each.done &= ~bit;
    mask_ &= ~bit;
    return !possible_.empty();
  }

  [[nodiscard]] bool ends_with(uint64_t location) const {
    return std::ranges::find(possible_, Possible{location, 0}) != possible_.end();
  }

 private:
  // Lets running operations take effect in every order, until the one of `bit` has.
  void expand(uint32_t bit) {
    for (size_t i = 0; i < possible_.size(); ++i) {
      const Possible from = possible_[i];
      if ((from.done & bit) != 0) continue;
      for (uint32_t left = mask_ & ~from.done; left != 0; left &= left - 1) {
        const auto thread = static_cast<size_t>(std::countr_zero(left));
        const std::optional<uint64_t> to = effect(running_[thread], from.location);
        if (!to) continue;
        const Possible next{*to, from.done | 1U << thread};
        if (std::ranges::find(possible_, next) == possible_.end()) possible_.push_back(next);
      }
    }
  }

  std::vector<Possible> possible_;
  std::array<HistoryOperation, History::kThreadsMax> running_;
  uint32_t mask_ = 0;
};

}  // namespace history

using history::KeyCheck;
using history::Kind;

// Follows the time through the logs of all threads.
class HistoryCheck {
 public:
  explicit HistoryCheck(const History& history) : history_(history) {
    for (const uint64_t location : history.initial_)
      keys_.emplace_back(location);
  }

  std::optional<std::string> run(const std::vector<uint64_t>& final) {
    while (next()) {
      const HistoryOperation& operation = history_.threads_[thread_][at_[thread_] / 2];
      if (at_[thread_]++ % 2 == 0) {
        begin(operation);
      } else if (const auto key = end(operation)) {
        return describe_around(*key);
      }
    }
    for (size_t key = 0; key < final.size(); ++key)
      if (!keys_[key].ends_with(final[key]))
        return "at the end, key " + std::to_string(key) + " has location " +
               std::to_string(final[key]) + ", which no order of the operations explains";
    return std::nullopt;
  }

 private:
  // The thread with the next event. At equal times operations begin before others end.
  bool next() {
    uint64_t earliest = UINT64_MAX;
    bool ends = true;
    bool found = false;
    for (size_t thread = 0; thread < history_.threads_.size(); ++thread) {
      const auto& log = history_.threads_[thread];
      const size_t at = at_[thread];
      if (at / 2 == log.size()) continue;
      const bool is_end = at % 2 != 0;
      const uint64_t time = is_end ? log[at / 2].end : log[at / 2].begin;
      if (found && (time > earliest || (time == earliest && (is_end || !ends)))) continue;
      found = true;
      earliest = time;
      ends = is_end;
      thread_ = thread;
    }
    return found;
  }

  void begin(const HistoryOperation& operation) {
    for (const uint32_t key : keys_of(operation))
      if (const auto part = part_of(operation, thread_, key)) keys_[key].begin(thread_, *part);
  }

  static bool has_one_key(const HistoryOperation& operation) {
    return operation.kind != Kind::clear && operation.kind != Kind::walk &&
           operation.kind != Kind::put_many && operation.kind != Kind::prune;
  }
  // The keys that it may concern.
  [[nodiscard]] std::ranges::iota_view<uint32_t, uint32_t> keys_of(
      const HistoryOperation& operation) const {
    const auto count = static_cast<uint32_t>(keys_.size());
    return has_one_key(operation) ? std::views::iota(operation.key, operation.key + 1)
                                  : std::views::iota(uint32_t{0}, count);
  }
  // What the operation is for one key, if it concerns it.
  [[nodiscard]] std::optional<HistoryOperation> part_of(const HistoryOperation& operation,
                                                        size_t thread, uint32_t key) const {
    if (has_one_key(operation) && operation.key != key) return std::nullopt;
    HistoryOperation part = operation;
    if (has_one_key(operation) || operation.kind == Kind::clear) return part;
    if (operation.kind == Kind::prune) {
      part.kind = Kind::set;
      part.location = HistoryOperation::kGone;
      return key < operation.location ? std::optional(part) : std::nullopt;
    }
    const std::vector<uint64_t>& list = history_.walks_[thread][operation.answer];
    part.key = key;
    part.answer = list[key];
    if (operation.kind == Kind::walk) return part;
    part.kind = Kind::put;
    part.location = list[keys_.size() + key];
    return part.location == 0 ? std::nullopt : std::optional(part);
  }

  // The key for which no order explains the answer, if there is one.
  std::optional<uint32_t> end(const HistoryOperation& operation) {
    for (const uint32_t key : keys_of(operation))
      if (part_of(operation, thread_, key) && !keys_[key].end(thread_)) return key;
    return std::nullopt;
  }

  // The last operations of the key, of all threads, up to the one that nothing explains.
  [[nodiscard]] std::string describe_around(uint32_t key) const {
    constexpr size_t kBefore = 12;
    std::string result = "no order explains the last answer for key " + std::to_string(key) + ":\n";
    for (size_t thread = 0; thread < history_.threads_.size(); ++thread) {
      const auto& log = history_.threads_[thread];
      std::vector<std::string> lines;
      for (size_t i = std::min((at_[thread] + 1) / 2, log.size()); i > 0; --i) {
        if (const auto part = part_of(log[i - 1], thread, key))
          lines.push_back("  " + describe(*part, thread) + "\n");
        if (lines.size() == kBefore) break;
      }
      for (const std::string& line : std::views::reverse(lines))
        result += line;
    }
    return result + "  the last one is that of thread " + std::to_string(thread_) + "\n";
  }

  const History& history_;
  std::vector<KeyCheck> keys_;
  std::array<size_t, History::kThreadsMax> at_{};  // two events an operation
  size_t thread_ = 0;
};

std::optional<std::string> History::violation(const std::vector<uint64_t>& final) const {
  return HistoryCheck(*this).run(final);
}

}  // namespace firn
