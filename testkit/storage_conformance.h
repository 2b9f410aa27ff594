// SPDX-License-Identifier: Apache-2.0
//
// The tests that every backend of Storage must pass: one suite, registered once for each backend.
//
//   class MyStorageUnderTest : public StorageUnderTest { ... };
//   const auto registered = register_storage_conformance(
//       "MyStorageConformance", [] { return std::make_unique<MyStorageUnderTest>(); });
//
// Each case gets a new, empty storage.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "firn/base/bytes.h"
#include "firn/io/storage.h"

namespace firn::testkit {

class StorageUnderTest {
 public:
  virtual ~StorageUnderTest() = default;

  [[nodiscard]] virtual Storage& storage() = 0;
  // Closes the storage and opens the same store again. No handle is open when it is called.
  virtual void reopen() = 0;
  // The bytes of a blob's file, header included. The blob exists.
  [[nodiscard]] virtual Bytes raw(std::string_view partition, ByteSpan name) = 0;
  // Replaces them, durably. The blob exists, no handle is open.
  virtual void set_raw(std::string_view partition, ByteSpan name, ByteSpan content) = 0;
};

using MakeStorageUnderTest = std::function<std::unique_ptr<StorageUnderTest>()>;

struct StorageConformanceRegistered {};

// Call it before the tests run; the initialiser of a constant at namespace scope is a good place.
StorageConformanceRegistered register_storage_conformance(const std::string& suite_name,
                                                          const MakeStorageUnderTest& make);

}  // namespace firn::testkit
