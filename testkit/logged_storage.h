// SPDX-License-Identifier: Apache-2.0
//
// LoggedStorage: wraps a Storage, writes down what changes it, and can fail at the n-th change.
// For tests of order ("the manifest is durable before ..."), of cost, and of failed writes.
//
//   LoggedStorage storage(memory);
//   ... storage.log() -> {"create state/left", "write state/right 0+18", "sync state/right"}
//
// Threads: one, unless the log is not looked at.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "testkit/forwarding_storage.h"

namespace firn::testkit {

class LoggedStorage : public ForwardingStorage {
 public:
  using ForwardingStorage::ForwardingStorage;

  [[nodiscard]] const std::vector<std::string>& log() const { return log_; }
  [[nodiscard]] uint64_t written_bytes() const { return written_bytes_; }
  [[nodiscard]] uint64_t changes() const { return changes_; }
  // Entries of the log that start with `prefix`.
  [[nodiscard]] size_t count(std::string_view prefix) const;
  void clear_log() { log_.clear(); }
  // Adds an entry of the test's own, such as a call that does not go through storage.
  void note_event(std::string event) { log_.push_back(std::move(event)); }

  // The change with this number (from 0, since this call) fails with Errc::io and does not happen;
  // so do all later ones if `and_later`.
  void fail_change(uint64_t number, bool and_later = false);

  Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name, OpenMode mode,
                                     BlobVersions versions = {}) override;
  Status remove(std::string_view partition, std::span<const Bytes> names) override;
  Status remove_partition(std::string_view partition) override;

 private:
  class LoggedBlob;
  std::unique_ptr<Blob> wrap(std::unique_ptr<Blob> blob, std::string_view partition,
                             ByteSpan name) override;
  Status note(std::string entry);

  std::vector<std::string> log_;
  uint64_t written_bytes_ = 0;
  uint64_t changes_ = 0;
  std::optional<uint64_t> failing_change_;
  bool and_later_ = false;
};

}  // namespace firn::testkit
