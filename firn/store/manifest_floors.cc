// SPDX-License-Identifier: Apache-2.0
//
// The part of Manifest that changes: clean mark, generation, floors and boundaries.
#include <algorithm>

#include "firn/base/check.h"
#include "firn/base/text.h"
#include "firn/store/floor_hints.h"
#include "firn/store/manifest.h"
#include "firn/store/manifest_format.h"
#include "firn/store/role_floors.h"

namespace firn {

using store::encode_key;
using store::encode_number;
using store::ManifestTag;

namespace {

constexpr uint64_t kRaisesPerCheckpoint = 256;
// In a store of n sections, a checkpoint follows n / 16 new ones: the cost of recording many
// sections grows with their number, not with its square.
constexpr uint64_t kSectionsPerNewSection = 16;

Bytes floor_key(StoreRole role, Section section) {
  return encode_key({ManifestTag::floor, static_cast<uint32_t>(role), section.value});
}

}  // namespace

uint64_t Manifest::generation() const {
  MutexLock lock(mutex_);
  return generation_;
}

Floors& Manifest::floors(StoreRole role) {
  MutexLock lock(mutex_);
  std::unique_ptr<RoleFloors>& floors = role_floors_[role];
  if (!floors) floors = std::make_unique<RoleFloors>(*this, role);
  return *floors;
}

Status Manifest::check_writable() const {
  if (read_only_) return fail(Errc::invalid_argument, "the store is open read-only");
  if (closed_) return fail(Errc::invalid_argument, "the store is closed");
  return poison_.check();
}

// Hints of other generations do not count, so the new one must not have been used before. A
// manifest that fell back to its older copy may have forgotten some.
Status Manifest::new_generation() {
  uint64_t highest = generation_;
  for (const FloorHint& hint : hints_->found())
    highest = std::max(highest, hint.generation);
  CHECK(highest < UINT64_MAX, "forged ones count up to half of it");
  generation_ = highest + 1;
  return metadata_->put(encode_key({ManifestTag::generation}), encode_number(generation_));
}

// Makes everything that changed durable, floors included.
Status Manifest::commit(bool both_copies) {
  for (const FloorKey& key : raised_)
    if (const auto found = floors_.find(key); found != floors_.end())
      TRY(metadata_->put(floor_key(key.first, key.second), encode_number(found->second)));
  TRY(both_copies ? metadata_->sync_both() : metadata_->sync());
  raised_.clear();
  raises_ = 0;
  new_sections_ = 0;
  changed_ = false;
  hints_->restart();
  return {};
}

Status Manifest::begin_writing() {
  MutexLock lock(mutex_);
  TRY(check_writable());
  return poison_.watch(begin_writing_locked());
}

Status Manifest::begin_writing_locked() {
  if (writing_) return {};
  TRY(hints_->make_ready_for_writing());
  TRY(new_generation());
  TRY(metadata_->put(encode_key({ManifestTag::clean}), encode_number(0)));
  TRY(metadata_->put(encode_key({ManifestTag::writer_version}), as_bytes(store::own_version())));
  TRY(commit(false));
  writing_ = true;
  return {};
}

Status Manifest::checkpoint() {
  MutexLock lock(mutex_);
  TRY(check_writable());
  TRY(poison_.watch(begin_writing_locked()));
  return poison_.watch(commit(false));
}

void Manifest::keep_unclean() {
  MutexLock lock(mutex_);
  kept_unclean_ = true;
}

Status Manifest::close() {
  MutexLock lock(mutex_);
  if (closed_) return {};
  if (!read_only_) {
    TRY(check_writable());
    TRY(poison_.watch(close_locked()));
  }
  closed_ = true;
  return {};
}

Status Manifest::close_locked() {
  if (!writing_ && !changed_) return {};
  // A store that was not clean and in which nothing was recovered or written stays not clean.
  if (!kept_unclean_ && (writing_ || was_clean_))
    TRY(metadata_->put(encode_key({ManifestTag::clean}), encode_number(1)));
  return commit(true);
}

uint64_t Manifest::floor(StoreRole role, Section section) const {
  MutexLock lock(mutex_);
  const auto found = floors_.find({role, section});
  return found == floors_.end() ? 0 : found->second;
}

std::vector<Section> Manifest::sections(StoreRole role) const {
  MutexLock lock(mutex_);
  std::vector<Section> sections;
  for (auto at = floors_.lower_bound({role, Section(0)});
       at != floors_.end() && at->first.first == role; ++at)
    sections.push_back(at->first.second);
  return sections;
}

Section Manifest::boundary(StoreRole role) const {
  MutexLock lock(mutex_);
  const auto found = boundaries_.find(role);
  return found == boundaries_.end() ? Section(0) : found->second;
}

Status Manifest::raise(StoreRole role, Section section, uint64_t size) {
  MutexLock lock(mutex_);
  TRY(check_writable());
  return poison_.watch(raise_locked({role, section}, size));
}

Status Manifest::raise_locked(FloorKey key, uint64_t size) {
  const auto boundary = boundaries_.find(key.first);
  // A sync that ended after its section was pruned has nothing to record.
  if (boundary != boundaries_.end() && key.second < boundary->second) return {};
  const auto known = floors_.find(key);
  if (size <= (known == floors_.end() ? 0 : known->second)) return {};
  TRY(begin_writing_locked());
  if (known == floors_.end()) ++new_sections_;
  floors_[key] = size;
  raised_.insert(key);
  ++raises_;
  const uint64_t new_sections_max = std::max<uint64_t>(1, floors_.size() / kSectionsPerNewSection);
  if (raises_ >= kRaisesPerCheckpoint || new_sections_ >= new_sections_max) return commit(false);
  return hints_->write({key.first, key.second, size, generation_});
}

Status Manifest::drop_floor(FloorKey key) {
  floors_.erase(key);
  return metadata_->remove(floor_key(key.first, key.second));
}

Status Manifest::lower(StoreRole role, Section section, uint64_t size) {
  MutexLock lock(mutex_);
  TRY(check_writable());
  return poison_.watch(lower_locked({role, section}, size));
}

Status Manifest::lower_locked(FloorKey key, uint64_t size) {
  TRY(begin_writing_locked());
  const auto known = floors_.find(key);
  if (known == floors_.end() || known->second <= size) return {};
  if (size == 0) {
    TRY(drop_floor(key));
  } else {
    known->second = size;
    raised_.insert(key);
  }
  TRY(new_generation());
  return commit(true);
}

Status Manifest::set_boundary(StoreRole role, Section oldest_retained) {
  MutexLock lock(mutex_);
  TRY(check_writable());
  return poison_.watch(set_boundary_locked(role, oldest_retained));
}

Status Manifest::set_boundary_locked(StoreRole role, Section oldest_retained) {
  TRY(begin_writing_locked());
  Section& boundary = boundaries_[role];
  if (oldest_retained <= boundary) return {};
  boundary = oldest_retained;
  TRY(metadata_->put(encode_key({ManifestTag::boundary, static_cast<uint32_t>(role)}),
                     encode_number(boundary.value)));
  auto at = floors_.lower_bound({role, Section(0)});
  while (at != floors_.end() && at->first < FloorKey{role, boundary}) {
    const FloorKey key = (at++)->first;
    TRY(drop_floor(key));
  }
  return commit(true);
}

Status Manifest::forget(StoreRole role, const std::vector<Section>& removed) {
  MutexLock lock(mutex_);
  TRY(check_writable());
  return poison_.watch(forget_locked(role, removed));
}

Status Manifest::forget_locked(StoreRole role, const std::vector<Section>& removed) {
  TRY(begin_writing_locked());
  bool any = false;
  for (const Section section : removed) {
    if (!floors_.contains({role, section})) continue;
    TRY(drop_floor({role, section}));
    any = true;
  }
  if (!any) return {};
  TRY(new_generation());
  return commit(true);
}

std::optional<Bytes> Manifest::record(uint32_t number) const {
  MutexLock lock(mutex_);
  const auto value = metadata_->get(encode_key({ManifestTag::record, number}));
  if (!value) return std::nullopt;
  return to_bytes(*value);
}

Status Manifest::set_record(uint32_t number, ByteSpan value) {
  MutexLock lock(mutex_);
  TRY(check_writable());
  TRY(poison_.watch(begin_writing_locked()));
  TRY(metadata_->put(encode_key({ManifestTag::record, number}), value));
  return poison_.watch(commit(false));
}

std::string Manifest::last_recovery() const {
  MutexLock lock(mutex_);
  const auto text = metadata_->get(encode_key({ManifestTag::last_recovery}));
  return text ? std::string(as_text(*text)) : std::string();
}

Status Manifest::set_last_recovery(const RecoveryReport& report) {
  MutexLock lock(mutex_);
  TRY(check_writable());
  if (report.empty()) return {};
  changed_ = true;
  return metadata_->put(encode_key({ManifestTag::last_recovery}),
                        as_bytes(store::describe_recovery(report, generation_)));
}

Status Manifest::record_recovery(const RecoveryReport& report) {
  TRY(set_last_recovery(report));
  MutexLock lock(mutex_);
  return poison_.watch(writing_ ? commit(false) : begin_writing_locked());
}

}  // namespace firn
