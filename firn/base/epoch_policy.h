// SPDX-License-Identifier: Apache-2.0
//
// EpochPolicy: how an EpochDomain touches memory that threads share. The one below compiles to
// plain atomics; a test replaces it to drive schedules, to count, or to run on simulated atomics.
//
// A policy is a class with these static members. One that also has reach() and kPinned is told
// where a session has announced its epoch.
#pragma once

#include <atomic>
#include <cstdint>

namespace firn {

struct EpochPolicy {
  using Word = uint64_t;

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

 private:
  static const bool kBarriers;
  static std::atomic_ref<uint64_t> reference(Word& word) { return std::atomic_ref<uint64_t>(word); }
};

}  // namespace firn
