// SPDX-License-Identifier: Apache-2.0
//
// Every rule of the simulated device, one test each; the rules are in simulated_file_system.h.
#include "testkit/simulated_file_system.h"

#include <algorithm>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testkit/matchers.h"

namespace firn::testkit {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

Status write_text(File& file, uint64_t offset, std::string_view text) {
  const ByteSpan bytes = as_bytes(text);
  return file.write_at(offset, std::span(&bytes, 1));
}

std::string raw_text(const SimulatedFileSystem& disk, std::string_view name) {
  return std::string(as_text(disk.read_raw("data", name)));
}

Status create_synced(SimulatedFileSystem& disk, std::string_view name, std::string_view text) {
  TRY(disk.make_directory("data"));
  TRY(disk.sync_directory(""));
  TRY_INTO(const auto file, disk.open("data", name, FileMode::create_exclusive));
  TRY(write_text(*file, 0, text));
  TRY(file->sync());
  return disk.sync_directory("data");
}

// All contents of file "a" that power cuts of this state can leave; "-" where it is gone.
std::set<std::string> outcomes(SimulatedFileSystem& disk, size_t exhaustive_limit = 12) {
  std::set<std::string> found;
  for (const SurvivorPlan& plan : survivor_plans(disk.pending_items().size(), exhaustive_limit)) {
    const auto branch = disk.clone();
    branch->cut_power(plan);
    found.insert(branch->has_raw("data", "a") ? raw_text(*branch, "a") : "-");
  }
  return found;
}

class SimulatedDisk : public ::testing::Test {
 protected:
  // A durable file "a" in a durable directory, open for writing.
  void open_a(std::string_view text) {
    ASSERT_OK(create_synced(disk, "a", text));
    ASSERT_OK_INTO(a, disk.open("data", "a", FileMode::read_write));
  }

  SimulatedFileSystem disk;
  std::unique_ptr<File> a;
};

TEST_F(SimulatedDisk, GivenNoFaults_WhenFilesAreUsed_ThenItBehavesAsAFileSystem) {
  open_a("hello");

  ASSERT_OK(write_text(*a, 7, "there"));
  Bytes read(12);
  ASSERT_OK(a->read_at(0, read));

  EXPECT_EQ(as_text(read), std::string_view("hello\0\0there", 12));
  EXPECT_EQ(*a->size(), 12u);
  EXPECT_THAT(a->read_at(8, read), FailsWith(Errc::out_of_range));
  EXPECT_THAT(disk.open("data", "b", FileMode::read_only), FailsWith(Errc::not_found));
  EXPECT_THAT(disk.open("data", "a", FileMode::create_exclusive),
              FailsWith(Errc::invalid_argument));
  EXPECT_THAT(disk.list("nowhere"), FailsWith(Errc::not_found));
  ASSERT_OK_INTO(const auto root, disk.list(""));
  ASSERT_EQ(root.size(), 1u);
  EXPECT_EQ(root[0].kind, DirectoryEntry::Kind::directory);
  EXPECT_THAT(disk.remove_directory("data"), FailsWith(Errc::io, "not empty"));
  EXPECT_OK(disk.remove_file("data", "a"));
  EXPECT_OK(a->read_at(0, read));
  EXPECT_OK(disk.remove_directory("data"));
}

TEST_F(SimulatedDisk, D1_GivenAWriteOverThreeSectors_WhenPowerIsCut_ThenEachSectorIsOnItsOwn) {
  open_a(std::string(1536, 'o'));
  ASSERT_OK(write_text(*a, 500, std::string(600, 'n')));

  const std::vector<PendingItem> items = disk.pending_items();
  const std::set<std::string> found = outcomes(disk);

  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[0].size, 12u);
  EXPECT_EQ(items[1].size, 512u);
  EXPECT_EQ(items[2].size, 76u);
  EXPECT_EQ(found.size(), 8u);
}

TEST_F(SimulatedDisk, D1_GivenAWrite_WhenPowerIsCutAtRandom_ThenSectorsAreTornAndHoldGarbage) {
  open_a(std::string(512, 'o'));
  ASSERT_OK(write_text(*a, 100, std::string(300, 'n')));
  bool front = false;
  bool back = false;
  bool mixed = false;
  bool garbage = false;

  for (uint64_t seed = 0; seed < 400; ++seed) {
    const auto branch = disk.clone();
    branch->cut_power(SurvivorPlan::random(seed));
    const std::string text = raw_text(*branch, "a");
    ASSERT_EQ(text.substr(0, 100), std::string(100, 'o')) << "SEED=" << seed;
    ASSERT_EQ(text.substr(400), std::string(112, 'o')) << "SEED=" << seed;
    front |= text[100] == 'n' && text[399] == 'o';
    back |= text[100] == 'o' && text[399] == 'n';
    const bool is_garbage = text.find_first_not_of("no") != std::string::npos;
    mixed |= !is_garbage && text.find("nono") != std::string::npos;
    garbage |= is_garbage;
  }

  EXPECT_TRUE(front);
  EXPECT_TRUE(back);
  EXPECT_TRUE(mixed);
  EXPECT_TRUE(garbage);
}

TEST_F(SimulatedDisk, D2_GivenOverlappingWrites_WhenPowerIsCut_ThenAnOlderOneNeverCoversANewer) {
  open_a("oooo");
  ASSERT_OK(write_text(*a, 0, "111"));
  ASSERT_OK(write_text(*a, 1, "222"));

  EXPECT_THAT(outcomes(disk), ElementsAre("111o", "1222", "o222", "oooo"));
}

TEST_F(SimulatedDisk, D3_GivenAppends_WhenPowerIsCut_ThenTheLengthIsIndependentOfTheData) {
  open_a("oo");
  ASSERT_OK(write_text(*a, 2, "11"));
  ASSERT_OK(write_text(*a, 4, "22"));

  const std::set<std::string> found = outcomes(disk);

  using namespace std::string_literals;
  EXPECT_THAT(found, ElementsAre("oo"s, "oo\0\0"s, "oo\0\0\0\0"s, std::string("oo\0\0\x32\x32", 6),
                                 "oo11"s, "oo11\0\0"s, "oo1122"s));
}

TEST_F(SimulatedDisk, D4_GivenATruncationAndAWrite_WhenPowerIsCut_ThenEachMayBeLostAlone) {
  open_a("oooooo");
  ASSERT_OK(a->resize(2));
  ASSERT_OK(write_text(*a, 3, "n"));

  const std::set<std::string> found = outcomes(disk);

  using namespace std::string_literals;
  // Items: the truncation, the data, the length 4 that the write gave the file.
  EXPECT_THAT(found,
              ElementsAre("oo"s, "oo\0\0"s, "oo\0n"s, "ooon"s, "ooonoo"s, "oooo"s, "oooooo"s));
}

TEST_F(SimulatedDisk, D5_GivenUnsyncedEntries_WhenPowerIsCut_ThenEachSurvivesOnItsOwn) {
  ASSERT_OK(create_synced(disk, "a", "a"));
  ASSERT_OK(disk.remove_file("data", "a"));
  ASSERT_OK_INTO(const auto b, disk.open("data", "b", FileMode::create_exclusive));
  ASSERT_OK(b->sync());
  std::set<std::vector<SimulatedFileSystem::FileName>> found;

  for (const SurvivorPlan& plan : survivor_plans(disk.pending_items().size())) {
    const auto branch = disk.clone();
    branch->cut_power(plan);
    found.insert(branch->raw_files());
  }

  EXPECT_THAT(found, ElementsAre(ElementsAre(), ElementsAre(Pair("data", "a")),
                                 ElementsAre(Pair("data", "a"), Pair("data", "b")),
                                 ElementsAre(Pair("data", "b"))));
}

TEST_F(SimulatedDisk, D5_GivenASyncedFileInAnUnsyncedDirectory_WhenPowerIsCut_ThenItIsGone) {
  ASSERT_OK(disk.make_directory("data"));
  ASSERT_OK_INTO(a, disk.open("data", "a", FileMode::create_exclusive));
  ASSERT_OK(write_text(*a, 0, "text"));
  ASSERT_OK(a->sync());
  ASSERT_OK(disk.sync_directory("data"));

  disk.cut_power(SurvivorPlan::none());

  EXPECT_THAT(disk.list("data"), FailsWith(Errc::not_found));
}

TEST_F(SimulatedDisk, D5_GivenAFileReplacedUnderItsName_WhenTheUnlinkIsLost_ThenTheOldOneIsBack) {
  open_a("old");
  ASSERT_OK(disk.remove_file("data", "a"));
  ASSERT_OK_INTO(a, disk.open("data", "a", FileMode::create_exclusive));
  ASSERT_OK(write_text(*a, 0, "new"));
  ASSERT_OK(a->sync());

  EXPECT_THAT(outcomes(disk), ElementsAre("-", "new", "old"));
}

TEST_F(SimulatedDisk, D5_GivenARemovedDirectory_WhenOnlyItsRemovalIsLost_ThenItIsBackAndEmpty) {
  open_a("text");
  ASSERT_OK(disk.remove_file("data", "a"));
  ASSERT_OK(disk.remove_directory("data"));
  const auto branch = disk.clone();

  disk.cut_power(SurvivorPlan::only(0));
  branch->cut_power(SurvivorPlan::only(1));

  ASSERT_OK_INTO(const auto entries, disk.list("data"));
  EXPECT_TRUE(entries.empty());
  EXPECT_THAT(branch->list("data"), FailsWith(Errc::not_found));
}

TEST_F(SimulatedDisk, D6_GivenASyncedFile_WhenPowerIsCut_ThenOnlyThatFileIsSettled) {
  open_a("oo");
  ASSERT_OK(create_synced(disk, "b", "oo"));
  ASSERT_OK_INTO(const auto b, disk.open("data", "b", FileMode::read_write));
  ASSERT_OK(write_text(*a, 0, "nnn"));
  ASSERT_OK(write_text(*b, 0, "nnn"));
  ASSERT_OK(a->sync());

  disk.cut_power(SurvivorPlan::none());

  EXPECT_EQ(raw_text(disk, "a"), "nnn");
  EXPECT_EQ(raw_text(disk, "b"), "oo");
}

TEST_F(SimulatedDisk, D6_GivenASyncedDirectory_WhenPowerIsCut_ThenItsEntriesAreThereWithoutData) {
  ASSERT_OK(disk.make_directory("data"));
  ASSERT_OK(disk.sync_directory(""));
  ASSERT_OK_INTO(a, disk.open("data", "a", FileMode::create_exclusive));
  ASSERT_OK(write_text(*a, 0, "text"));
  ASSERT_OK(disk.sync_directory("data"));

  disk.cut_power(SurvivorPlan::none());

  EXPECT_EQ(raw_text(disk, "a"), "");
}

TEST_F(SimulatedDisk, D7_GivenAFailedSync_WhenSyncedAgain_ThenReadsSeeGhostsThatAPowerCutTakes) {
  open_a("oooo");
  bool ghost_found = false;

  for (uint64_t seed = 0; seed < 40; ++seed) {
    const auto branch = disk.clone();
    ASSERT_OK_INTO(const auto file, branch->open("data", "a", FileMode::read_write));
    ASSERT_OK(write_text(*file, 0, "nn"));
    branch->set_faults({.failures = {{.call = branch->call_count() + 1}}, .seed = seed});
    ASSERT_THAT(file->sync(), FailsWith(Errc::io));
    ASSERT_OK(write_text(*file, 3, "n"));
    ASSERT_OK(file->sync());
    EXPECT_EQ(raw_text(*branch, "a"), "nnon");
    EXPECT_TRUE(branch->pending_items().empty());
    branch->cut_power(SurvivorPlan::all());
    EXPECT_EQ(raw_text(*branch, "a").substr(2), "on");
    ghost_found |= raw_text(*branch, "a") == "ooon";
  }

  EXPECT_TRUE(ghost_found);
}

TEST_F(SimulatedDisk, GivenEventsThatAreRare_WhenTheyHappen_ThenEachIsCounted) {
  open_a("old");
  ASSERT_OK(disk.remove_file("data", "a"));
  disk.cut_power(SurvivorPlan::none());
  EXPECT_EQ(disk.rare_events().files_back, 1u);

  ASSERT_OK_INTO(a, disk.open("data", "a", FileMode::read_write));
  ASSERT_OK(write_text(*a, 0, std::string(100 * kSectorSizeBytes, 'n')));
  disk.set_faults({.failures = {{.call = disk.call_count() + 1, .code = Errc::no_space}}});
  EXPECT_THAT(a->sync(), FailsWith(Errc::no_space));
  EXPECT_EQ(disk.rare_events().full_calls, 1u);
  for (int cut = 0; cut < 2; ++cut) {
    disk.cut_power(SurvivorPlan::all());
    EXPECT_EQ(disk.rare_events().ghosts_taken, 1u);
  }
}

// As the original leaves it when it is killed between a file and its header.
TEST_F(SimulatedDisk, D11_GivenACrashInACreation_WhenKilled_ThenTheNameMayHaveAPartOfTheContent) {
  open_a("old");
  std::set<std::string> found;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const auto branch = disk.clone();
    branch->set_faults({.crashes = {{.call = branch->call_count() + 1}}, .seed = seed});
    EXPECT_THAT(branch->create_file("data", "b", as_bytes("new")), FailsWith(Errc::io));
    branch->clear_faults();
    branch->kill();
    const bool is_there = branch->open("data", "b", FileMode::read_only).has_value();
    const std::string text = is_there ? raw_text(*branch, "b") : "-";
    EXPECT_EQ(branch->rare_events().torn_files, is_there && text != "new" ? 1u : 0u);
    found.insert(text);
  }

  EXPECT_EQ(found, (std::set<std::string>{"-", "", "n", "ne", "new"}));
}

TEST_F(SimulatedDisk, D7_GivenAFailedSync_WhenGhostsAreDropped_ThenReadsShowTheDeviceAndPending) {
  open_a("oooo");
  bool ghost_found = false;

  for (uint64_t seed = 0; seed < 40; ++seed) {
    const auto branch = disk.clone();
    ASSERT_OK_INTO(const auto file, branch->open("data", "a", FileMode::read_write));
    ASSERT_OK(write_text(*file, 0, "nnoonn"));
    branch->set_faults({.failures = {{.call = branch->call_count() + 1}}, .seed = seed});
    ASSERT_THAT(file->sync(), FailsWith(Errc::io));
    ASSERT_OK(write_text(*file, 3, "p"));
    branch->drop_ghosts(SimulatedFileSystem::Ghosts::pages);
    const std::string text = raw_text(*branch, "a");
    EXPECT_EQ(text.size(), 6u);
    EXPECT_EQ(text[3], 'p');
    ghost_found |= text == std::string_view("ooop\0\0", 6);
    ASSERT_OK(file->sync());
    branch->cut_power(SurvivorPlan::none());
    EXPECT_TRUE(text.starts_with(raw_text(*branch, "a")));
  }

  EXPECT_TRUE(ghost_found);
}

TEST_F(SimulatedDisk, D7_GivenAFailedDirectorySync_WhenSyncedAgain_ThenAnEntryCanStillVanish) {
  ASSERT_OK(create_synced(disk, "b", "text"));
  bool vanished = false;

  for (uint64_t seed = 0; seed < 40; ++seed) {
    const auto branch = disk.clone();
    ASSERT_OK_INTO(const auto file, branch->open("data", "a", FileMode::create_exclusive));
    ASSERT_OK(file->sync());
    branch->set_faults({.failures = {{.call = branch->call_count() + 1}}, .seed = seed});
    ASSERT_THAT(branch->sync_directory("data"), FailsWith(Errc::io));
    ASSERT_OK(branch->sync_directory("data"));
    EXPECT_TRUE(branch->has_raw("data", "a"));
    EXPECT_TRUE(branch->has_ghost_entries());
    branch->cut_power(SurvivorPlan::all());
    vanished |= !branch->has_raw("data", "a");
  }

  EXPECT_TRUE(vanished);
}

TEST_F(SimulatedDisk, D8_GivenAKill_WhenReopened_ThenPendingIsVisibleAndAPowerCutStillTakesIt) {
  open_a("old");
  ASSERT_OK(write_text(*a, 0, "new"));

  disk.kill();

  EXPECT_THAT(a->sync(), FailsWith(Errc::io, "before a simulated crash"));
  EXPECT_THAT(a->size(), FailsWith(Errc::io));
  EXPECT_EQ(raw_text(disk, "a"), "new");
  disk.cut_power(SurvivorPlan::none());
  EXPECT_EQ(raw_text(disk, "a"), "old");
}

TEST_F(SimulatedDisk, D9_GivenTwoCrashPoints_WhenTheFirstIsSurvived_ThenTheSecondHitsRecovery) {
  open_a("old");
  const uint64_t now = disk.call_count();
  disk.set_faults({.crashes = {{now + 2, CrashMoment::before}, {now + 4, CrashMoment::after}}});

  ASSERT_OK(write_text(*a, 0, "1"));
  ASSERT_THAT(write_text(*a, 1, "1"), FailsWith(Errc::io, "simulated crash"));
  ASSERT_TRUE(disk.is_down());
  ASSERT_THAT(disk.open("data", "a", FileMode::read_write), FailsWith(Errc::io, "down"));
  disk.kill();
  ASSERT_OK_INTO(a, disk.open("data", "a", FileMode::read_write));
  ASSERT_THAT(write_text(*a, 2, "2"), FailsWith(Errc::io, "simulated crash"));
  disk.kill();

  EXPECT_EQ(disk.call_count(), now + 4);
  EXPECT_EQ(raw_text(disk, "a"), "1l2");
}

TEST_F(SimulatedDisk, D9_GivenACrashDuringAWrite_WhenOnlyKilled_ThenAnyLeadingPartIsVisible) {
  open_a("");
  std::set<uint64_t> sizes;

  for (uint64_t seed = 0; seed < 200; ++seed) {
    const auto branch = disk.clone();
    ASSERT_OK_INTO(const auto file, branch->open("data", "a", FileMode::read_write));
    branch->set_faults({.crashes = {{.call = branch->call_count() + 1}}, .seed = seed});
    ASSERT_THAT(write_text(*file, 0, "12345"), FailsWith(Errc::io));
    branch->kill();
    const std::string text = raw_text(*branch, "a");
    EXPECT_TRUE(std::string_view("12345").starts_with(text));
    sizes.insert(text.size());
  }

  EXPECT_THAT(sizes, ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST_F(SimulatedDisk, D10_GivenAFullDevice_WhenAFileIsRemoved_ThenWritesWorkAgain) {
  open_a("12345678");
  ASSERT_OK(create_synced(disk, "b", "12345678"));
  disk.set_faults({.capacity_bytes = 18});

  EXPECT_OK(write_text(*a, 0, "in place"));
  EXPECT_THAT(write_text(*a, 8, "123"), FailsWith(Errc::no_space));
  EXPECT_EQ(*a->size(), 10u);
  EXPECT_THAT(a->resize(11), FailsWith(Errc::no_space));
  ASSERT_OK(disk.remove_file("data", "b"));
  EXPECT_OK(write_text(*a, 8, "123"));
}

TEST_F(SimulatedDisk, D10_GivenFailingCalls_WhenOnceOrForEver_ThenLaterCallsSucceedOrNot) {
  open_a("text");
  const uint64_t now = disk.call_count();
  disk.set_faults({.failures = {{.call = now + 1, .code = Errc::no_space},
                                {.call = now + 3, .code = Errc::io, .for_ever = true}}});

  EXPECT_THAT(write_text(*a, 0, "1"), FailsWith(Errc::no_space));
  EXPECT_OK(write_text(*a, 0, "1"));
  EXPECT_THAT(disk.list("data"), FailsWith(Errc::io));
  EXPECT_THAT(disk.list("data"), FailsWith(Errc::io));
  EXPECT_FALSE(disk.is_down());
  EXPECT_EQ(disk.fault_count(), 3u);
  disk.clear_faults();
  EXPECT_OK(disk.list("data"));
}

TEST_F(SimulatedDisk, D10_GivenAFailureRateForOneKind_WhenCalled_ThenOnlyThatKindFails) {
  open_a("text");
  disk.set_faults({.rates = {{.kind = CallKind::sync, .per_thousand = 500}}, .seed = 1});
  int failures = 0;

  for (int i = 0; i < 100; ++i) {
    ASSERT_OK(write_text(*a, 0, "1"));
    if (!a->sync()) ++failures;
  }

  EXPECT_GT(failures, 25);
  EXPECT_LT(failures, 75);
}

TEST_F(SimulatedDisk, D10_GivenABadSector_WhenRewritten_ThenItReadsAgain) {
  open_a("0123456789");
  Bytes read(4);
  disk.make_unreadable("data", "a", 4, 2);

  EXPECT_OK(a->read_at(0, read));
  EXPECT_THAT(a->read_at(2, read), FailsWith(Errc::io, "bad sector"));
  ASSERT_OK(write_text(*a, 4, "x"));
  EXPECT_OK(a->read_at(1, read));
  EXPECT_THAT(a->read_at(5, read), FailsWith(Errc::io));
  disk.cut_power(SurvivorPlan::all());
  ASSERT_OK_INTO(a, disk.open("data", "a", FileMode::read_only));
  EXPECT_THAT(a->read_at(5, read), FailsWith(Errc::io));
  disk.make_readable("data", "a");
  EXPECT_OK(a->read_at(5, read));
}

TEST_F(SimulatedDisk, GivenUncountedReads_WhenReading_ThenTheyHaveNoNumberAndNeverCrash) {
  open_a("text");
  const uint64_t now = disk.call_count();
  disk.set_faults({.crashes = {{.call = now + 1}}, .count_reads = false});
  Bytes read(4);

  EXPECT_OK(a->read_at(0, read));
  EXPECT_EQ(disk.call_count(), now);
  EXPECT_THAT(a->sync(), FailsWith(Errc::io, "simulated crash"));
}

TEST_F(SimulatedDisk, GivenAClone_WhenEitherChanges_ThenTheOtherDoesNot) {
  open_a("text");
  ASSERT_OK(write_text(*a, 0, "T"));
  const auto branch = disk.clone();
  const uint64_t before = branch->content_hash();

  ASSERT_OK(write_text(*a, 1, "E"));
  ASSERT_OK(a->sync());
  ASSERT_OK(disk.remove_file("data", "a"));

  EXPECT_EQ(branch->content_hash(), before);
  EXPECT_EQ(raw_text(*branch, "a"), "Text");
  EXPECT_EQ(branch->pending_items().size(), 1u);
  branch->cut_power(SurvivorPlan::none());
  EXPECT_EQ(raw_text(*branch, "a"), "text");
  EXPECT_FALSE(disk.has_raw("data", "a"));
}

TEST_F(SimulatedDisk, GivenTheSameSeed_WhenRunTwice_ThenTracesAndContentsAreEqual) {
  const auto run = [](uint64_t seed) {
    SimulatedFileSystem system;
    EXPECT_OK(create_synced(system, "a", "text"));
    system.set_faults({.rates = {{.kind = CallKind::write, .per_thousand = 300}}, .seed = seed});
    for (int round = 0; round < 5; ++round) {
      auto file = system.open("data", "a", FileMode::read_write);
      if (!file) break;
      for (uint64_t i = 0; i < 20; ++i)
        (void)write_text(**file, i * 100, "some more text");
      system.cut_power(SurvivorPlan::random(seed + static_cast<uint64_t>(round)));
    }
    return std::pair(system.trace_hash(), system.content_hash());
  };

  const auto first = run(7);
  const auto second = run(7);
  const auto other = run(8);

  EXPECT_EQ(first, second);
  EXPECT_NE(first, other);
}

TEST_F(SimulatedDisk, GivenTheSameCalls_WhenSeedsAreDrawn_ThenTheyAreTheSameAndNoneRepeats) {
  const auto draw = [](std::string_view text) {
    SimulatedFileSystem system;
    EXPECT_OK(create_synced(system, "a", text));
    return std::pair(system.random_seed(), system.random_seed());
  };

  const auto first = draw("text");
  const auto second = draw("text");
  const auto other = draw("texts");

  EXPECT_EQ(first, second);
  EXPECT_NE(first.first, first.second);
  EXPECT_NE(first.first, other.first);
}

TEST_F(SimulatedDisk, GivenRecordedOperations_WhenRead_ThenTheirOrderIsTheProgramsOrder) {
  open_a("");
  disk.record_operations(true);

  ASSERT_OK(write_text(*a, 8, "value"));
  ASSERT_OK(a->sync());
  ASSERT_OK(a->resize(3));
  ASSERT_OK(disk.sync_directory("data"));

  std::vector<std::string> lines;
  for (const Operation& operation : disk.operations())
    lines.push_back(describe(operation));
  EXPECT_THAT(lines, ElementsAre("write data/a 8+5", "sync data/a", "resize data/a to 3",
                                 "sync_directory data"));
}

TEST_F(SimulatedDisk, GivenAnExclusiveLock_WhenTakenAgain_ThenItIsRefusedUntilReleasedOrKilled) {
  ASSERT_OK_INTO(auto held, disk.lock(LockMode::exclusive));

  EXPECT_THAT(disk.lock(LockMode::exclusive), FailsWith(Errc::locked));
  EXPECT_THAT(disk.lock(LockMode::shared), FailsWith(Errc::locked));
  disk.kill();
  ASSERT_OK_INTO(const auto shared, disk.lock(LockMode::shared));
  EXPECT_THAT(disk.lock(LockMode::exclusive), FailsWith(Errc::locked));
  held.reset();
  EXPECT_THAT(disk.lock(LockMode::exclusive), FailsWith(Errc::locked));
  EXPECT_OK(disk.lock(LockMode::shared));
}

TEST_F(SimulatedDisk, GivenRawDamage_WhenPowerIsCut_ThenItStays) {
  open_a("text");
  disk.corrupt("data", "a", 3, as_bytes("XYZ"));
  disk.write_raw("other", "b", to_bytes(as_bytes("planted")));

  disk.cut_power(SurvivorPlan::none());

  EXPECT_EQ(raw_text(disk, "a"), "texX");
  EXPECT_THAT(disk.raw_files(), ElementsAre(Pair("data", "a"), Pair("other", "b")));
  disk.remove_raw("data", "a");
  EXPECT_FALSE(disk.has_raw("data", "a"));
}

TEST_F(SimulatedDisk, GivenAWildOffset_WhenWritten_ThenItFailsInsteadOfTakingAllMemory) {
  open_a("text");

  EXPECT_THAT(write_text(*a, uint64_t{1} << 62, "x"), FailsWith(Errc::no_space));
  EXPECT_THAT(a->resize(UINT64_MAX), FailsWith(Errc::no_space));
  EXPECT_THAT(a->map(UINT64_MAX), FailsWith(Errc::out_of_range));
  EXPECT_EQ(*a->size(), 4u);
}

TEST(SurvivorPlans, GivenFewItems_WhenListed_ThenEverySubsetIsThereOnce) {
  EXPECT_EQ(survivor_plans(0).size(), 1u);
  EXPECT_EQ(survivor_plans(5).size(), 32u);
  EXPECT_EQ(survivor_plans(12).size(), 4096u);
}

TEST(SurvivorPlans, GivenManyItems_WhenListed_ThenTheStructuredSetsAreThere) {
  const auto plans = survivor_plans(30);

  // none, all, metadata, data; 30 only-one, 30 all-but-one; 27 prefixes and 27 suffixes.
  EXPECT_EQ(plans.size(), 4u + 60u + 54u);
  std::set<std::string> names;
  for (const SurvivorPlan& plan : plans)
    names.insert(plan.description());
  EXPECT_EQ(names.size(), plans.size());
}

TEST(SurvivorPlans, GivenMetadataAndData_WhenOnlyOneKindIsKept_ThenTheOtherIsLost) {
  const std::vector<PendingItem> items = {{.kind = PendingItem::Kind::data},
                                          {.kind = PendingItem::Kind::length},
                                          {.kind = PendingItem::Kind::entry}};

  const auto metadata = SurvivorPlan::metadata_only().fates(items);
  const auto data = SurvivorPlan::data_only().fates(items);

  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(metadata[i].kind == Fate::Kind::kept, i != 0);
    EXPECT_EQ(data[i].kind == Fate::Kind::kept, i == 0);
  }
}

}  // namespace
}  // namespace firn::testkit
