// SPDX-License-Identifier: Apache-2.0
//
// Floors: what is known to be durable in one segmented partition. Recovery uses it to tell a torn
// tail (above the floor: cut) from damage (at or below it: reported, never cut).
//
// A journal that is given no Floors (a store without a manifest) knows nothing and recovers as the
// original does. The Manifest of a store implements this interface; see firn/store/manifest.h.
//
// Every floor is a lower bound: losing an update loses precision, never truth. Hence raise() need
// not be durable by itself, while lower() and set_boundary() must be, before they return.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "firn/base/result.h"
#include "firn/base/strong_id.h"
#include "firn/io/storage.h"

namespace firn {

class Floors {
 public:
  virtual ~Floors() = default;
  Floors(const Floors&) = delete;
  Floors& operator=(const Floors&) = delete;

  // Payload bytes of `section` known durable; 0 for a section that was never synced.
  [[nodiscard]] virtual uint64_t floor(Section section) const = 0;
  // Sections with a floor above 0, ascending: their blobs must exist.
  [[nodiscard]] virtual std::vector<Section> sections() const = 0;
  // Sections below this one are pruned: their blobs, if any, are leftovers of an interrupted prune.
  [[nodiscard]] virtual Section boundary() const = 0;
  // The last writer closed the store: nothing was written since the floors were recorded.
  [[nodiscard]] virtual bool was_clean() const = 0;
  // For a reader: sections are exactly as long as their floors say. The store is clean, or a writer
  // is at work on what lies above them.
  [[nodiscard]] virtual bool pinned() const = 0;
  // For a reader that misses a section: the boundary that the writer has set by now.
  [[nodiscard]] virtual Result<Section> reload_boundary() = 0;

  // Durably notes that the partition is about to change (drops the clean mark). Idempotent and free
  // after the first call. Comes before the first write of an open store.
  [[nodiscard]] virtual Status begin_writing() = 0;
  // Records that a sync made `size` bytes durable. Never lowers.
  [[nodiscard]] virtual Status raise(Section section, uint64_t size) = 0;
  // Durable on return; comes before a truncation.
  [[nodiscard]] virtual Status lower(Section section, uint64_t size) = 0;
  // Durable on return; comes before the removal of any section below it. Never goes back.
  [[nodiscard]] virtual Status set_boundary(Section oldest_retained) = 0;
  // Before anything below a floor goes away other than by a prune. Errc::locked while readers
  // follow the store; none can begin to while the lock is held. Taking it again is fine.
  [[nodiscard]] virtual Result<std::unique_ptr<StorageLock>> exclude_followers() = 0;
  // Durably forgets floors of these sections, before they are removed without a prune.
  [[nodiscard]] virtual Status forget(std::vector<Section> removed) = 0;
  // A damaged section was left as it is: closing must not set the clean mark, so that the next open
  // looks at it again.
  virtual void keep_unclean() = 0;

 protected:
  Floors() = default;
};

}  // namespace firn
