// SPDX-License-Identifier: Apache-2.0
//
// The storage conformance suite on FileStorage over the simulated device, as it is and with a
// power cut at every reopening: whatever the suite expects to be there was durable.
#include <memory>
#include <string>

#include "firn/io/file_storage.h"
#include "testkit/simulated_file_system.h"
#include "testkit/storage_conformance.h"

namespace firn::testkit {
namespace {

class SimulatedStorageUnderTest : public StorageUnderTest {
 public:
  explicit SimulatedStorageUnderTest(bool cut_power) : cut_power_(cut_power) {}

  [[nodiscard]] Storage& storage() override { return *storage_; }
  void reopen() override {
    storage_.reset();
    if (cut_power_) disk_.cut_power(SurvivorPlan::none());
    storage_ = std::make_unique<FileStorage>(disk_);
  }
  [[nodiscard]] Bytes raw(std::string_view partition, ByteSpan name) override {
    return disk_.read_raw(partition, to_hex(name));
  }
  void set_raw(std::string_view partition, ByteSpan name, ByteSpan content) override {
    disk_.write_raw(partition, to_hex(name), to_bytes(content));
  }

 private:
  bool cut_power_;
  SimulatedFileSystem disk_;
  std::unique_ptr<Storage> storage_ = std::make_unique<FileStorage>(disk_);
};

[[maybe_unused]] const auto kRegistered =
    register_storage_conformance("SimulatedStorageConformance",
                                 [] { return std::make_unique<SimulatedStorageUnderTest>(false); });
[[maybe_unused]] const auto kRegisteredWithPowerCuts =
    register_storage_conformance("SimulatedStorageConformanceWithPowerCuts",
                                 [] { return std::make_unique<SimulatedStorageUnderTest>(true); });

}  // namespace
}  // namespace firn::testkit
