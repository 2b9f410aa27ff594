// SPDX-License-Identifier: Apache-2.0
#include "testkit/storage_conformance.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "firn/base/units.h"
#include "testkit/matchers.h"

namespace firn::testkit {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view kPartition = "partition";

ByteSpan name_of(std::string_view text) {
  return as_bytes(text);
}

Bytes pattern(size_t size, size_t seed = 0) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>((i + seed) * 131 >> 3);
  return bytes;
}

Bytes read_all(Blob& blob) {
  Bytes bytes(blob.size());
  EXPECT_OK(blob.read_at(0, bytes));
  return bytes;
}

std::string text_of(Blob& blob) {
  return std::string(as_text(read_all(blob)));
}

// Opens or creates a blob of the one partition that most cases use.
std::unique_ptr<Blob> blob_of(Storage& storage, std::string_view name,
                              OpenMode mode = OpenMode::create) {
  auto blob = storage.open(kPartition, name_of(name), mode);
  EXPECT_OK(blob);
  return blob ? std::move(*blob) : nullptr;
}

void put(Storage& storage, std::string_view name, std::string_view content) {
  const auto blob = blob_of(storage, name);
  ASSERT_NE(blob, nullptr);
  ASSERT_OK(blob->write_at(0, as_bytes(content)));
  ASSERT_OK(blob->sync());
}

Status remove_one(Storage& storage, ByteSpan name) {
  const std::vector<Bytes> names(1, to_bytes(name));
  return storage.remove(kPartition, names);
}

// --- Reading and writing

void new_blob_round_trips(StorageUnderTest& subject) {
  const auto blob = blob_of(subject.storage(), "name");
  ASSERT_EQ(blob->size(), 0u);

  ASSERT_OK(blob->write_at(0, as_bytes("hello world")));
  ASSERT_OK(blob->sync());

  EXPECT_EQ(blob->size(), 11u);
  EXPECT_EQ(text_of(*blob), "hello world");
}

void synced_bytes_survive(StorageUnderTest& subject) {
  put(subject.storage(), "name", "hello world");

  subject.reopen();

  const auto blob = blob_of(subject.storage(), "name", OpenMode::read_write);
  EXPECT_EQ(text_of(*blob), "hello world");
}

void ten_mebibytes(StorageUnderTest& subject) {
  const auto blob = blob_of(subject.storage(), "name");
  const Bytes whole = pattern(10 * kMiB);

  ASSERT_OK(blob->write_at(0, whole));
  EXPECT_TRUE(equal_bytes(read_all(*blob), whole));

  const Bytes other = pattern(10 * kMiB, 7);
  for (size_t i = 0; i < 10; ++i)
    ASSERT_OK(blob->write_at(i * kMiB, ByteSpan(other).subspan(i * kMiB, kMiB)));
  EXPECT_TRUE(equal_bytes(read_all(*blob), other));
}

void overlapping_writes(StorageUnderTest& subject) {
  const auto blob = blob_of(subject.storage(), "name");
  ASSERT_OK(blob->write_at(0, as_bytes("0123456789")));

  ASSERT_OK(blob->write_at(3, as_bytes("abc")));
  ASSERT_OK(blob->write_at(5, as_bytes("XYZ")));

  EXPECT_EQ(text_of(*blob), "012abXYZ89");
}

void reading_past_the_end(StorageUnderTest& subject) {
  const auto empty = blob_of(subject.storage(), "empty");
  const auto blob = blob_of(subject.storage(), "name");
  ASSERT_OK(blob->write_at(0, as_bytes("hello world")));
  Bytes out(10);

  EXPECT_THAT(empty->read_at(0, out), FailsWith(Errc::out_of_range));
  EXPECT_THAT(blob->read_at(5, out), FailsWith(Errc::out_of_range));
  EXPECT_THAT(blob->read_at(11, out), FailsWith(Errc::out_of_range));
  EXPECT_THAT(blob->read_at(UINT64_MAX - 3, out), FailsWith(Errc::out_of_range));
}

void zero_length_calls(StorageUnderTest& subject) {
  const auto blob = blob_of(subject.storage(), "name");

  EXPECT_OK(blob->read_at(0, {}));
  EXPECT_OK(blob->read_at(100, {}));
  EXPECT_OK(blob->write_at(100, ByteSpan()));
  EXPECT_OK(blob->write_at(100, std::span<const ByteSpan>()));

  EXPECT_EQ(blob->size(), 0u);
}

void writing_beyond_the_end(StorageUnderTest& subject) {
  const auto blob = blob_of(subject.storage(), "name");

  ASSERT_OK(blob->write_at(10'000, as_bytes("hello")));

  ASSERT_EQ(blob->size(), 10'005u);
  Bytes expected(10'000);
  expected.insert(expected.end(), as_bytes("hello").begin(), as_bytes("hello").end());
  EXPECT_TRUE(equal_bytes(read_all(*blob), expected));
}

void offsets_that_overflow(StorageUnderTest& subject) {
  const auto blob = blob_of(subject.storage(), "name");
  ASSERT_OK(blob->write_at(0, as_bytes("hello")));

  EXPECT_FALSE(blob->write_at(UINT64_MAX - 2, as_bytes("hello")));
  EXPECT_FALSE(blob->write_at(UINT64_MAX / 2 + 1, as_bytes("hello")));
  EXPECT_FALSE(blob->resize(UINT64_MAX));

  EXPECT_EQ(text_of(*blob), "hello");
}

void vectored_writes(StorageUnderTest& subject) {
  const auto blob = blob_of(subject.storage(), "name");
  const std::vector<ByteSpan> chunks = {{}, as_bytes("hello"), {}, as_bytes(" "),
                                        {}, as_bytes("world"), {}};

  ASSERT_OK(blob->write_at(0, chunks));

  EXPECT_EQ(text_of(*blob), "hello world");
}

void many_chunks_at_an_offset(StorageUnderTest& subject) {
  const auto blob = blob_of(subject.storage(), "name");
  std::vector<Bytes> owned;
  std::vector<ByteSpan> chunks;
  Bytes expected(5000);
  for (size_t i = 0; i < 128; ++i)
    owned.push_back(pattern(i, i));
  for (const Bytes& chunk : owned) {
    chunks.emplace_back(chunk);
    expected.insert(expected.end(), chunk.begin(), chunk.end());
  }

  ASSERT_OK(blob->write_at(5000, chunks));

  EXPECT_TRUE(equal_bytes(read_all(*blob), expected));
}

void shrunk_blob(StorageUnderTest& subject) {
  {
    const auto blob = blob_of(subject.storage(), "name");
    ASSERT_OK(blob->write_at(0, as_bytes("hello world")));
    ASSERT_OK(blob->resize(5));
    ASSERT_OK(blob->sync());
  }

  subject.reopen();

  const auto blob = blob_of(subject.storage(), "name");
  EXPECT_EQ(text_of(*blob), "hello");
}

void cut_bytes_stay_cut(StorageUnderTest& subject) {
  const auto blob = blob_of(subject.storage(), "name");
  ASSERT_OK(blob->write_at(0, as_bytes("hello world")));

  ASSERT_OK(blob->resize(5));
  ASSERT_OK(blob->resize(8));

  EXPECT_EQ(text_of(*blob), std::string_view("hello\0\0\0", 8));
}

void concurrent_readers(StorageUnderTest& subject) {
  constexpr size_t kSteps = 200;
  constexpr size_t kStepSize = 512;
  const auto blob = blob_of(subject.storage(), "name");
  const Bytes content = pattern(kSteps * kStepSize);
  std::atomic<bool> done = false;
  std::atomic<size_t> failures = 0;
  const auto read_until_done = [&] {
    Bytes seen(content.size());
    while (!done.load()) {
      const MutableByteSpan out = MutableByteSpan(seen).first(blob->size());
      if (!blob->read_at(0, out) || !equal_bytes(out, ByteSpan(content).first(out.size())))
        ++failures;
    }
  };

  std::thread first(read_until_done);
  std::thread second(read_until_done);
  std::thread syncer([&] {
    while (!done.load())
      if (!blob->sync()) ++failures;
  });
  for (size_t i = 0; i < kSteps; ++i)
    if (!blob->write_at(i * kStepSize, ByteSpan(content).subspan(i * kStepSize, kStepSize)))
      ++failures;
  done = true;
  first.join();
  second.join();
  syncer.join();

  EXPECT_EQ(failures.load(), 0u);
  EXPECT_TRUE(equal_bytes(read_all(*blob), content));
}

void batches(StorageUnderTest& subject) {
  Storage& storage = subject.storage();
  const auto a = blob_of(storage, "a");
  const auto b = blob_of(storage, "b");
  ASSERT_OK(a->write_at(0, as_bytes("hello")));
  ASSERT_OK(b->write_at(0, as_bytes("world")));
  Bytes from_a(3);
  Bytes from_b(2);
  const std::vector<ReadRequest> requests = {{a.get(), 1, from_a}, {b.get(), 3, from_b}};
  const std::vector<ReadRequest> too_far = {{a.get(), 1, from_a}, {b.get(), 4, from_b}};
  const std::vector<Blob*> blobs = {a.get(), b.get()};

  EXPECT_OK(storage.read_many(requests));
  EXPECT_OK(storage.sync_many(blobs));
  EXPECT_THAT(storage.read_many(too_far), FailsWith(Errc::out_of_range));

  EXPECT_EQ(as_text(from_a), "ell");
  EXPECT_EQ(as_text(from_b), "ld");
}

void mapping(StorageUnderTest& subject) {
  const auto blob = blob_of(subject.storage(), "name");
  ASSERT_OK(blob->write_at(0, as_bytes("hello world")));

  ASSERT_OK_INTO(const auto mapped, blob->map(5));
  ASSERT_OK_INTO(const auto empty, blob->map(0));

  // A backend that cannot map says so with a null pointer.
  if (mapped != nullptr) {
    ASSERT_OK(remove_one(subject.storage(), name_of("name")));
    EXPECT_EQ(as_text(mapped->bytes()), "hello");
    EXPECT_TRUE(empty == nullptr || empty->bytes().empty());
    EXPECT_THAT(blob->map(12), FailsWith(Errc::out_of_range));
  }
}

// --- Names, modes, versions

void invalid_names(StorageUnderTest& subject) {
  Storage& storage = subject.storage();
  const std::vector<Bytes> names = {to_bytes(name_of("name"))};
  for (const std::string_view bad :
       {"", ".", "..", "a/b", "../x", "a b", "a.b", "\xc3\xa4", "nul\n"}) {
    EXPECT_THAT(storage.open(bad, names[0], OpenMode::create), FailsWith(Errc::invalid_argument));
    EXPECT_THAT(storage.open(bad, names[0], OpenMode::read_only),
                FailsWith(Errc::invalid_argument));
    EXPECT_THAT(storage.remove(bad, names), FailsWith(Errc::invalid_argument));
    EXPECT_THAT(storage.remove_partition(bad), FailsWith(Errc::invalid_argument));
    EXPECT_THAT(storage.scan(bad), FailsWith(Errc::invalid_argument));
  }
  EXPECT_THAT(storage.open(kPartition, {}, OpenMode::create), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(storage.open(kPartition, Bytes(128), OpenMode::create),
              FailsWith(Errc::invalid_argument));
  EXPECT_THAT(storage.partitions(),
              testing::Property(&Result<std::vector<std::string>>::operator*, IsEmpty()));
}

void longest_names(StorageUnderTest& subject) {
  Storage& storage = subject.storage();
  const Bytes name = pattern(127);

  ASSERT_OK(storage.open("Az-09_", name, OpenMode::create));

  ASSERT_OK_INTO(const auto names, storage.scan("Az-09_"));
  EXPECT_THAT(names, ElementsAre(name));
}

void missing_blobs(StorageUnderTest& subject) {
  Storage& storage = subject.storage();

  EXPECT_THAT(storage.open(kPartition, name_of("name"), OpenMode::read_write),
              FailsWith(Errc::not_found));
  EXPECT_THAT(storage.open(kPartition, name_of("name"), OpenMode::read_only),
              FailsWith(Errc::not_found));

  ASSERT_OK_INTO(const auto names, storage.scan(kPartition));
  EXPECT_THAT(names, IsEmpty());
}

void create_new_of_existing(StorageUnderTest& subject) {
  Storage& storage = subject.storage();
  ASSERT_OK(storage.open(kPartition, name_of("name"), OpenMode::create_new));
  put(storage, "name", "hello");

  EXPECT_THAT(storage.open(kPartition, name_of("name"), OpenMode::create_new),
              FailsWith(Errc::invalid_argument));

  EXPECT_EQ(text_of(*blob_of(storage, "name")), "hello");
}

void read_only_handles(StorageUnderTest& subject) {
  put(subject.storage(), "name", "hello");
  const auto blob = blob_of(subject.storage(), "name", OpenMode::read_only);

  EXPECT_FALSE(blob->write_at(0, as_bytes("x")));
  EXPECT_FALSE(blob->resize(1));

  EXPECT_EQ(text_of(*blob), "hello");
}

void versions(StorageUnderTest& subject) {
  Storage& storage = subject.storage();
  const ByteSpan name = name_of("name");
  {
    ASSERT_OK_INTO(const auto created, storage.open(kPartition, name, OpenMode::create, {1, 1}));
    EXPECT_EQ(created->version(), 1u);
  }

  ASSERT_OK_INTO(const auto opened, storage.open(kPartition, name, OpenMode::create, {0, 2}));
  EXPECT_EQ(opened->version(), 1u);
  EXPECT_THAT(storage.open(kPartition, name, OpenMode::create, {2, 3}),
              FailsWith(Errc::unsupported_version));
  EXPECT_THAT(storage.open(kPartition, name, OpenMode::read_only, {0, 0}),
              FailsWith(Errc::unsupported_version));

  ASSERT_OK_INTO(const auto other,
                 storage.open(kPartition, name_of("other"), OpenMode::create_new, {3, 7}));
  EXPECT_EQ(other->version(), 7u);
}

// --- Listing and removing

void sorted_listings(StorageUnderTest& subject) {
  Storage& storage = subject.storage();
  for (const std::string_view name : {"b", "abc", "a", "\xff", "aa"})
    put(storage, name, "x");
  ASSERT_OK(storage.open("other", name_of("c"), OpenMode::create));

  ASSERT_OK_INTO(const auto names, storage.scan(kPartition));
  ASSERT_OK_INTO(const auto partitions, storage.partitions());

  EXPECT_THAT(names,
              ElementsAre(to_bytes(name_of("a")), to_bytes(name_of("aa")), to_bytes(name_of("abc")),
                          to_bytes(name_of("b")), to_bytes(name_of("\xff"))));
  EXPECT_THAT(partitions, ElementsAre("other", kPartition));
}

void removed_blobs(StorageUnderTest& subject) {
  Storage& storage = subject.storage();
  for (const std::string_view name : {"a", "b", "c"})
    put(storage, name, "old");
  const std::vector<Bytes> names = {to_bytes(name_of("c")), to_bytes(name_of("missing")),
                                    to_bytes(name_of("a"))};

  ASSERT_OK(storage.remove(kPartition, names));
  ASSERT_OK(storage.remove(kPartition, names));
  ASSERT_OK(storage.remove("missing", names));

  ASSERT_OK_INTO(const auto left, storage.scan(kPartition));
  EXPECT_THAT(left, ElementsAre(to_bytes(name_of("b"))));
  EXPECT_EQ(blob_of(storage, "a", OpenMode::create_new)->size(), 0u);
}

void removed_last_blob(StorageUnderTest& subject) {
  put(subject.storage(), "name", "old");

  ASSERT_OK(remove_one(subject.storage(), name_of("name")));
  subject.reopen();

  ASSERT_OK_INTO(const auto names, subject.storage().scan(kPartition));
  EXPECT_THAT(names, IsEmpty());
}

void removed_partition(StorageUnderTest& subject) {
  Storage& storage = subject.storage();
  for (const std::string_view name : {"a", "b"})
    put(storage, name, "old");
  ASSERT_OK(storage.open("other", name_of("c"), OpenMode::create));

  ASSERT_OK(storage.remove_partition(kPartition));
  ASSERT_OK(storage.remove_partition(kPartition));

  ASSERT_OK_INTO(const auto names, storage.scan(kPartition));
  ASSERT_OK_INTO(const auto partitions, storage.partitions());
  EXPECT_THAT(names, IsEmpty());
  EXPECT_THAT(partitions, ElementsAre("other"));
  EXPECT_EQ(blob_of(storage, "a")->size(), 0u);
}

void handles_of_removed_blobs(StorageUnderTest& subject) {
  put(subject.storage(), "name", "hello");
  const auto blob = blob_of(subject.storage(), "name");

  ASSERT_OK(remove_one(subject.storage(), name_of("name")));

  EXPECT_EQ(text_of(*blob), "hello");
  EXPECT_OK(blob->write_at(5, as_bytes(" world")));
  EXPECT_EQ(text_of(*blob), "hello world");
  EXPECT_THAT(subject.storage().open(kPartition, name_of("name"), OpenMode::read_only),
              FailsWith(Errc::not_found));
}

// --- Headers

void header_bytes(StorageUnderTest& subject) {
  const ByteSpan name = name_of("name");
  const std::string new_header = "4357494300000102";
  {
    ASSERT_OK_INTO(const auto blob,
                   subject.storage().open(kPartition, name, OpenMode::create, {0, 0x102}));
    EXPECT_EQ(to_hex(subject.raw(kPartition, name)), new_header);

    ASSERT_OK(blob->write_at(0, as_bytes("hello world")));
    ASSERT_OK(blob->sync());
    EXPECT_EQ(to_hex(subject.raw(kPartition, name)), new_header + to_hex(as_bytes("hello world")));

    ASSERT_OK(blob->resize(5));
    ASSERT_OK(blob->sync());
    EXPECT_EQ(subject.raw(kPartition, name).size(), 13u);

    ASSERT_OK(blob->resize(0));
    ASSERT_OK(blob->sync());
  }
  EXPECT_EQ(to_hex(subject.raw(kPartition, name)), new_header);
}

void torn_headers(StorageUnderTest& subject) {
  const ByteSpan name = name_of("name");
  for (const size_t size : {0u, 1u, 2u, 4u, 7u}) {
    put(subject.storage(), "name", "old");
    subject.set_raw(kPartition, name, pattern(size));
    subject.reopen();

    {
      ASSERT_OK_INTO(const auto reader,
                     subject.storage().open(kPartition, name, OpenMode::read_only, {0, 3}));
      EXPECT_EQ(reader->size(), 0u);
      EXPECT_FALSE(reader->write_at(0, as_bytes("x")));
    }
    EXPECT_EQ(subject.raw(kPartition, name), pattern(size));

    {
      ASSERT_OK_INTO(const auto writer,
                     subject.storage().open(kPartition, name, OpenMode::read_write, {0, 3}));
      EXPECT_EQ(writer->size(), 0u);
      EXPECT_EQ(writer->version(), 3u);
    }
    EXPECT_EQ(to_hex(subject.raw(kPartition, name)), "4357494300000003");
    ASSERT_OK(remove_one(subject.storage(), name));
  }
}

void damaged_headers(StorageUnderTest& subject) {
  struct Case {
    std::string_view header;
    Errc code;
    std::string_view message;
  };
  const ByteSpan name = name_of("name");
  put(subject.storage(), "name", "");
  for (const Case& damaged : {Case{"0000000000000000", Errc::corrupt, "invalid magic"},
                              Case{"4357494400010001", Errc::corrupt, "invalid magic"},
                              Case{"4357494300010000", Errc::unsupported_version, "version"},
                              Case{"4357494300000001", Errc::unsupported_version, "version"}}) {
    const Bytes content = *from_hex(damaged.header);
    subject.set_raw(kPartition, name, content);
    subject.reopen();

    for (const OpenMode mode : {OpenMode::read_only, OpenMode::read_write, OpenMode::create})
      EXPECT_THAT(subject.storage().open(kPartition, name, mode),
                  FailsWith(damaged.code, std::string(damaged.message)));

    EXPECT_EQ(subject.raw(kPartition, name), content);
  }
}

void salvaged_blobs(StorageUnderTest& subject) {
  const ByteSpan name = name_of("name");
  put(subject.storage(), "name", "");
  const Bytes content = *from_hex("0000000000000001abcd");
  subject.set_raw(kPartition, name, content);
  subject.reopen();

  {
    const auto blob = blob_of(subject.storage(), "name", OpenMode::salvage);
    EXPECT_EQ(text_of(*blob), "\xab\xcd");
    EXPECT_FALSE(blob->write_at(0, as_bytes("x")));
  }
  EXPECT_THAT(subject.storage().open(kPartition, name_of("other"), OpenMode::salvage),
              FailsWith(Errc::not_found));

  EXPECT_EQ(subject.raw(kPartition, name), content);
}

// --- Locks

void exclusive_lock(StorageUnderTest& subject) {
  Storage& storage = subject.storage();
  {
    ASSERT_OK_INTO(const auto held, storage.lock(LockMode::exclusive));
    EXPECT_THAT(storage.lock(LockMode::exclusive), FailsWith(Errc::locked));
    EXPECT_THAT(storage.lock(LockMode::shared), FailsWith(Errc::locked));
  }
  EXPECT_OK(storage.lock(LockMode::exclusive));
}

void shared_locks(StorageUnderTest& subject) {
  Storage& storage = subject.storage();
  {
    ASSERT_OK_INTO(const auto first, storage.lock(LockMode::shared));
    ASSERT_OK_INTO(const auto second, storage.lock(LockMode::shared));
    EXPECT_THAT(storage.lock(LockMode::exclusive), FailsWith(Errc::locked));
  }
  EXPECT_OK(storage.lock(LockMode::exclusive));
}

void follower_locks(StorageUnderTest& subject) {
  Storage& storage = subject.storage();
  EXPECT_FALSE(storage.find_writer()->has_value());
  {
    ASSERT_OK_INTO(const auto first, storage.lock(LockMode::follower));
    ASSERT_OK_INTO(const auto writer, storage.lock(LockMode::exclusive));
    ASSERT_OK_INTO(const auto second, storage.lock(LockMode::follower));
    ASSERT_TRUE(storage.find_writer()->has_value());
    EXPECT_FALSE((*storage.find_writer())->is_settled);
    EXPECT_OK(writer->settle());
    EXPECT_TRUE((*storage.find_writer())->is_settled);
    EXPECT_THAT(storage.lock(LockMode::exclusive), FailsWith(Errc::locked));
    EXPECT_THAT(storage.lock(LockMode::no_followers), FailsWith(Errc::locked));
    EXPECT_THAT(storage.lock(LockMode::shared), FailsWith(Errc::locked));
  }
  EXPECT_FALSE(storage.find_writer()->has_value());
  {
    ASSERT_OK_INTO(const auto alone, storage.lock(LockMode::no_followers));
    EXPECT_THAT(storage.lock(LockMode::follower), FailsWith(Errc::locked));
    EXPECT_THAT(storage.lock(LockMode::no_followers), FailsWith(Errc::locked));
    EXPECT_OK(storage.lock(LockMode::exclusive));
    EXPECT_OK(storage.lock(LockMode::shared));
  }
  EXPECT_OK(storage.lock(LockMode::follower));
}

struct Case {
  const char* name;
  void (*body)(StorageUnderTest&);
};

constexpr Case kCases[] = {
    {"GivenANewBlob_WhenWritten_ThenTheBytesAreRead", new_blob_round_trips},
    {"GivenSyncedBytes_WhenReopened_ThenTheyAreThere", synced_bytes_survive},
    {"GivenTenMebibytes_WhenWrittenWholeOrInParts_ThenTheyAreRead", ten_mebibytes},
    {"GivenOverlappingWrites_WhenRead_ThenTheLastOneCounts", overlapping_writes},
    {"GivenABlob_WhenReadPastTheEnd_ThenOutOfRange", reading_past_the_end},
    {"GivenAnEmptyBlob_WhenNothingIsReadOrWritten_ThenItSucceeds", zero_length_calls},
    {"GivenAnEmptyBlob_WhenWrittenFarAhead_ThenTheGapIsZeros", writing_beyond_the_end},
    {"GivenOffsetsThatOverflow_WhenWritten_ThenNothingChanges", offsets_that_overflow},
    {"GivenEmptyChunks_WhenWritten_ThenTheOthersAreJoined", vectored_writes},
    {"GivenManyChunks_WhenWrittenAtAnOffset_ThenZerosPrecedeThem", many_chunks_at_an_offset},
    {"GivenAShrunkBlob_WhenReopened_ThenItKeepsThePrefix", shrunk_blob},
    {"GivenAShrunkBlob_WhenGrownAgain_ThenTheCutBytesAreZeros", cut_bytes_stay_cut},
    {"GivenReadersAndASyncer_WhenWritten_ThenReadsSeeWholeWrites", concurrent_readers},
    {"GivenTwoBlobs_WhenReadAndSyncedAtOnce_ThenBothAre", batches},
    {"GivenAMapping_WhenTheBlobIsRemoved_ThenItsBytesStay", mapping},
    {"GivenInvalidNames_WhenUsed_ThenTheyAreRefused", invalid_names},
    {"GivenTheLongestName_WhenCreated_ThenItIsListed", longest_names},
    {"GivenNoBlob_WhenOpenedWithoutCreating_ThenNotFound", missing_blobs},
    {"GivenABlob_WhenCreatedAnew_ThenItIsRefusedAndUnchanged", create_new_of_existing},
    {"GivenAReadOnlyHandle_WhenWritten_ThenItIsRefused", read_only_handles},
    {"GivenAVersion_WhenOpenedWithARange_ThenOnlyAFittingOneOpens", versions},
    {"GivenBlobsInAnyOrder_WhenListed_ThenNamesAscend", sorted_listings},
    {"GivenBlobs_WhenSomeAreRemoved_ThenTheOthersStay", removed_blobs},
    {"GivenTheLastBlob_WhenRemoved_ThenThePartitionListsNone", removed_last_blob},
    {"GivenAPartition_WhenRemoved_ThenOthersStayAndItCanBeMadeAgain", removed_partition},
    {"GivenAnOpenHandle_WhenTheBlobIsRemoved_ThenItKeepsWorking", handles_of_removed_blobs},
    {"GivenABlob_WhenChanged_ThenItsFileStartsWithTheHeader", header_bytes},
    {"GivenATornHeader_WhenOpened_ThenOnlyAWriterResetsIt", torn_headers},
    {"GivenADamagedHeader_WhenOpened_ThenItIsRefusedAndUnchanged", damaged_headers},
    {"GivenADamagedHeader_WhenSalvaged_ThenTheRestIsReadAndUnchanged", salvaged_blobs},
    {"GivenAnExclusiveLock_WhenLockedAgain_ThenRefusedUntilReleased", exclusive_lock},
    {"GivenSharedLocks_WhenLockedExclusively_ThenRefusedUntilReleased", shared_locks},
    {"GivenFollowers_WhenAWriterLocks_ThenOnlyWhatDisturbsThemIsRefused", follower_locks},
};

class ConformanceTest : public testing::Test {
 public:
  ConformanceTest(MakeStorageUnderTest make, void (*body)(StorageUnderTest&))
      : make_(std::move(make)), body_(body) {}

  void TestBody() override {
    const auto subject = make_();
    body_(*subject);
  }

 private:
  const MakeStorageUnderTest make_;
  void (*const body_)(StorageUnderTest&);
};

}  // namespace

StorageConformanceRegistered register_storage_conformance(const std::string& suite_name,
                                                          const MakeStorageUnderTest& make) {
  for (const Case& one : kCases)
    testing::RegisterTest(
        suite_name.c_str(), one.name, nullptr, nullptr, __FILE__, __LINE__,
        [make, body = one.body]() -> testing::Test* { return new ConformanceTest(make, body); });
  return {};
}

}  // namespace firn::testkit
