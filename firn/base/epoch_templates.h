// SPDX-License-Identifier: Apache-2.0
//
// Bodies of EpochDomain and EpochSession.
#pragma once

#include <algorithm>
#include <thread>

#include "firn/base/check.h"
#include "firn/base/epoch.h"

namespace firn {

template <class Policy>
BasicEpochDomain<Policy>::~BasicEpochDomain() {
  CHECK(retired_first_ == nullptr, "owners outlive no domain");
  for (Record* record = records_.get(); record != nullptr; record = record->next.get())
    CHECK(!record->taken, "sessions outlive no domain");
  // One by one: the list may be longer than the stack is deep.
  while (records_ != nullptr)
    records_ = std::move(records_->next);
}

template <class Policy>
typename BasicEpochDomain<Policy>::Record& BasicEpochDomain<Policy>::take_record() {
  MutexLock lock(mutex_);
  for (Record* record = records_.get(); record != nullptr; record = record->next.get()) {
    if (record->taken) continue;
    record->taken = true;
    return *record;
  }
  auto record = std::make_unique<Record>();
  record->taken = true;
  record->next = std::move(records_);
  records_ = std::move(record);
  return *records_;
}

template <class Policy>
void BasicEpochDomain<Policy>::give_back(Record& record) {
  MutexLock lock(mutex_);
  record.taken = false;
}

// The stamp is the epoch before this step: who announces a later one began after the object was
// unlinked, and cannot see it.
template <class Policy>
void BasicEpochDomain<Policy>::retire(EpochRetired& retired) {
  MutexLock lock(mutex_);
  retired.next = nullptr;
  retired.epoch = Policy::fetch_add(epoch_, 1);
  Policy::fetch_add(bytes_retired_, retired.bytes);
  (retired_last_ == nullptr ? retired_first_ : retired_last_->next) = &retired;
  retired_last_ = &retired;
}

// The oldest epoch that a pinned session announces, or the present one. After the barrier, a
// session that is not seen here as pinned pins later, and loads what is published by now.
template <class Policy>
uint64_t BasicEpochDomain<Policy>::oldest_announced() const {
  const uint64_t now = Policy::load(epoch_, std::memory_order_seq_cst);
  Policy::order_announcements();
  return oldest_visible(now);
}

template <class Policy>
uint64_t BasicEpochDomain<Policy>::oldest_visible(uint64_t oldest) const {
  for (Record* record = records_.get(); record != nullptr; record = record->next.get()) {
    const uint64_t announced = Policy::load(record->announced, std::memory_order_seq_cst);
    if (announced != 0) oldest = std::min(oldest, announced / 2);
  }
  return oldest;
}

// Those that are meant, in the order of their epochs.
template <class Policy>
template <class Predicate>
EpochRetired* BasicEpochDomain<Policy>::take_retired(Predicate&& is_meant) {
  EpochRetired* list = nullptr;
  EpochRetired** end = &list;
  EpochRetired** link = &retired_first_;
  retired_last_ = nullptr;
  while (EpochRetired* const retired = *link) {
    if (!is_meant(*retired)) {
      retired_last_ = retired;
      link = &retired->next;
      continue;
    }
    *link = retired->next;
    retired->next = nullptr;
    *end = retired;
    end = &retired->next;
    Policy::fetch_add(bytes_retired_, ~retired->bytes + 1);
  }
  return list;
}

// Of one owner, or of all if it is null: what nobody can see any more.
template <class Policy>
EpochRetired* BasicEpochDomain<Policy>::take_unseen(const void* owner) {
  // Without the barrier first: it costs, and whoever is seen without it holds things back, too.
  const uint64_t now = Policy::load(epoch_, std::memory_order_seq_cst);
  if (retired_first_ == nullptr || retired_first_->epoch >= oldest_visible(now)) return nullptr;
  const uint64_t oldest = oldest_announced();
  return take_retired([&](const EpochRetired& retired) {
    return (owner == nullptr || retired.owner == owner) && retired.epoch < oldest;
  });
}

template <class Policy>
void BasicEpochDomain<Policy>::collect() {
  MutexLock reclaiming(reclaiming_);
  EpochRetired* list = nullptr;
  {
    MutexLock lock(mutex_);
    list = take_unseen(nullptr);
  }
  reclaim_all(list);
}

template <class Policy>
void BasicEpochDomain<Policy>::collect(const void* owner) {
  EpochRetired* list = nullptr;
  {
    MutexLock lock(mutex_);
    list = take_unseen(owner);
    if (list == nullptr) return;
    Policy::fetch_add(collecting_, 1);
  }
  reclaim_all(list);
  Policy::fetch_add(collecting_, ~uint64_t{0});
}

template <class Policy>
void BasicEpochDomain<Policy>::drain(const void* owner) {
  MutexLock reclaiming(reclaiming_);
  EpochRetired* list = nullptr;
  {
    MutexLock lock(mutex_);
    list = take_retired([&](const EpochRetired& retired) { return retired.owner == owner; });
  }
  reclaim_all(list);
}

template <class Policy>
void BasicEpochDomain<Policy>::before_fork() {
  reclaiming_.lock();
  mutex_.lock();
  while (Policy::load(collecting_, std::memory_order_acquire) != 0) {
    mutex_.unlock();
    std::this_thread::yield();
    mutex_.lock();
  }
}

template <class Policy>
void BasicEpochDomain<Policy>::after_fork_in_parent() {
  mutex_.unlock();
  reclaiming_.unlock();
}

template <class Policy>
void BasicEpochDomain<Policy>::after_fork_in_child(const BasicEpochSession<Policy>* own) {
  for (Record* record = records_.get(); record != nullptr; record = record->next.get()) {
    if (own != nullptr && record == &own->record_) continue;
    Policy::store(record->announced, 0, std::memory_order_release);
    record->taken = false;
  }
  after_fork_in_parent();
}

template <class Policy>
void BasicEpochDomain<Policy>::reclaim_all(EpochRetired* list) {
  while (list != nullptr) {
    EpochRetired* const next = list->next;
    list->reclaim(list, list->owner);
    list = next;
  }
}

template <class Policy>
uint64_t BasicEpochDomain<Policy>::bytes_retired() const {
  return Policy::load(bytes_retired_, std::memory_order_relaxed);
}

template <class Policy>
EpochStatistics BasicEpochDomain<Policy>::statistics() const {
  MutexLock lock(mutex_);
  EpochStatistics result;
  for (Record* record = records_.get(); record != nullptr; record = record->next.get()) {
    if (record->taken) ++result.sessions;
    if (Policy::load(record->announced, std::memory_order_relaxed) != 0) ++result.sessions_pinned;
  }
  result.oldest_pin_epochs = Policy::load(epoch_, std::memory_order_relaxed) - oldest_announced();
  result.bytes_retired = bytes_retired();
  return result;
}

template <class Policy>
BasicEpochSession<Policy>::~BasicEpochSession() {
  CHECK(depth_ == 0, "a session ends when it is not pinned");
  domain_.give_back(record_);
}

}  // namespace firn
