// SPDX-License-Identifier: Apache-2.0
//
// Value: bytes that were read, with whatever keeps them alive: memory of their own, or a pin on a
// mapping that several values share. Cheap to move, not copyable.
#pragma once

#include <memory>
#include <utility>

#include "firn/base/bytes.h"

namespace firn {

class Value {
 public:
  Value() = default;
  // Owns `memory` and shows [offset, offset + size) of it.
  Value(Buffer memory, size_t offset, size_t size)
      : memory_(std::move(memory)), bytes_(memory_.bytes().subspan(offset, size)) {}
  // Shows `bytes`, which live at least as long as `pin`.
  Value(std::shared_ptr<const void> pin, ByteSpan bytes) : pin_(std::move(pin)), bytes_(bytes) {}

  Value(Value&&) noexcept = default;
  Value& operator=(Value&&) noexcept = default;

  [[nodiscard]] ByteSpan bytes() const { return bytes_; }
  [[nodiscard]] size_t size() const { return bytes_.size(); }

  // Drops bytes from the front: for encodings that prefix the payload.
  void remove_prefix(size_t size) { bytes_ = bytes_.subspan(size); }
  void remove_suffix(size_t size) { bytes_ = bytes_.first(bytes_.size() - size); }

 private:
  Buffer memory_;  // moving it does not move the bytes
  std::shared_ptr<const void> pin_;
  ByteSpan bytes_;
};

}  // namespace firn
