// SPDX-License-Identifier: Apache-2.0
//
// PosixFile: a File over a descriptor. While a long stream is appended, the kernel is asked to
// start writing it out, so that a sync does not find all of it still in memory.
#pragma once

#include <atomic>
#include <string>

#include "firn/io/file_system.h"
#include "firn/io/posix_support.h"

namespace firn::io {

class PosixFile final : public File {
 public:
  // `what` names the file in messages. The first sync of a new file settles all of its metadata.
  // Without `may_map`, map() answers null.
  PosixFile(Descriptor descriptor, std::string what, bool is_new, bool may_map)
      : descriptor_(std::move(descriptor)),
        what_(std::move(what)),
        may_map_(may_map),
        sync_metadata_(is_new) {}

  [[nodiscard]] Result<uint64_t> size() override;
  [[nodiscard]] Status read_at(uint64_t offset, MutableByteSpan out) override;
  [[nodiscard]] Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override;
  [[nodiscard]] Status resize(uint64_t size) override;
  [[nodiscard]] Status sync() override;
  [[nodiscard]] Result<std::unique_ptr<Mapping>> map(uint64_t size) override;

 private:
  [[nodiscard]] Status write_out_stream(uint64_t offset, uint64_t end);

  const Descriptor descriptor_;
  const std::string what_;
  const bool may_map_;
  // Set by creation and resize: the next sync is an fsync, as fdatasync after those is what some
  // file systems got wrong. Plain appends need the file's data and size only.
  std::atomic<bool> sync_metadata_;
  // The writer's: the end of its last write, and up to where that stream is being written out.
  uint64_t stream_end_ = 0;
  uint64_t written_out_ = 0;
};

}  // namespace firn::io
