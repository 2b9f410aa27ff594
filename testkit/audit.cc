// SPDX-License-Identifier: Apache-2.0
#include "testkit/audit.h"

#include <algorithm>

#include "firn/base/endian.h"

namespace firn::testkit {
namespace {

void add_field(Sha256& sha256, ByteSpan field) {
  std::byte size[sizeof(uint64_t)];
  store_big_endian(size, static_cast<uint64_t>(field.size()));
  sha256.add(size);
  sha256.add(field);
}

}  // namespace

Sha256Digest audit(const MemoryStorage& storage, std::span<const std::string_view> left_out) {
  Sha256 sha256;
  storage.for_each_durable([&](std::string_view partition, ByteSpan name, ByteSpan content) {
    if (std::ranges::find(left_out, partition) != left_out.end()) return;
    sha256.add(as_bytes(partition));
    sha256.add(name);
    sha256.add(content);
  });
  return sha256.finish();
}

Sha256Digest audit_2026_7(const MemoryStorage& storage,
                          std::span<const std::string_view> left_out) {
  Sha256 sha256;
  add_field(sha256, as_bytes("commonware-runtime-storage-audit-v1"));
  storage.for_each_durable([&](std::string_view partition, ByteSpan name, ByteSpan content) {
    if (std::ranges::find(left_out, partition) != left_out.end()) return;
    add_field(sha256, as_bytes("partition"));
    add_field(sha256, as_bytes(partition));
    add_field(sha256, as_bytes("blob"));
    add_field(sha256, name);
    add_field(sha256, as_bytes("content"));
    add_field(sha256, content);
  });
  return sha256.finish();
}

}  // namespace firn::testkit
