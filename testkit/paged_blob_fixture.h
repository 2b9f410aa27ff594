// SPDX-License-Identifier: Apache-2.0
//
// For the tests of PagedBlob: a fixture over MemoryStorage, and a Blob that records what is written
// to it and can be told to fail.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/bytes.h"
#include "firn/io/memory_storage.h"
#include "firn/io/page_cache.h"
#include "firn/io/paged_blob.h"
#include "firn/io/recovery_report.h"
#include "testkit/forwarding_storage.h"
#include "testkit/matchers.h"

namespace firn::testkit {

// Text in which no two pages are alike.
inline std::string letters(size_t count, size_t seed = 0) {
  std::string text;
  for (size_t i = 0; i < count; ++i)
    text += static_cast<char>('a' + (i * 7 + i / 26 + seed) % 26);
  return text;
}

struct BlobOperation {
  enum class Kind : uint8_t { write, resize, sync } kind = Kind::write;
  uint64_t offset = 0;  // of a write; the new size of a resize
  Bytes bytes;
};

// Shared by a test and its RecordedBlobs.
struct BlobRecord {
  std::vector<BlobOperation> operations;
  size_t operations_until_failure = SIZE_MAX;  // later ones fail as well
  std::atomic<size_t> reads = 0;
  std::function<void()> after_next_read;  // called once, when the bytes were read

  [[nodiscard]] Status admit(BlobOperation operation) {
    if (operations_until_failure == 0) return fail(Errc::io, "the test made this operation fail");
    --operations_until_failure;
    operations.push_back(std::move(operation));
    return {};
  }
};

class RecordedBlob : public ForwardingBlob {
 public:
  RecordedBlob(std::unique_ptr<Blob> inner, BlobRecord& record)
      : ForwardingBlob(std::move(inner)), record_(record) {}

  [[nodiscard]] Status read_at(uint64_t offset, MutableByteSpan out) override {
    ++record_.reads;
    Status read = ForwardingBlob::read_at(offset, out);
    if (record_.after_next_read) std::exchange(record_.after_next_read, nullptr)();
    return read;
  }
  [[nodiscard]] Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override {
    Bytes joined;
    for (const ByteSpan buffer : buffers)
      joined.insert(joined.end(), buffer.begin(), buffer.end());
    TRY(record_.admit({BlobOperation::Kind::write, offset, std::move(joined)}));
    return ForwardingBlob::write_at(offset, buffers);
  }
  using Blob::write_at;
  [[nodiscard]] Status resize(uint64_t size) override {
    TRY(record_.admit({BlobOperation::Kind::resize, size, {}}));
    return ForwardingBlob::resize(size);
  }
  [[nodiscard]] Status sync() override {
    TRY(record_.admit({BlobOperation::Kind::sync, 0, {}}));
    return ForwardingBlob::sync();
  }

 private:
  BlobRecord& record_;
};

struct OpenSettings {
  std::optional<uint64_t> floor = std::nullopt;
  uint32_t page_size = 16;
  uint32_t record_size = 1;
  size_t write_buffer_bytes = 0;
  bool read_only = false;
};

// One paged blob "p/6e616d65" in memory.
class PagedBlobTest : public testing::Test {
 protected:
  [[nodiscard]] Result<std::unique_ptr<PagedBlob>> open(OpenSettings settings = {}) {
    auto blob = storage_.open("p", name_, OpenMode::create);
    if (!blob) return pass_on(blob);
    PagedBlobOptions options;
    options.partition = "p";
    options.blob_name = to_hex(name_);
    options.page_size = settings.page_size;
    options.write_buffer_bytes = settings.write_buffer_bytes;
    options.cache = &cache_;
    options.cache_id = cache_.new_blob_id();
    options.floor = settings.floor;
    options.record_size = settings.record_size;
    recovery_ = std::make_unique<RecoveryLog>(storage_, settings.read_only);
    return PagedBlob::open(std::make_unique<RecordedBlob>(std::move(*blob), record_), options,
                           *recovery_);
  }

  [[nodiscard]] const RecoveryReport& report() const { return recovery_->report(); }

  [[nodiscard]] Bytes raw() const { return storage_.raw("p", name_).value_or(Bytes()); }
  void set_raw(Bytes content) { storage_.set_raw("p", name_, std::move(content)); }
  [[nodiscard]] size_t physical_size() const { return raw().size() - 8; }
  // Flips bits of one byte, addressed after the header.
  void damage(size_t offset, std::byte mask = std::byte{0xff}) {
    Bytes content = raw();
    content.at(8 + offset) ^= mask;
    set_raw(std::move(content));
  }

  [[nodiscard]] static std::string text_of(const PagedBlob& paged) {
    Bytes bytes(paged.size());
    const Status read = paged.read_at(0, bytes);
    return read ? std::string(as_text(bytes)) : "failed: " + read.error().message;
  }

  const Bytes name_ = to_bytes(as_bytes("name"));
  MemoryStorage storage_;
  PageCache cache_{size_t{64} * 1024};
  BlobRecord record_;
  std::unique_ptr<RecoveryLog> recovery_;
};

}  // namespace firn::testkit
