// SPDX-License-Identifier: Apache-2.0
//
// LocationPolicy: how a LocationIndex touches memory that threads share. Every load, store and
// read-modify-write of a shared word goes through it, and between them the code names the point
// that it has reached. The one below compiles to plain atomics and to nothing; a test replaces it
// to drive schedules, to count, to pre-empt or to refuse memory, or to run on simulated atomics.
//
// A policy is a class with the static members of LocationPolicy. Word must have eight bytes if
// snapshots are used; its objects are made by zeroing memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "firn/base/epoch.h"

namespace firn {

// What a thread has just done, or is about to do, when it reports a point. The names with
// `about_to` come before the access, the others after it.
enum class LocationPoint : uint8_t {
  pinned,                  // the session's epoch is announced
  table_read,              // shard.ref, or the successor of a migrated home, was loaded
  header_read,             // the header of the home was loaded
  slot_read,               // the word of a slot whose tag matches was loaded
  about_to_replace,        // the CAS of replace, remove or compare_and_replace comes next
  scanned_absent,          // the first scan of a put has missed; the home's lock comes next
  home_locked,             // the lock of the home is held; the second scan comes next
  second_scan_done,        // still absent; the slot is chosen next
  overflow_marked,         // a class bit was set in a full bucket
  chain_locked,            // the lock of a further bucket of the chain is held, too
  lane_stored,             // the tag is in its lane; the slot's word comes next
  slot_published,          // the slot's word is stored; the locks are still held
  unlocked,                // the locks of an insert are released
  growth_allocated,        // the new table exists; the CAS of the successor comes next
  growth_started,          // the successor is set
  block_allocated,         // memory for a block of the new table exists; its CAS comes next
  chunk_claimed,           // a range of homes was claimed from the cursor
  home_locked_to_migrate,  // migration holds the lock of a home
  slot_frozen,             // an entry got its FROZEN bit
  home_frozen,             // all entries of the home are frozen; copying comes next
  entry_copied,            // an entry was published in the new table
  about_to_mark_migrated,  // the store of the MIGRATED bit comes next
  home_migrated,           // it is stored
  about_to_publish_table,  // all homes are migrated; the store of shard.ref comes next
  table_published,         // it is stored; the old table is retired next
  table_retired,
  waiting,  // a lock or a frozen slot keeps this thread; `pause` follows
};

struct LocationPolicy : EpochPolicy {
  // Without a flag of its own in the header, a lane must not be seen later than its slot's word.
  // x86-64 keeps the order of stores; arm64 keeps it by the release in the store of the word and
  // because its stores reach all cores at once. Elsewhere, and in a simulation, pay for the order.
#if defined(__x86_64__) || defined(__aarch64__)
  static constexpr std::memory_order kLaneOrder = std::memory_order_relaxed;
#else
  static constexpr std::memory_order kLaneOrder = std::memory_order_seq_cst;
#endif
  // The smallest table has 2^kSmallestTable buckets, 0 to 8.
  static constexpr unsigned kSmallestTable = 2;

  static void reach(LocationPoint) {}
  static constexpr auto kPinned = LocationPoint::pinned;

  // Called with 0, 1, 2 ... while another thread is waited for.
  static void pause(unsigned turn) {
    constexpr unsigned kSpins = 64;
    if (turn >= kSpins) return std::this_thread::yield();
#if defined(__SSE2__)
    _mm_pause();
#endif
  }

  // Asked before each allocation of the arena; false makes it fail.
  static bool may_allocate(size_t /*bytes*/) { return true; }
};

// The epochs of an index, see base/epoch.h. Compiled once, in location_index.cc.
using EpochDomain = BasicEpochDomain<LocationPolicy>;
using EpochSession = BasicEpochSession<LocationPolicy>;
using EpochPin = BasicEpochPin<LocationPolicy>;
extern template class BasicEpochDomain<LocationPolicy>;
extern template class BasicEpochSession<LocationPolicy>;

}  // namespace firn
