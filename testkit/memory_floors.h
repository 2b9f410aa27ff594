// SPDX-License-Identifier: Apache-2.0
//
// MemoryFloors: Floors that a test holds in its hand. They survive the journal that uses them, as a
// manifest does, and tell an observer what is recorded, so that tests can check the order of calls.
//
//   MemoryFloors floors;
//   floors.on_change = [&](std::string change) { storage.note_event(std::move(change)); };
//
// Threads: one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/text.h"
#include "firn/journal/floors.h"

namespace firn::testkit {

class MemoryFloors : public Floors {
 public:
  // Called after each change: "begin", "raise 1 20", "lower 1 0", "boundary 3", "forget 4 5".
  std::function<void(std::string)> on_change;

  [[nodiscard]] uint64_t floor(Section section) const override {
    const auto found = floors_.find(section);
    return found == floors_.end() ? 0 : found->second;
  }
  [[nodiscard]] std::vector<Section> sections() const override {
    std::vector<Section> all;
    for (const auto& [section, size] : floors_)
      all.push_back(section);
    return all;
  }
  [[nodiscard]] Section boundary() const override { return boundary_; }
  [[nodiscard]] bool was_clean() const override { return clean_; }
  [[nodiscard]] bool pinned() const override { return pinned_; }
  [[nodiscard]] Result<Section> reload_boundary() override {
    return std::max(boundary_, pruned_elsewhere_);
  }
  [[nodiscard]] Result<std::unique_ptr<StorageLock>> exclude_followers() override {
    return std::unique_ptr<StorageLock>();
  }

  // For a reader: from now on sections end at their floors.
  void pin() { pinned_ = true; }
  // For a reader: what the writer has set since these floors were read.
  void prune_elsewhere(Section oldest_retained) { pruned_elsewhere_ = oldest_retained; }

  // What closing the store does, after the journals are closed.
  void mark_clean() { clean_ = true; }
  // Whether a journal asked for no clean mark.
  [[nodiscard]] bool is_kept_unclean() const { return kept_unclean_; }
  // Plants a floor, as if a sync had been recorded.
  void plant(Section section, uint64_t size) { floors_[section] = size; }

  [[nodiscard]] Status begin_writing() override {
    if (!clean_ && begun_) return {};
    clean_ = false;
    begun_ = true;
    return changed("begin");
  }
  [[nodiscard]] Status raise(Section section, uint64_t size) override {
    if (section < boundary_ || size <= floor(section)) return {};
    floors_[section] = size;
    return changed(concat("raise ", section, " ", size));
  }
  [[nodiscard]] Status lower(Section section, uint64_t size) override {
    if (size >= floor(section)) return {};
    if (size == 0)
      floors_.erase(section);
    else
      floors_[section] = size;
    return changed(concat("lower ", section, " ", size));
  }
  [[nodiscard]] Status set_boundary(Section oldest_retained) override {
    boundary_ = std::max(boundary_, oldest_retained);
    floors_.erase(floors_.begin(), floors_.lower_bound(boundary_));
    return changed(concat("boundary ", boundary_));
  }
  [[nodiscard]] Status forget(std::vector<Section> removed) override {
    std::string change = "forget";
    for (const Section section : removed) {
      floors_.erase(section);
      change += concat(" ", section);
    }
    return changed(std::move(change));
  }
  void keep_unclean() override { kept_unclean_ = true; }

 private:
  Status changed(std::string change) {
    clean_ = false;
    if (on_change) on_change(std::move(change));
    return {};
  }

  std::map<Section, uint64_t> floors_;
  Section boundary_;
  Section pruned_elsewhere_;
  bool pinned_ = false;
  bool clean_ = false;
  bool begun_ = false;
  bool kept_unclean_ = false;
};

}  // namespace firn::testkit
