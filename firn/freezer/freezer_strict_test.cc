// SPDX-License-Identifier: Apache-2.0
//
// Freezer: a strict open serves all of a store, or refuses it and changes nothing.
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/freezer/freezer_test_support.h"
#include "firn/journal/section_name.h"

namespace firn {
namespace {

using freezer::put;
using freezer::Store;
using testkit::FailsWith;

constexpr uint64_t kStrictKeys = 12;

class StrictFreezer : public freezer::EveryEngine {
 protected:
  [[nodiscard]] FreezerOptions strict() const {
    FreezerOptions options = this->options();
    options.section_target_bytes = 16;
    options.strict = true;
    return options;
  }

  // All partitions but the lost-found, which a look may not touch either.
  [[nodiscard]] std::map<std::pair<std::string, Bytes>, Bytes> files() {
    std::map<std::pair<std::string, Bytes>, Bytes> all;
    for (const std::string& partition : partitions())
      for (const Bytes& name : blobs(partition))
        all[{partition, name}] = *storage_.raw(partition, name);
    return all;
  }
  [[nodiscard]] std::vector<std::string> partitions() { return storage_.partitions().value(); }
  [[nodiscard]] std::vector<Bytes> blobs(const std::string& partition) {
    return storage_.scan(partition).value();
  }
  [[nodiscard]] Bytes last_section() { return blobs("index").back(); }
  void change(const std::string& partition, const Bytes& name,
              const std::function<void(Bytes&)>& edit) {
    Bytes file = storage_.raw(partition, name).value_or(Bytes());
    edit(file);
    storage_.set_raw(partition, name, std::move(file));
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, StrictFreezer, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

TEST_P(StrictFreezer, WhenAnUndamagedStoreIsOpened_ThenItServesAndIsWritten) {
  for (uint64_t i = 0; i < kStrictKeys; ++i) {
    if (i > 0) {
      FreezerOptions reading = strict();
      reading.access = FreezerAccess::read_only;
      ASSERT_OK_INTO(const Store reader, Freezer::open(storage_, reading));
      freezer::expect_range(reader, 0, i);
    }
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, strict()));
    freezer::expect_range(freezer, 0, i);
    freezer::put_range(freezer, i, i + 1);
    // Killed after a sync, or closed.
    if (i % 2 == 0)
      ASSERT_OK(freezer->sync());
    else
      ASSERT_OK(freezer->close());
  }
}

TEST_P(StrictFreezer, GivenAClosedStoreWithoutItsTable_WhenOpened_ThenTheTableIsMadeAnew) {
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, strict()));
    freezer::put_range(freezer, 0, kStrictKeys);
    ASSERT_OK(freezer->close());
  }
  ASSERT_OK(storage_.remove_partition("table"));

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, strict()));
  freezer::expect_range(freezer, 0, kStrictKeys);
}

TEST_P(StrictFreezer, WhenSomethingIsDamagedOrMustBeCut_ThenItIsRefusedAndNothingChanges) {
  const Bytes first = journal::section_name(Section(0));
  const auto flip_last = [](Bytes& file) { file.back() ^= std::byte{1}; };
  const auto tear = [](Bytes& file) { file.push_back(std::byte{1}); };
  const std::vector<std::pair<std::string, std::function<void()>>> changes = {
      {"a flipped bit of a key",
       [&] { change("index", first, [](Bytes& file) { file[9] ^= std::byte{1}; }); }},
      {"a torn page", [&] { change("index", last_section(), tear); }},
      {"a torn value", [&] { change("values", last_section(), tear); }},
      {"a torn value beside hints without a header",
       [&] {
         change("values", last_section(), tear);
         change("manifest", to_bytes(as_bytes("floors")), [](Bytes& file) { file.clear(); });
       }},
      {"a copy of the manifest",
       [&] { change("manifest", to_bytes(as_bytes("left")), flip_last); }}};
  for (const auto& [name, damage] : changes) {
    for (const bool is_closed : {false, true}) {
      SCOPED_TRACE(testing::Message() << name << ", closed " << is_closed);
      for (const std::string& partition : partitions())
        ASSERT_OK(storage_.remove_partition(partition));
      {
        ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, strict()));
        freezer::put_range(freezer, 0, kStrictKeys);
        if (is_closed)
          ASSERT_OK(freezer->close());
        else
          ASSERT_OK(freezer->sync());
      }
      damage();
      const auto before = files();

      for (const FreezerAccess access : {FreezerAccess::write, FreezerAccess::read_only}) {
        FreezerOptions options = strict();
        options.access = access;
        EXPECT_THAT(Freezer::open(storage_, options), FailsWith(Errc::corrupt));
        EXPECT_EQ(files(), before);
      }
    }
  }
}

}  // namespace
}  // namespace firn
