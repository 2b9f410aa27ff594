// SPDX-License-Identifier: Apache-2.0
//
// History: what threads did to a map from keys to locations and what they were answered, with the
// time before and after each operation, and a check that some order explains all of it: that it is
// linearizable.
//
// Linearizability is a property of each key for itself (Herlihy and Wing), so the check follows the
// time and keeps, for each key, the contents that may be there now, each with the running
// operations that it assumes to have taken effect (the just-in-time variant of Wing and Gong's
// search, by Lowe). A thread runs one operation at a time, so there are few of these, and the cost
// grows with the length of the history alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace firn {

struct HistoryOperation {
  enum class Kind : uint8_t {
    find,
    put,
    replace_if,
    remove,
    clear,
    walk,
    put_many,
    // Of stores. set: a put that does not say what was there. add: a put where nothing was; its
    // answer is whether it was done. seek: a find that cannot tell what is gone from what never
    // was. prune: all keys below `location` are gone.
    set,
    add,
    seek,
    prune,
  };
  static constexpr uint64_t kGone = UINT64_MAX;

  uint64_t begin = 0;  // history_time() before the call, and after it
  uint64_t end = 0;
  Kind kind = Kind::find;
  uint32_t key = 0;       // not of clear, walk, put_many and prune, which concern several keys
  uint64_t old = 0;       // of replace_if
  uint64_t location = 0;  // put, or put in place of `old`
  // find, put, remove: the location that was there before, 0 for none. replace_if: whether it was
  // replaced. walk, put_many: the number of its list in History::walks.
  uint64_t answer = 0;
};

// A clock that all threads agree on. Later accesses to memory do not run ahead of it, and earlier
// loads are complete.
uint64_t history_time();

class History {
 public:
  static constexpr size_t kThreadsMax = 8;

  History(size_t thread_count, size_t key_count);

  // The log of one thread: only that thread appends to it, in the order of time.
  std::vector<HistoryOperation>& thread(size_t number) { return threads_[number]; }
  // The location of each key that a walk of this thread has listed, or 0. Of put_many, the answer
  // for each key, and behind these what each key was put at, 0 for keys that were not.
  std::vector<std::vector<uint64_t>>& walks(size_t number) { return walks_[number]; }
  // What each key was mapped to before the first operation.
  std::vector<uint64_t>& initial() { return initial_; }

  // Nothing if the history is linearizable, else which answer no order explains, and its context.
  // Consumes nothing. `final` is what was found when all was done; empty: not checked.
  [[nodiscard]] std::optional<std::string> violation(const std::vector<uint64_t>& final = {}) const;

 private:
  friend class HistoryCheck;
  std::vector<std::vector<HistoryOperation>> threads_;
  std::vector<std::vector<std::vector<uint64_t>>> walks_;
  std::vector<uint64_t> initial_;
};

// One line about an operation.
std::string describe(const HistoryOperation& operation, size_t thread);

}  // namespace firn
