// SPDX-License-Identifier: Apache-2.0
//
// Manifest::RoleFloors: the floors of one role, as journals see them.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "firn/store/manifest.h"

namespace firn {

class Manifest::RoleFloors : public Floors {
 public:
  RoleFloors(Manifest& manifest, StoreRole role) : manifest_(manifest), role_(role) {}

  [[nodiscard]] uint64_t floor(Section section) const override {
    return manifest_.floor(role_, section);
  }
  [[nodiscard]] std::vector<Section> sections() const override { return manifest_.sections(role_); }
  [[nodiscard]] Section boundary() const override { return manifest_.boundary(role_); }
  [[nodiscard]] bool was_clean() const override { return manifest_.was_clean(); }
  [[nodiscard]] bool pinned() const override { return manifest_.pinned(); }
  [[nodiscard]] Result<Section> reload_boundary() override {
    TRY(manifest_.reload_boundaries());
    return boundary();
  }
  [[nodiscard]] Result<std::unique_ptr<StorageLock>> exclude_followers() override {
    return manifest_.exclude_followers();
  }
  Status begin_writing() override { return manifest_.begin_writing(); }
  Status raise(Section section, uint64_t size) override {
    return manifest_.raise(role_, section, size);
  }
  Status lower(Section section, uint64_t size) override {
    return manifest_.lower(role_, section, size);
  }
  Status set_boundary(Section oldest_retained) override {
    return manifest_.set_boundary(role_, oldest_retained);
  }
  Status forget(std::vector<Section> removed) override { return manifest_.forget(role_, removed); }
  void keep_unclean() override { manifest_.keep_unclean(); }

 private:
  Manifest& manifest_;
  const StoreRole role_;
};

}  // namespace firn
