// SPDX-License-Identifier: Apache-2.0
//
// OpenSections: the open sections of a SectionTable as readers find them, without a lock and
// without writing what other readers read. It is an array in the order of the sections; a change
// publishes a new one, and the old one goes, with the handle that was closed, once no read is left
// in it. So opening and closing cost a copy of 24 bytes for each open section, beside the system's
// calls.
//
// Threads. find() by anyone in a ReadSection, which keeps the handle until it ends; collect() by
// anyone; the others by one at a time.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "firn/base/read_section.h"
#include "firn/base/strong_id.h"

namespace firn::journal {

template <class Handle>
class OpenSections {
 public:
  OpenSections() : now_(new Snapshot) {}
  // Requires: no reader is left.
  ~OpenSections() {
    ReadSection::drain(this);
    delete now_.load();
  }
  OpenSections(const OpenSections&) = delete;
  OpenSections& operator=(const OpenSections&) = delete;

  // Null if it is not open. Requires: a ReadSection.
  [[nodiscard]] const Handle* find(Section section) const {
    const Open* const open = find_in(*now_.load(), section);
    if (open == nullptr) return nullptr;
    open->use();
    return open->handle;
  }

  void use(Section section) {
    if (const Open* const open = find_in(*now_.load(), section); open != nullptr) open->use();
  }
  [[nodiscard]] size_t size() const { return now_.load()->open.size(); }
  // The open section behind this one, or the first of all. Requires: one is open.
  [[nodiscard]] Section after(Section section) const {
    const std::vector<Open>& open = now_.load()->open;
    const auto next = std::ranges::upper_bound(open, section, {}, &Open::section);
    return next == open.end() ? open.front().section : next->section;
  }
  // Destroys what was closed beside readers, once they are gone.
  void collect() {
    if (retired_ > 0) ReadSection::collect(this);
  }

  // Whether it was found since this was asked last.
  [[nodiscard]] bool forget_use(Section section) {
    const Open* const open = find_in(*now_.load(), section);
    return open != nullptr && open->used.exchange(false, std::memory_order_relaxed);
  }

  // Requires: it is not there. The handle stays until erase().
  void insert(Section section, const Handle* handle) {
    auto next = std::make_unique<Snapshot>(*now_.load(), 1);
    const auto place = std::ranges::lower_bound(next->open, section, {}, &Open::section);
    next->open.emplace(place, section, handle);
    publish(std::move(next), nullptr);
  }

  // Takes the handle over, which is destroyed once nobody reads from it. Nothing if it is not
  // there.
  void erase(Section section, std::shared_ptr<Handle> handle) {
    const Snapshot& now = *now_.load();
    if (find_in(now, section) == nullptr) return;
    auto next = std::make_unique<Snapshot>(now, 0);
    std::erase_if(next->open, [&](const Open& open) { return open.section == section; });
    publish(std::move(next), std::move(handle));
  }

 private:
  struct Open {
    Open(Section of, const Handle* open) : section(of), handle(open) {}
    Open(const Open& other)
        : section(other.section),
          handle(other.handle),
          used(other.used.load(std::memory_order_relaxed)) {}
    Open& operator=(const Open& other) {
      section = other.section;
      handle = other.handle;
      used.store(other.used.load(std::memory_order_relaxed), std::memory_order_relaxed);
      return *this;
    }

    // Written once for many uses, so that readers do not take the line from each other.
    void use() const {
      if (!used.load(std::memory_order_relaxed)) used.store(true, std::memory_order_relaxed);
    }

    Section section;
    const Handle* handle;
    mutable std::atomic<bool> used = false;
  };
  struct Snapshot : EpochRetired {
    Snapshot() = default;
    Snapshot(const Snapshot& other, size_t more) {
      open.reserve(other.open.size() + more);
      open = other.open;
    }

    std::vector<Open> open;  // ascending
    std::shared_ptr<Handle> closed;
  };

  [[nodiscard]] static const Open* find_in(const Snapshot& snapshot, Section section) {
    const auto found = std::ranges::lower_bound(snapshot.open, section, {}, &Open::section);
    return found == snapshot.open.end() || found->section != section ? nullptr : &*found;
  }

  void publish(std::unique_ptr<Snapshot> next, std::shared_ptr<Handle> closed) {
    Snapshot* const old = now_.exchange(next.release());
    old->closed = std::move(closed);
    old->bytes = sizeof(Snapshot) + old->open.capacity() * sizeof(Open);
    old->owner = this;
    old->reclaim = [](EpochRetired* retired, void* owner) {
      delete static_cast<Snapshot*>(retired);
      --static_cast<OpenSections*>(owner)->retired_;
    };
    ReadSection::retire(*old);
    ++retired_;
    collect();
  }

  std::atomic<Snapshot*> now_;
  std::atomic<size_t> retired_ = 0;
};

}  // namespace firn::journal
