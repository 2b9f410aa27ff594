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

struct LocationPolicy {
  using Word = uint64_t;

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

  static uint64_t load(const Word& word, std::memory_order order) {
    return reference(const_cast<Word&>(word)).load(order);
  }
  static void store(Word& word, uint64_t value, std::memory_order order) {
    reference(word).store(value, order);
  }
  // The read-modify-writes are sequentially consistent.
  static bool compare_exchange(Word& word, uint64_t& expected, uint64_t desired) {
    return reference(word).compare_exchange_strong(expected, desired);
  }
  static uint64_t exchange(Word& word, uint64_t value) { return reference(word).exchange(value); }
  static uint64_t fetch_add(Word& word, uint64_t value) { return reference(word).fetch_add(value); }

  // Sessions announce their epochs at every operation, collectors read them once in a while; so the
  // order between an announcement and the loads after it is paid for by collectors, which make all
  // threads of the process pass a barrier (membarrier(2)) before they read. Where the system has no
  // such call, each announcement is a read-modify-write.
  static void announce(Word& word, uint64_t value) {
    if (!kBarriers) return announce_in_order(word, value);
    store(word, value, std::memory_order_release);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  static void announce_in_order(Word& word, uint64_t value) { exchange(word, value); }
  static void order_announcements();

  static void reach(LocationPoint) {}

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

 private:
  static const bool kBarriers;
  static std::atomic_ref<uint64_t> reference(Word& word) { return std::atomic_ref<uint64_t>(word); }
};

}  // namespace firn
