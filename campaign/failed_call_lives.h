// SPDX-License-Identifier: Apache-2.0
//
// Lives of one small store in one trouble: a call of the system, or an allocation, that fails. In
// each script only a part is in trouble: all that a writer does; what a reader does beside a
// writer; what salvage does. Whatever happens: what was synced is there, in the trouble and after
// it, nothing is there that was not put, what was dropped does not come back, and no failing call
// is taken for damage.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "campaign/life_subject.h"
#include "testkit/system_calls.h"

namespace firn::campaign {

enum class TroubleKind : uint8_t {
  none,
  fails_once,
  fails_from_then_on,
  interrupts_once,
  interrupts_from_then_on,  // each call once
  shortens_once,            // a transfer, to a few bytes
  shortens_from_then_on,
  no_memory_once,
  no_memory_from_then_on,
};

struct Trouble {
  TroubleKind kind = TroubleKind::none;
  int error_number = 0;
  uint64_t at = 0;  // the number of the call or allocation that meets it, among those that can
  std::optional<testkit::SystemCall> only = std::nullopt;  // set: no other one can

  [[nodiscard]] bool is_of_memory() const {
    return kind == TroubleKind::no_memory_once || kind == TroubleKind::no_memory_from_then_on;
  }
  [[nodiscard]] bool interrupts() const {
    return kind == TroubleKind::interrupts_once || kind == TroubleKind::interrupts_from_then_on;
  }
  [[nodiscard]] bool shortens() const {
    return kind == TroubleKind::shortens_once || kind == TroubleKind::shortens_from_then_on;
  }
  [[nodiscard]] bool is_once() const {
    return kind == TroubleKind::fails_once || kind == TroubleKind::interrupts_once ||
           kind == TroubleKind::shortens_once || kind == TroubleKind::no_memory_once;
  }
  [[nodiscard]] bool is_to_be_survived() const {
    return kind == TroubleKind::none || interrupts() || shortens();
  }
};

[[nodiscard]] std::string text_of(const Trouble& trouble);

// What a system call meets while it is the hook's turn.
class TroubleHook final : public testkit::SystemCallHook {
 public:
  explicit TroubleHook(const Trouble& trouble) : trouble_(trouble) {}

  int intercept(testkit::SystemCall call, const std::function<std::string()>& describe) override;
  [[nodiscard]] size_t transfer_max() const override {
    return trouble_.shortens() && is_in_trouble_ ? 7 : SIZE_MAX;
  }

  // Calls that could have met the trouble so far, and the first one that did.
  [[nodiscard]] uint64_t count() const { return count_; }
  [[nodiscard]] const std::string& troubled() const { return troubled_; }
  // What was synced is safe whatever a close says: nothing may come of it.
  [[nodiscard]] bool met_closes_only() const {
    return !troubled_.empty() && !met_more_than_closes_;
  }

 private:
  [[nodiscard]] bool meets_trouble(testkit::SystemCall call);

  const Trouble trouble_;
  uint64_t count_ = 0;
  bool is_in_trouble_ = false;  // the last call
  bool met_more_than_closes_ = false;
  std::string troubled_;
};

class Life {
 public:
  Life(const LifeKind& kind, uint64_t seed, std::string directory, const Trouble& trouble);
  virtual ~Life() = default;
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;

  // What went wrong; empty: nothing did.
  [[nodiscard]] std::string run();
  // Whether anything did fail.
  [[nodiscard]] bool met_trouble() const { return met_trouble_; }

 protected:
  using Items = std::map<uint64_t, Bytes>;

  // Before the trouble, in it, and after it.
  virtual void prepare() {}
  virtual void live() = 0;
  virtual void outlive() = 0;

  // What `step` says; a failing allocation is a failed step. Without trouble, or in one that is to
  // be survived, a failure is a violation.
  template <class Step>
  Status attempt(const Step& step);
  void violate(std::string what);
  // While one of these lives in the middle of the trouble, there is none.
  class TroubleFree {
   public:
    explicit TroubleFree(Life& life)
        : life_(life), was_in_trouble_(std::exchange(life.in_trouble_, false)) {}
    ~TroubleFree() { life_.in_trouble_ = was_in_trouble_; }
    TroubleFree(const TroubleFree&) = delete;
    TroubleFree& operator=(const TroubleFree&) = delete;

   private:
    Life& life_;
    const bool was_in_trouble_;
  };

  // A writer's steps, and what is known after them.
  void put_one(LifeSubject& subject);
  void sync(LifeSubject& subject);
  void maintain(LifeSubject& subject);
  void close(LifeSubject& subject);
  void drop(LifeSubject& subject);
  void acknowledge();
  void use_again(uint64_t sessions);
  // Anybody's questions.
  void look_at_everything(LifeSubject& subject);
  void look_for(LifeSubject& subject, uint64_t number, const Bytes* expected, bool is_synced);

  [[nodiscard]] std::unique_ptr<LifeSubject> another() const {
    Random random(seed_);
    return kind_.make(random);
  }

  const LifeKind& kind_;
  const uint64_t seed_;
  const std::string directory_;
  const Trouble trouble_;
  Random random_;
  const std::unique_ptr<LifeSubject> subject_;
  uint64_t next_ = 1;
  uint64_t gone_below_ = 0;  // dropped for good
  Items synced_;
  Items unsynced_;
  Items uncertain_;  // a call failed, or they may be dropped

 private:
  class InTrouble;
  void judge_errors();

  TroubleHook hook_;
  int64_t allocations_left_;
  bool in_trouble_ = false;
  std::optional<Error> first_error_;
  bool threw_ = false;
  bool must_refuse_ = false;  // the writer's handle: a sync failed
  bool met_trouble_ = false;
  std::string violation_;
};

// A way to live, and its name in the table: "", "_reader", "_salvage" behind that of the store.
struct LifeScript {
  std::string_view suffix;
  bool (*fits)(const LifeKind& kind);
  std::unique_ptr<Life> (*make)(const LifeKind& kind, uint64_t seed, std::string directory,
                                const Trouble& trouble);
};

[[nodiscard]] std::span<const LifeScript> life_scripts();

}  // namespace firn::campaign
