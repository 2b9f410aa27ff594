// SPDX-License-Identifier: Apache-2.0
//
// Races of LocationIndex, each at a certain point: one thread is stopped there while others act.
// The first tests are the races that a similar index is known to have lost.
#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/index/history_test_support.h"
#include "firn/index/location_index_test_support.h"

namespace firn {
namespace {

// A thread that stops at a point of the protocol, as if the system had taken the processor away
// there, until the test lets it go on.
class ParkedThread {
 public:
  enum class State : uint32_t { running, parked, waiting, finished };

  // Parks where `point` is reached for the `nth` time, from 1; with nth = 0 nowhere.
  ParkedThread(LocationPoint point, unsigned nth, std::function<void()> body)
      : point_(point), nth_(nth), thread_([this, body = std::move(body)] {
          current() = this;
          body();
          current() = nullptr;
          change(State::finished);
        }) {}
  ~ParkedThread() {
    resume();
    thread_.join();
  }
  ParkedThread(const ParkedThread&) = delete;
  ParkedThread& operator=(const ParkedThread&) = delete;

  // Until it is parked, has ended, or waits for another writer (and goes on trying).
  State settle() {
    state_.wait(State::running);
    return state_;
  }
  void resume() {
    go_ = true;
    go_.notify_all();
  }
  void finish() {
    resume();
    for (State now = state_; now != State::finished; now = state_)
      state_.wait(now);
  }

  // To be called by the policy of the index under test.
  static void reach(LocationPoint point) {
    ParkedThread* const self = current();
    if (self == nullptr) return;
    const bool is_here = point == self->point_ && self->nth_ != 0;
    if (is_here) --self->nth_;
    if (is_here && self->nth_ == 0) {
      self->change(State::parked);
      self->go_.wait(false);
      self->change(State::running);
    } else if (point == LocationPoint::waiting) {
      self->change(State::waiting);
    }
  }

 private:
  static ParkedThread*& current() {
    static thread_local ParkedThread* current = nullptr;
    return current;
  }
  void change(State state) {
    state_ = state;
    state_.notify_all();
  }

  const LocationPoint point_;
  unsigned nth_;
  std::atomic<State> state_ = State::running;
  std::atomic<bool> go_ = false;
  std::thread thread_;
};

struct ParkingPolicy : LocationPolicy {
  static constexpr unsigned kSmallestTable = 0;
  static void reach(LocationPoint point) { ParkedThread::reach(point); }
};

using Index = BasicLocationIndex<ParkingPolicy>;
using Domain = BasicEpochDomain<ParkingPolicy>;
using Session = BasicEpochSession<ParkingPolicy>;
using Kind = HistoryOperation::Kind;

constexpr size_t kPoints = static_cast<size_t>(LocationPoint::waiting);

// Locations tell their key by their last digit. All keys have one hash, or only one home.
uint32_t key_of(Location location) {
  return static_cast<uint32_t>(location.value % 10);
}
constexpr uint32_t kA = 1, kB = 2;

class Races {
 public:
  explicit Races(bool equal_hashes = true) : equal_hashes_(equal_hashes), session_(domain_) {
    index_ = std::move(*Index::open(domain_, {.shard_bits = 0}));
  }

  [[nodiscard]] KeyHash hash(uint32_t key) const {
    return KeyHash(uint64_t{0x5A5A5A00 + (equal_hashes_ ? 0 : key * 37)} << 35);
  }
  static auto is(uint32_t key) {
    return [key](Location at) { return key_of(at) == key ? KeyMatch::same : KeyMatch::different; };
  }
  uint64_t put(uint64_t location) { return put(session_, location); }
  uint64_t put(Session& session, uint64_t location) {
    const uint32_t key = key_of(Location(location));
    return checked(index_->put(session, hash(key), Location(location), is(key)));
  }
  uint64_t find(uint32_t key) { return checked(index_->find(session_, hash(key), is(key))); }
  uint64_t remove(uint32_t key) { return remove(session_, key); }
  uint64_t remove(Session& session, uint32_t key) {
    return checked(index_->remove(session, hash(key), is(key)));
  }
  std::vector<uint64_t> listed() {
    std::vector<uint64_t> all;
    index_->for_each(session_, [&](KeyHash, Location at) { all.push_back(at.value); });
    std::ranges::sort(all);
    return all;
  }

  Index& index() { return *index_; }
  Domain& domain() { return domain_; }
  Session& session() { return session_; }

 private:
  static uint64_t checked(const LocationOutcome& outcome) {
    EXPECT_TRUE(outcome.ok());
    return outcome.location.value;
  }

  const bool equal_hashes_;
  Domain domain_;
  Session session_;
  std::unique_ptr<Index> index_;
};

using Listed = std::vector<uint64_t>;

TEST(LocationRacesThread, GivenACollidingInsert_WhenTheNeighbourIsUpdatedMeanwhile_ThenBothAreNew) {
  for (unsigned nth = 1; nth <= 2; ++nth) {
    Races races;
    races.put(101);
    ParkedThread inserts(nth == 1 ? LocationPoint::slot_read : LocationPoint::scanned_absent, 1,
                         [&] {
                           Session session(races.domain());
                           EXPECT_EQ(races.put(session, 102), 0U);
                         });
    ASSERT_EQ(inserts.settle(), ParkedThread::State::parked);
    EXPECT_EQ(races.put(201), 101U);
    inserts.finish();
    EXPECT_EQ(races.find(kA), 201U);
    EXPECT_EQ(races.find(kB), 102U);
    EXPECT_EQ(races.index().size(), 2U);
  }
}

TEST(LocationRacesThread, GivenACollidingInsert_WhenTheNeighbourIsRemovedMeanwhile_ThenGone) {
  Races races;
  races.put(101);
  ParkedThread inserts(LocationPoint::scanned_absent, 1, [&] {
    Session session(races.domain());
    EXPECT_EQ(races.put(session, 102), 0U);
  });
  ASSERT_EQ(inserts.settle(), ParkedThread::State::parked);
  EXPECT_EQ(races.remove(kA), 101U);
  inserts.finish();
  EXPECT_EQ(races.find(kA), 0U);
  EXPECT_EQ(races.find(kB), 102U);
  EXPECT_EQ(races.listed(), Listed{102});
}

TEST(LocationRacesThread, GivenTwoCollidingInserts_WhenTheyRace_ThenThreeEntriesAndRemoveIsFinal) {
  Races races;
  races.put(101);
  {
    const auto insert = [&](uint64_t location) {
      return [&races, location] {
        Session session(races.domain());
        EXPECT_EQ(races.put(session, location), 0U);
      };
    };
    ParkedThread first(LocationPoint::scanned_absent, 1, insert(102));
    ParkedThread second(LocationPoint::scanned_absent, 1, insert(103));
    ASSERT_EQ(first.settle(), ParkedThread::State::parked);
    ASSERT_EQ(second.settle(), ParkedThread::State::parked);
  }
  EXPECT_EQ(races.index().size(), 3U);
  EXPECT_EQ(races.listed(), (Listed{101, 102, 103}));
  EXPECT_EQ(races.remove(kA), 101U);
  EXPECT_EQ(races.find(kA), 0U);
}

TEST(LocationRacesThread, GivenANeighbourThatCannotBeRead_WhenPutOrRemoved_ThenItStays) {
  Races races;
  races.put(101);
  const auto unreadable = [](Location) { return KeyMatch::failed; };
  EXPECT_EQ(races.index().put(races.session(), races.hash(kB), Location(102), unreadable).status,
            LocationStatus::predicate_failed);
  EXPECT_EQ(races.index().remove(races.session(), races.hash(kB), unreadable).status,
            LocationStatus::predicate_failed);
  EXPECT_EQ(races.listed(), Listed{101});
}

TEST(LocationRacesThread, GivenACollidingInsert_WhenClearedMeanwhile_ThenOnlyTheInsertIsThere) {
  Races races;
  races.put(101);
  ParkedThread inserts(LocationPoint::scanned_absent, 1, [&] {
    Session session(races.domain());
    EXPECT_EQ(races.put(session, 102), 0U);
  });
  ASSERT_EQ(inserts.settle(), ParkedThread::State::parked);
  EXPECT_EQ(races.index().clear(races.session()), LocationStatus::done);
  inserts.finish();
  EXPECT_EQ(races.listed(), Listed{102});
  EXPECT_EQ(races.remove(kB), 102U);
  EXPECT_EQ(races.index().size(), 0U);
}

TEST(LocationRacesThread, GivenTwoInsertsOfOneKey_WhenANeighboursSlotBecomesFree_ThenOneEntry) {
  for (const LocationPoint point : {LocationPoint::slot_read, LocationPoint::scanned_absent}) {
    Races races;
    races.put(102);
    ParkedThread inserts(point, 1, [&] {
      Session session(races.domain());
      EXPECT_EQ(races.put(session, 101), 201U);
    });
    ASSERT_EQ(inserts.settle(), ParkedThread::State::parked);
    EXPECT_EQ(races.remove(kB), 102U);
    EXPECT_EQ(races.put(201), 0U);
    inserts.finish();
    EXPECT_EQ(races.listed(), Listed{101});
    EXPECT_EQ(races.remove(kA), 101U);
    EXPECT_EQ(races.find(kA), 0U);
  }
}

TEST(LocationRacesThread, GivenTwoRecordsOfOneKey_WhenTheOlderArrivesLater_ThenTheNewerOneStays) {
  Races races;
  const auto newer_than = [](uint64_t location) {
    return [location](Location old) { return old.value < location; };
  };
  ParkedThread older(LocationPoint::scanned_absent, 1, [&] {
    Session session(races.domain());
    const LocationOutcome outcome = races.index().put_if_newer(
        session, races.hash(kA), Location(101), Races::is(kA), newer_than(101));
    EXPECT_EQ(outcome.status, LocationStatus::kept);
    EXPECT_EQ(outcome.location, Location(201));
  });
  ASSERT_EQ(older.settle(), ParkedThread::State::parked);
  EXPECT_EQ(races.index()
                .put_if_newer(races.session(), races.hash(kA), Location(201), Races::is(kA),
                              newer_than(201))
                .status,
            LocationStatus::done);
  older.finish();
  EXPECT_EQ(races.find(kA), 201U);
}

TEST(LocationRacesThread, GivenARemoveOfAnAbsentKey_WhenACollidingOneIsPutMeanwhile_ThenItStays) {
  for (const LocationPoint point : {LocationPoint::table_read, LocationPoint::slot_read}) {
    Races races;
    races.put(103);
    ParkedThread removes(point, 1, [&] {
      Session session(races.domain());
      EXPECT_EQ(races.remove(session, kB), 0U);
    });
    ASSERT_EQ(removes.settle(), ParkedThread::State::parked);
    EXPECT_EQ(races.put(101), 0U);
    removes.finish();
    EXPECT_EQ(races.listed(), (Listed{101, 103}));
  }
}

// The tag that the sleeper remembers is that of the key again when its slot has had another one.
TEST(LocationRacesThread, GivenALookupThatSleptWhileASlotChanged_WhenItSeesAPut_ThenLaterOnesDo) {
  Races races(false);
  races.put(101);
  uint64_t seen = 0;
  ParkedThread sleeper(LocationPoint::header_read, 1, [&] {
    Session session(races.domain());
    seen = races.index().find(session, races.hash(kA), Races::is(kA)).location.value;
  });
  ASSERT_EQ(sleeper.settle(), ParkedThread::State::parked);
  EXPECT_EQ(races.remove(kA), 101U);
  EXPECT_EQ(races.put(102), 0U);
  EXPECT_EQ(races.remove(kB), 102U);
  ParkedThread inserts(LocationPoint::lane_stored, 1, [&] {
    Session session(races.domain());
    EXPECT_EQ(races.put(session, 201), 0U);
  });
  ASSERT_EQ(inserts.settle(), ParkedThread::State::parked);
  sleeper.finish();
  EXPECT_EQ(races.find(kA), seen);
  inserts.finish();
  EXPECT_EQ(races.find(kA), 201U);
}

// One operation of a thread of the tests below, recorded.
enum class Act : uint8_t {
  insert,
  replace,
  remove,
  compaction,
  clear,
  grow,
  shrink,
  walk,
  snapshot,
  rebuild,  // an insert that finds the table drifted, and the end of the rebuild
};
constexpr std::array kActs = {Act::insert,   Act::replace, Act::remove, Act::compaction,
                              Act::clear,    Act::grow,    Act::shrink, Act::walk,
                              Act::snapshot, Act::rebuild};
constexpr size_t kKeys = 10;

class RecordedRace {
 public:
  // Keys 1 to `present` are there, at 101, 102 ...: eight are more than one bucket holds. What the
  // acts need is, too: to shrink, a sparse table; to rebuild, one that has nearly drifted.
  RecordedRace(bool equal_hashes, uint32_t present, std::initializer_list<Act> acts)
      : races_(equal_hashes) {
    constexpr uint64_t kOf64Buckets = 353;
    const bool drifted = present == 8 && std::ranges::find(acts, Act::rebuild) != acts.end();
    const bool sparse = std::ranges::find(acts, Act::shrink) != acts.end();
    if (drifted || sparse) {
      EXPECT_EQ(races_.index().reserve(races_.session(), drifted ? kOf64Buckets : 30),
                LocationStatus::done);
    }
    for (uint32_t key = 1; key <= present; ++key) {
      races_.put(100 + key);
      history_.initial()[key] = 100 + key;
    }
    for (int displaced = 1; drifted && displaced < 64 * 7 / 8 - 1; ++displaced) {
      EXPECT_EQ(races_.remove(present), 100 + present);
      EXPECT_EQ(races_.put(100 + present), 0U);
    }
  }

  void act(size_t thread, Act act, uint64_t version) {
    Session session(races_.domain());
    HistoryOperation operation{.begin = ++now_};
    perform(session, thread, act, version, operation);
    operation.end = ++now_;
    if (act != Act::grow && act != Act::shrink && act != Act::snapshot)
      history_.thread(thread).push_back(operation);
  }

  std::optional<std::string> violation() {
    std::vector<uint64_t> final(kKeys);
    Listed present;
    for (uint32_t key = 1; key < kKeys; ++key) {
      final[key] = races_.find(key);
      if (final[key] != 0) present.push_back(final[key]);
    }
    std::ranges::sort(present);
    if (races_.listed() != present) return "what is listed is not what is found";
    if (races_.index().size() != present.size()) return "the size is not what is found";
    return history_.violation(final);
  }

  Races& races() { return races_; }

 private:
  void perform(Session& session, size_t thread, Act act, uint64_t version,
               HistoryOperation& operation) {
    Index& index = races_.index();
    operation.location = version * 100 + kA;
    operation.key = kA;
    switch (act) {
      case Act::insert:
      case Act::rebuild:
        operation.location = version * 100 + 9;
        operation.key = 9;
        [[fallthrough]];
      case Act::replace:
        operation.kind = Kind::put;
        operation.answer = races_.put(session, operation.location);
        if (act == Act::rebuild) {
          EXPECT_EQ(index.maintain(session), LocationStatus::done);
        }
        break;
      case Act::remove:
        operation.kind = Kind::remove;
        operation.answer = races_.remove(session, kA);
        break;
      case Act::compaction:
        operation.kind = Kind::replace_if;
        operation.old = 100 + kA;
        operation.answer = static_cast<uint64_t>(
            index
                .compare_and_replace(session, races_.hash(kA), Location(operation.old),
                                     Location(operation.location))
                .status == LocationStatus::done);
        break;
      case Act::clear:
        operation.kind = Kind::clear;
        EXPECT_EQ(index.clear(session), LocationStatus::done);
        break;
      case Act::grow: EXPECT_EQ(index.reserve(session, 30), LocationStatus::done); break;
      case Act::shrink: EXPECT_EQ(index.shrink(session), LocationStatus::done); break;
      case Act::snapshot: {
        BytesSink sink;
        EXPECT_TRUE(index.snapshot(session, sink, 0));
        break;
      }
      case Act::walk: {
        operation.kind = Kind::walk;
        operation.answer = history_.walks(thread).size();
        auto& walk = history_.walks(thread).emplace_back(kKeys);
        index.for_each(session, [&](KeyHash, Location at) {
          EXPECT_EQ(std::exchange(walk[key_of(at)], at.value), 0U) << "a key is listed twice";
        });
        break;
      }
    }
  }

  Races races_;
  History history_{3, kKeys};
  std::atomic<uint64_t> now_ = 1;
};

// One thread stops at the nth time that it reaches a point, another does something, then the first
// goes on. False if it does not get there.
bool race_at(LocationPoint point, unsigned nth, Act stopped, Act other, bool equal, uint32_t keys) {
  RecordedRace race(equal, keys, {stopped, other});
  ParkedThread first(point, nth, [&] { race.act(0, stopped, 2); });
  const bool parked = first.settle() == ParkedThread::State::parked;
  {
    ParkedThread second(point, 0, [&] { race.act(1, other, 3); });
    if (second.settle() == ParkedThread::State::waiting) first.resume();
    second.finish();
  }
  first.finish();
  EXPECT_EQ(race.violation(), std::nullopt)
      << "point " << static_cast<int>(point) << " nth " << nth << " stopped "
      << static_cast<int>(stopped) << " other " << static_cast<int>(other) << " equal " << equal
      << " keys " << keys;
  return parked;
}

class LocationPointThread : public testing::TestWithParam<size_t> {};

TEST_P(LocationPointThread, GivenAThreadStoppedThere_WhenAnotherActs_ThenLinearizable) {
  const auto point = static_cast<LocationPoint>(GetParam());
  const auto is_large = [](Act act) { return act == Act::snapshot || act == Act::rebuild; };
  bool reached = false;
  for (const Act stopped : kActs)
    for (const Act other : kActs)
      for (const bool equal : {false, true})
        for (const uint32_t keys : {1U, 8U})
          for (unsigned nth = 1; nth <= 3; ++nth) {
            if ((is_large(stopped) || is_large(other)) && (!equal || keys == 1 || nth == 3)) break;
            if (!race_at(point, nth, stopped, other, equal, keys)) break;
            reached = true;
          }
  EXPECT_TRUE(reached);
}

// Which points each act passes; it is stopped at every one of them.
bool passes(Act act, LocationPoint point) {
  using enum LocationPoint;
  const bool looks_up = point <= slot_read;
  const bool places = point >= overflow_marked && point <= slot_published;
  const bool moves = point >= growth_allocated;
  const bool copies_home = point == pinned || point == home_locked || point == chain_locked;
  switch (act) {
    case Act::insert: return looks_up || (point >= scanned_absent && point <= unlocked);
    case Act::replace:
    case Act::remove:
    case Act::compaction: return looks_up || point == about_to_replace;
    case Act::clear:
      return point == pinned || point == chain_locked || (moves && point != entry_copied);
    case Act::grow:
    case Act::shrink: return point == pinned || places || moves;
    case Act::walk: return copies_home;
    case Act::snapshot: return copies_home || places || point == block_allocated;
    case Act::rebuild: return point != about_to_replace;
  }
  return false;
}

// Keys 2 to 8 are there, whatever a thread that works on others has been stopped at.
void expect_reads_end(Races& races, Act stopped) {
  std::vector<KeyHash> hashes;
  for (uint32_t key = 0; key <= 8; ++key)
    hashes.push_back(races.hash(key));
  std::vector<Location> found(hashes.size());
  const LocationBatchOutcome outcome =
      races.index().find_many(races.session(), hashes, found, [](size_t key, Location at) {
        return key_of(at) == key ? KeyMatch::same : KeyMatch::different;
      });
  EXPECT_EQ(outcome, LocationBatchOutcome{.completed = hashes.size()});
  for (uint32_t key = 2; key <= 8; ++key)
    for (const uint64_t at : {races.find(key), found[key].value})
      EXPECT_TRUE(at == 100 + key || (stopped == Act::clear && at == 0)) << at;
  EXPECT_EQ(races.find(0), 0U);
  EXPECT_EQ(found[0], Location());
  std::array<Location, 16> candidates;
  EXPECT_LE(races.index().candidates(races.session(), races.hash(kA), candidates), 9U);
}

// A reader waits for nobody: it finds what is there wherever a writer has stopped.
TEST_P(LocationPointThread, GivenAWriterStoppedThere_WhenRead_ThenEveryReadEnds) {
  const auto point = static_cast<LocationPoint>(GetParam());
  for (const Act stopped : kActs) {
    bool reached = false;
    for (const bool equal : {true, false})
      for (unsigned nth = 1; nth <= 4; ++nth) {
        RecordedRace race(equal, 8, {stopped});
        ParkedThread writer(point, nth, [&] { race.act(0, stopped, 2); });
        if (writer.settle() != ParkedThread::State::parked) break;
        reached = true;
        expect_reads_end(race.races(), stopped);
        writer.finish();
        const bool moves =
            stopped == Act::rebuild || stopped == Act::clear || stopped == Act::shrink;
        EXPECT_EQ(race.races().index().statistics(race.races().session()).rebuilds,
                  moves ? 1U : 0U);
      }
    EXPECT_EQ(reached, passes(stopped, point)) << "act " << static_cast<int>(stopped);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryPoint, LocationPointThread, testing::Range<size_t>(0, kPoints));

// What is there during the whole walk is listed once, whatever others do beside it.
TEST(LocationWalkConcurrent, GivenWritersAndGrowth_WhenWalked_ThenWhatStaysIsListedOnce) {
  constexpr uint64_t kStays = 300;
  constexpr uint64_t kChanges = 20'000;
  Domain domain;
  const auto index = std::move(*Index::open(domain, {.shard_bits = 1}));
  const auto hash = [](uint64_t location) { return KeyHash(location * 0x9E3779B97F4A7C15); };
  const auto is = [](uint64_t location) {
    return [location](Location at) {
      return at.value == location ? KeyMatch::same : KeyMatch::different;
    };
  };
  Session session(domain);
  for (uint64_t at = 1; at <= kStays; ++at)
    ASSERT_TRUE(index->put(session, hash(at), Location(at), is(at)).ok());
  std::atomic<uint64_t> changes = 0;
  const auto churn = [&](uint64_t first) {
    Session own(domain);
    for (uint64_t at = first; ++changes < kChanges; at = first + (at - first + 1) % 5000) {
      EXPECT_TRUE(index->put(own, hash(at), Location(at), is(at)).ok());
      if (at % 3 == 0) {
        EXPECT_TRUE(index->remove(own, hash(at), is(at)).ok());
      }
      if (at % 97 == 0) {
        EXPECT_EQ(index->shrink(own), LocationStatus::done);
      }
      if (at % 89 == 0) {
        EXPECT_EQ(index->reserve(own, 4000), LocationStatus::done);
      }
    }
  };
  std::thread one(churn, kStays + 1);
  std::thread two(churn, kStays + 10'001);
  for (uint64_t walk = 0; walk == 0 || changes < kChanges; ++walk) {
    std::vector<int> seen(kStays + 1);
    index->for_each(session, [&](KeyHash, Location at) {
      if (at.value <= kStays) ++seen[at.value];
    });
    EXPECT_EQ(std::ranges::count(seen, 1), kStays) << "walk " << walk;
  }
  one.join();
  two.join();
}

}  // namespace
}  // namespace firn
