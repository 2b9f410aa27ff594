// SPDX-License-Identifier: Apache-2.0
//
// The conformance suite on the backends of this folder.
#include "testkit/storage_conformance.h"

#include <fstream>
#include <iterator>

#include "firn/io/memory_storage.h"
#include "firn/io/posix_storage.h"
#include "testkit/matchers.h"
#include "testkit/temporary_directory.h"

namespace firn::testkit {
namespace {

class PosixStorageUnderTest : public StorageUnderTest {
 public:
  PosixStorageUnderTest() { reopen(); }

  [[nodiscard]] Storage& storage() override { return *storage_; }
  void reopen() override {
    storage_.reset();
    auto opened = open_posix_storage(directory_ / "store", {.create = true});
    ASSERT_OK(opened);
    storage_ = std::move(*opened);
  }
  [[nodiscard]] Bytes raw(std::string_view partition, ByteSpan name) override {
    std::ifstream file(path_of(partition, name), std::ios::binary);
    EXPECT_TRUE(file.is_open());
    const std::string content(std::istreambuf_iterator<char>(file), {});
    return to_bytes(as_bytes(content));
  }
  void set_raw(std::string_view partition, ByteSpan name, ByteSpan content) override {
    std::ofstream file(path_of(partition, name), std::ios::binary | std::ios::trunc);
    file << as_text(content);
    ASSERT_TRUE(file.flush());
  }

 private:
  [[nodiscard]] std::string path_of(std::string_view partition, ByteSpan name) const {
    return (directory_ / "store/") + std::string(partition) + "/" + to_hex(name);
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Storage> storage_;
};

class MemoryStorageUnderTest : public StorageUnderTest {
 public:
  [[nodiscard]] Storage& storage() override { return storage_; }
  void reopen() override { storage_.lose_unsynced(); }
  [[nodiscard]] Bytes raw(std::string_view partition, ByteSpan name) override {
    const auto content = storage_.raw(partition, name);
    EXPECT_TRUE(content);
    return content.value_or(Bytes());
  }
  void set_raw(std::string_view partition, ByteSpan name, ByteSpan content) override {
    storage_.set_raw(partition, name, to_bytes(content));
  }

 private:
  MemoryStorage storage_;
};

[[maybe_unused]] const auto kPosixRegistered = register_storage_conformance(
    "PosixStorageConformance", [] { return std::make_unique<PosixStorageUnderTest>(); });
[[maybe_unused]] const auto kMemoryRegistered = register_storage_conformance(
    "MemoryStorageConformance", [] { return std::make_unique<MemoryStorageUnderTest>(); });

}  // namespace
}  // namespace firn::testkit
