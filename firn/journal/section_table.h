// SPDX-License-Identifier: Apache-2.0
//
// SectionTable: the sections of one partition, with a bound on how many of them are open.
//
// A section is known by its number and, once it was opened, by its size; its Handle (the open blob
// with its buffers) exists only while it is used. When more than `open_max` handles exist, one that
// has nothing unsynced and nobody holding it, and was used least recently, as far as lock-free
// reads tell, is closed, once no read is left in it. Handles with unsynced bytes are never closed:
// closing a file loses the error of a failed flush.
//
// A damaged section is set aside: it stays in the table with its error, is opened for reading only,
// or, if nothing of it can be read, not at all.
//
// Handle needs: uint64_t size() const, bool dirty() const.
// Threads. All calls, concurrently; peek() without a lock. A blob is opened under the table's lock.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "firn/base/check.h"
#include "firn/base/mutex.h"
#include "firn/base/result.h"
#include "firn/base/strong_id.h"
#include "firn/journal/open_sections.h"

namespace firn::journal {

template <class Handle>
class SectionTable {
 public:
  struct Entry {
    std::shared_ptr<Handle> handle;  // null while closed
    std::optional<uint64_t> size;    // as of the last close; nullopt before the first open
    uint64_t cache_id = 0;
    std::optional<Error> damage;  // set aside: never changed
    bool readable = true;         // false: every find() fails with the damage
  };
  // Opens the blob of a known section.
  using Opener = std::function<Result<std::shared_ptr<Handle>>(Section, const Entry&)>;

  SectionTable(size_t open_max, Opener opener) : open_max_(open_max), opener_(std::move(opener)) {}

  void add_closed(Section section, uint64_t cache_id, std::optional<uint64_t> size = {}) {
    MutexLock lock(mutex_);
    Entry& entry = entries_[section];
    entry.cache_id = cache_id;
    entry.size = size;
  }

  // For a reader that follows a writer: the next use opens the section with this size.
  enum class Growth : uint8_t { none, longer };
  Growth grow(Section section, uint64_t size, const std::function<uint64_t()>& new_cache_id) {
    MutexLock lock(mutex_);
    const auto [found, added] = entries_.try_emplace(section);
    Entry& entry = found->second;
    if (added) entry.cache_id = new_cache_id();
    const uint64_t known = entry.handle != nullptr ? entry.handle->size() : entry.size.value_or(0);
    if (entry.damage || size <= known) return Growth::none;
    close(section, entry);
    entry.size = size;
    return Growth::longer;
  }

  // The next use of the section, which may be new, opens it anew.
  void reopen(Section section, const std::function<uint64_t()>& new_cache_id) {
    MutexLock lock(mutex_);
    const auto [found, added] = entries_.try_emplace(section);
    if (added) found->second.cache_id = new_cache_id();
    close(section, found->second);
  }

  // The next use of every section opens it anew, after `prepare`, and finds nothing of it in the
  // cache.
  void reopen_all(const std::function<void()>& prepare,
                  const std::function<uint64_t()>& new_cache_id) {
    MutexLock lock(mutex_);
    prepare();
    for (auto& [section, entry] : entries_) {
      close(section, entry);
      entry.size.reset();
      entry.cache_id = new_cache_id();
    }
  }

  void add_open(Section section, uint64_t cache_id, std::shared_ptr<Handle> handle) {
    MutexLock lock(mutex_);
    Entry& entry = entries_[section];
    CHECK(entry.handle == nullptr, "a section is added once");
    entry.cache_id = cache_id;
    install(section, entry, std::move(handle));
  }

  enum class Readable : uint8_t { no, yes };
  void set_aside(Section section, Error damage, Readable readable) {
    MutexLock lock(mutex_);
    Entry& entry = entries_[section];
    if (readable == Readable::no) open_.erase(section, entry.handle);
    entry.damage = std::move(damage);
    entry.readable = readable == Readable::yes;
  }

  // Why the section was set aside; nullopt if it was not.
  [[nodiscard]] std::optional<Error> damage(Section section) const {
    MutexLock lock(mutex_);
    const auto found = entries_.find(section);
    return found == entries_.end() ? std::nullopt : found->second.damage;
  }

  // The sections that were set aside, with the reasons.
  [[nodiscard]] std::map<Section, Error> damaged() const {
    MutexLock lock(mutex_);
    std::map<Section, Error> result;
    for (const auto& [section, entry] : entries_)
      if (entry.damage) result.emplace(section, *entry.damage);
    return result;
  }

  // The handle of a section that is open and readable, or null: find() says more. It stays until
  // the ReadSection ends that the caller is in.
  [[nodiscard]] const Handle* peek(Section section) const { return open_.find(section); }

  // The open handle of a section, or null if there is no such section.
  [[nodiscard]] Result<std::shared_ptr<Handle>> find(Section section) const {
    MutexLock lock(mutex_);
    const auto found = entries_.find(section);
    if (found == entries_.end()) return std::shared_ptr<Handle>();
    Entry& entry = found->second;
    if (!entry.readable) return std::unexpected(*entry.damage);
    if (entry.handle == nullptr) {
      TRY_INTO(auto handle, opener_(section, entry));
      install(section, entry, std::move(handle));
    }
    open_.use(section);
    return entry.handle;
  }

  // The handle of a section that is open, or null. Opens nothing, so that nothing can fail.
  [[nodiscard]] std::shared_ptr<Handle> find_open(Section section) const {
    MutexLock lock(mutex_);
    const auto found = entries_.find(section);
    if (found == entries_.end()) return nullptr;
    return found->second.handle;
  }

  [[nodiscard]] bool contains(Section section) const {
    MutexLock lock(mutex_);
    return entries_.contains(section);
  }

  // Drops a section from the table; returns its cache id. Requires: it is there.
  uint64_t erase(Section section) {
    MutexLock lock(mutex_);
    const auto found = entries_.find(section);
    CHECK(found != entries_.end(), "a section is erased once");
    const uint64_t cache_id = found->second.cache_id;
    close(section, found->second);
    entries_.erase(found);
    return cache_id;
  }

  [[nodiscard]] std::vector<Section> sections() const {
    MutexLock lock(mutex_);
    std::vector<Section> all;
    for (const auto& [section, entry] : entries_)
      all.push_back(section);
    return all;
  }

  [[nodiscard]] std::optional<Section> oldest() const {
    MutexLock lock(mutex_);
    return entries_.empty() ? std::nullopt : std::optional(entries_.begin()->first);
  }

  [[nodiscard]] std::optional<Section> newest() const {
    MutexLock lock(mutex_);
    return entries_.empty() ? std::nullopt : std::optional(entries_.rbegin()->first);
  }

  // Closes for good what was erased or closed beside readers, who are gone by now.
  void collect() const { open_.collect(); }

  // Open sections that have unsynced bytes, ascending.
  [[nodiscard]] std::vector<std::pair<Section, std::shared_ptr<Handle>>> dirty() const {
    MutexLock lock(mutex_);
    open_.collect();
    std::vector<std::pair<Section, std::shared_ptr<Handle>>> result;
    for (const auto& [section, entry] : entries_)
      if (entry.handle != nullptr && entry.handle->dirty())
        result.emplace_back(section, entry.handle);
    return result;
  }

  // The sizes of the sections that are or were open, ascending; without those set aside.
  [[nodiscard]] std::vector<std::pair<Section, uint64_t>> known_sizes() const {
    MutexLock lock(mutex_);
    std::vector<std::pair<Section, uint64_t>> result;
    for (const auto& [section, entry] : entries_) {
      if (entry.damage) continue;
      if (entry.handle != nullptr)
        result.emplace_back(section, entry.handle->size());
      else if (entry.size)
        result.emplace_back(section, *entry.size);
    }
    return result;
  }

  [[nodiscard]] size_t open_count() const {
    MutexLock lock(mutex_);
    return open_.size();
  }

 private:
  void close(Section section, Entry& entry) const REQUIRES(mutex_) {
    open_.erase(section, entry.handle);  // first: there may be no memory for it
    entry.handle.reset();
  }

  void install(Section section, Entry& entry, std::shared_ptr<Handle> handle) const
      REQUIRES(mutex_) {
    open_.insert(section, handle.get());  // first: there may be no memory for it
    entry.handle = std::move(handle);
    close_idle(section);
  }

  // A clock: what was used since the hand passed stays, and so does the newest.
  void close_idle(Section newest) const REQUIRES(mutex_) {
    for (size_t looks = 2 * open_.size(); open_.size() > open_max_ && looks > 0; --looks) {
      hand_ = open_.after(hand_);
      if (hand_ == newest || open_.forget_use(hand_)) continue;
      Entry& idle = entries_.find(hand_)->second;
      if (idle.handle.use_count() != 1 || idle.handle->dirty()) continue;
      idle.size = idle.handle->size();
      close(hand_, idle);
    }
  }

  const size_t open_max_;
  const Opener opener_;
  mutable Mutex mutex_;
  mutable std::map<Section, Entry> entries_ GUARDED_BY(mutex_);
  mutable Section hand_ GUARDED_BY(mutex_);  // of the clock: the section it looked at last
  mutable OpenSections<Handle> open_;        // changed under mutex_
};

}  // namespace firn::journal
