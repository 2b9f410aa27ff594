// SPDX-License-Identifier: Apache-2.0
//
// firn freezer: import of lines with acknowledgements, put, and rebuild. What survives is a prefix
// of all puts, with everything that was acknowledged; nothing is ever removed.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include "campaign/subject.h"
#include "firn/base/check.h"
#include "firn/base/text.h"
#include "tools/firn/sha256.h"

namespace firn::campaign {
namespace {

constexpr int kAbsentKey = 2;

std::string key_of(std::string_view content) {
  return to_hex(command::sha256(as_bytes(content)));
}

class FreezerSubject final : public Subject {
 public:
  FreezerSubject(std::string store, uint64_t seed, Random& random)
      : store_(std::move(store)), seed_(seed) {
    constexpr std::array<uint64_t, 4> kTableSizes = {1, 4, 64, 4096};
    constexpr std::array<uint64_t, 4> kPageSizes = {64, 200, 1000, 4084};
    constexpr std::array<uint64_t, 3> kResizeChunks = {1, 3, 50};
    if (random.one_in(2)) resize_chunk_ = kResizeChunks[random.below(kResizeChunks.size())];
    const uint64_t table_size = kTableSizes[random.below(kTableSizes.size())];
    geometry_ = {"--table-size", concat(resize_chunk_ ? 1 : table_size), "--page-size",
                 concat(kPageSizes[random.below(kPageSizes.size())])};
    if (random.one_in(3)) geometry_.insert(geometry_.end(), {"--compression", "1"});
  }

  [[nodiscard]] std::unique_ptr<Subject> clone() const override {
    return std::make_unique<FreezerSubject>(*this);
  }

  [[nodiscard]] Call recovering_call() const override {
    Call call{
        .arguments = {"freezer", "import", store_, "-", "--lines"}, .input = {}, .exit_code = 0};
    call.arguments.insert(call.arguments.end(), geometry_.begin(), geometry_.end());
    return call;
  }

  Call next_call(Random& random) override {
    given_ends_.clear();
    if (!puts_.empty() && random.one_in(6))
      return {.arguments = {"freezer", "rebuild", store_}, .input = {}, .exit_code = 0};
    return random.one_in(4) ? put(random) : import(random);
  }

  // Half of these work from disk, where the table doubles slot by slot; with a small budget the
  // table leaves memory in between.
  std::optional<Call> next_call_with_buffers(Random& random) override {
    constexpr std::array<uint64_t, 4> kMemoryBudgets = {0, 0, 70'000, uint64_t{1} << 30};
    constexpr std::array<uint64_t, 3> kSectionTargets = {1000, 50'000, uint64_t{1} << 30};
    given_ends_.clear();
    Call call = import(random);
    const bool has_geometry = std::ranges::count(call.arguments, "--table-size") > 0;
    give_to_writer(call, random);
    const auto add = [&](std::string flag, uint64_t number) {
      call.arguments.push_back(std::move(flag));
      call.arguments.push_back(concat(number));
    };
    add("--memory-budget", resize_chunk_ && !random.one_in(4)
                               ? 0
                               : kMemoryBudgets[random.below(kMemoryBudgets.size())]);
    add("--section-target", kSectionTargets[random.below(kSectionTargets.size())]);
    if (resize_chunk_ && has_geometry) add("--resize-chunk", *resize_chunk_);
    return call;
  }

  // With the default chunk a small table doubles within one put.
  [[nodiscard]] bool wants_buffers() const override {
    return resize_chunk_ && (acknowledged_ == 0 || generation_ % 3 != 0);
  }

  [[nodiscard]] std::string_view interrupted_inside() const override {
    return is_doubling_ ? kInsideADoubling : std::string_view();
  }

  void observe(const Outcome& outcome) override {
    is_doubling_ = false;
    for (const std::string_view line : lines_of(outcome.output))
      if (line.starts_with("doubl")) is_doubling_ = line == "doubling";
    if (outcome.exit_code == 0) acknowledged_ = puts_.size();
    for (const std::string_view line : lines_of(outcome.output)) {
      constexpr std::string_view kSynced = "synced ";
      if (!line.starts_with(kSynced)) continue;
      uint64_t count = 0;
      std::from_chars(line.data() + kSynced.size(), line.data() + line.size(), count);
      CHECK(count > 0 && count <= given_ends_.size(), "it acknowledges what it was given");
      acknowledged_ = std::max(acknowledged_, given_ends_[count - 1]);
    }
  }

  Status check(const Firn& firn, Random& random, bool thorough, Settled settled) override {
    TRY_INTO(const std::string listed,
             firn.output({"freezer", "list", store_}, acknowledged_ > 0 ? 0 : kAbsentKey));
    TRY(check_puts(lines_of(listed)));
    if (puts_.empty()) return {};
    for (int i = thorough ? 5 : 1; i > 0; --i)
      TRY(check_get(firn, puts_[random.below(puts_.size())].key));
    TRY(firn.output({"freezer", "contains", store_, "--key", key_of("none")}, kAbsentKey));
    if (thorough) TRY(firn.output({"verify", store_, "--deep"}));
    if (settled == Settled::yes) acknowledged_ = puts_.size();
    return {};
  }

 private:
  struct Put {
    std::string key;
    std::string content;
  };

  [[nodiscard]] std::string new_content() {
    ++generation_;
    return concat(generation_, " ", drawn_text(seed_ ^ (generation_ * 0x9e3779b97f4a7c15)));
  }

  // Once in a while a line that is there already, which is not put again.
  Call import(Random& random) {
    // A table that was closed or recovered is as large as its items ask for: it doubles once there
    // are as many new ones as it had.
    const uint64_t many = resize_chunk_ ? 1500 : 400;
    const uint64_t count = random.below(random.one_in(resize_chunk_ ? 2 : 3) ? many : 30);
    const size_t known = puts_.size();
    Call call;
    for (uint64_t i = 0; i < count && call.input.size() < kInputMaxBytes / 2; ++i) {
      std::string content;
      if (known > 0 && random.one_in(10)) {
        content = newest(puts_[random.below(known)].key)->content;
      } else {
        content = new_content();
      }
      const std::string key = key_of(content);
      const Put* const stored = newest(key);
      if (stored == nullptr || stored->content != content) puts_.push_back({key, content});
      given_ends_.push_back(puts_.size());
      call.input += content;
      call.input += '\n';
    }
    call.arguments = {"freezer", "import", store_, "-", "--lines", "--ack"};
    if (!random.one_in(8))
      call.arguments.insert(call.arguments.end(), {"--sync-every", concat(random.between(1, 60))});
    add_geometry(call, random);
    return call;
  }

  // Under a key of its own, or one that had another value.
  Call put(Random& random) {
    const std::string content = new_content();
    std::string key = key_of(concat("chosen ", generation_));
    if (!puts_.empty() && random.one_in(2)) key = puts_[random.below(puts_.size())].key;
    puts_.push_back({key, content});
    Call call{.arguments = {"freezer", "put", store_, "--file", "-", "--key", key},
              .input = content,
              .exit_code = 0};
    add_geometry(call, random);
    return call;
  }

  // A store knows what it is; saying it again is allowed.
  void add_geometry(Call& call, Random& random) const {
    if (acknowledged_ == 0 || random.one_in(10))
      call.arguments.insert(call.arguments.end(), geometry_.begin(), geometry_.end());
  }

  [[nodiscard]] const Put* newest(const std::string& key) const {
    const auto found = std::ranges::find(puts_.rbegin(), puts_.rend(), key, &Put::key);
    return found == puts_.rend() ? nullptr : &*found;
  }

  // A prefix of what was given, with all that was acknowledged; what is there becomes known.
  Status check_puts(const std::vector<std::string_view>& listed) {
    if (listed.size() < acknowledged_) {
      return fail(Errc::corrupt, concat(acknowledged_, " puts were acknowledged, but ",
                                        listed.size(), " are there"));
    }
    if (listed.size() > puts_.size()) {
      return fail(Errc::corrupt, concat(listed.size(), " puts are there, but only ", puts_.size(),
                                        " were ever given to the command"));
    }
    for (size_t i = 0; i < listed.size(); ++i) {
      const std::string expected = concat(puts_[i].key, "\t", puts_[i].content.size());
      if (listed[i] != expected)
        return fail(Errc::corrupt,
                    concat("put ", i, " is '", listed[i], "', expected '", expected, "'"));
    }
    puts_.resize(listed.size());
    return {};
  }

  [[nodiscard]] Status check_get(const Firn& firn, const std::string& key) const {
    TRY_INTO(const std::string got, firn.output({"freezer", "get", store_, "--key", key}));
    const Put* const expected = newest(key);
    if (got == expected->content) return {};
    return fail(Errc::corrupt, concat("get ", key, " gave '", got.substr(0, 60), "', expected '",
                                      expected->content.substr(0, 60), "'"));
  }

  const std::string store_;
  const uint64_t seed_;
  std::vector<std::string> geometry_;
  std::optional<uint64_t> resize_chunk_;  // positions of the table that move with one put
  uint64_t generation_ = 0;
  std::vector<Put> puts_;           // as given to the command, in order
  size_t acknowledged_ = 0;         // a prefix of them
  bool is_doubling_ = false;        // its table, on disk, when the last call ended
  std::vector<size_t> given_ends_;  // puts there are after each line of the present import
};

}  // namespace

std::unique_ptr<Subject> make_freezer_subject(const std::string& store, uint64_t seed,
                                              Random& random) {
  return std::make_unique<FreezerSubject>(store, seed, random);
}

}  // namespace firn::campaign
