// SPDX-License-Identifier: Apache-2.0
//
// firn metadata: put, remove and cas. Each changes one key, and the map as a whole: what a crash
// leaves is a map that was there at a time.
#include <algorithm>
#include <array>
#include <map>

#include <nlohmann/json.hpp>

#include "campaign/subject.h"
#include "firn/base/text.h"

namespace firn::campaign {
namespace {

using Map = std::map<std::string, std::string>;

constexpr int kNotFound = 2;

class MetadataSubject final : public Subject {
 public:
  MetadataSubject(std::string store, Random& random) : store_(std::move(store)) {
    constexpr std::array<uint64_t, 3> kKeySizes = {4, 32, 1024};
    key_size_ = concat(kKeySizes[random.below(kKeySizes.size())]);
  }

  [[nodiscard]] std::unique_ptr<Subject> clone() const override {
    return std::make_unique<MetadataSubject>(*this);
  }

  // Every verb that writes opens the store for writing; this one finds nothing to write.
  [[nodiscard]] Call recovering_call() const override {
    return {
        .arguments = {"metadata", "remove", store_, "none"}, .input = {}, .exit_code = kNotFound};
  }

  Call next_call(Random& random) override {
    const Map& now = states_.back();
    const std::string key(1, static_cast<char>('a' + random.below(6)));
    const auto held = now.find(key);
    const std::string value = concat(++generation_, " ", drawn_text(random.next()));
    Map next = now;
    Call call;
    if (held != now.end() && random.one_in(4)) {
      next.erase(key);
      call.arguments = {"metadata", "remove", store_, key};
    } else if (random.one_in(3)) {
      call = compare_and_set(key, value, held, random);
      if (call.exit_code == 0) next[key] = value;
    } else {
      next[key] = value;
      call.arguments = {"metadata", "put", store_, key, "--file", "-", "--key-size", key_size_};
      call.input = value;
    }
    states_.push_back(std::move(next));
    expected_exit_ = call.exit_code;
    return call;
  }

  void observe(const Outcome& outcome) override {
    if (outcome.exit_code == expected_exit_) states_.erase(states_.begin(), states_.end() - 1);
  }

  Status check(const Firn& firn, Random& random, bool thorough, Settled settled) override {
    const bool may_be_absent = states_.front().empty() && !was_made_;
    TRY_INTO(const std::string listed,
             firn.output({"metadata", "list", store_, "--json"}, may_be_absent ? kNotFound : 0));
    TRY_INTO(Map found, parse(listed, may_be_absent));
    const auto state = std::ranges::find(states_.rbegin(), states_.rend(), found);
    if (state == states_.rend()) return fail(Errc::corrupt, describe(found));
    // Later ones never came into being; earlier ones may come back by a power cut.
    states_.erase(state.base(), states_.end());
    if (settled == Settled::yes) states_.erase(states_.begin(), states_.end() - 1);
    was_made_ = was_made_ || !states_.front().empty();
    if (thorough && was_made_) TRY(check_thoroughly(firn, random, found));
    return {};
  }

 private:
  // Once in a while the expectation is wrong, and nothing may change.
  [[nodiscard]] Call compare_and_set(const std::string& key, const std::string& value,
                                     Map::const_iterator held, Random& random) const {
    Call call;
    call.arguments = {"metadata", "cas", store_, key};
    if (held == states_.back().end()) {
      call.arguments.insert(call.arguments.end(), {value, "--absent", "--key-size", key_size_});
      return call;
    }
    const bool is_right = !random.one_in(5);
    call.arguments.insert(call.arguments.end(),
                          {is_right ? held->second : std::string("another"), value});
    call.exit_code = is_right ? 0 : kNotFound;
    return call;
  }

  [[nodiscard]] static Result<Map> parse(const std::string& listed, bool may_be_absent) {
    Map found;
    for (const std::string_view line : lines_of(listed)) {
      const auto object = nlohmann::json::parse(line, nullptr, false);
      if (object.is_object() && object.contains("error") && may_be_absent) return found;
      if (!object.is_object() || !object.contains("key") || !object.contains("content"))
        return fail(Errc::corrupt, concat("list printed '", line.substr(0, 100), "'"));
      found[object["key"].get<std::string>()] = object["content"].get<std::string>();
    }
    return found;
  }

  [[nodiscard]] Status check_thoroughly(const Firn& firn, Random& random, const Map& found) const {
    TRY(firn.output({"verify", store_, "--deep"}));
    if (found.empty()) return {};
    const auto pair = std::next(found.begin(), static_cast<ptrdiff_t>(random.below(found.size())));
    TRY_INTO(const std::string got, firn.output({"metadata", "get", store_, pair->first}));
    if (got == pair->second) return {};
    return fail(Errc::corrupt, concat("get ", pair->first, " gave '", got.substr(0, 60), "'"));
  }

  [[nodiscard]] std::string describe(const Map& found) const {
    const auto list = [](const Map& map) {
      std::string text = "{";
      for (const auto& [key, value] : map)
        text += concat(" ", key, "=", value.substr(0, 12));
      return text + " }";
    };
    std::string text = concat("the map is ", list(found), ", expected one of");
    for (const Map& state : states_)
      text += concat(" ", list(state));
    return text;
  }

  const std::string store_;
  std::string key_size_;
  uint64_t generation_ = 0;
  int expected_exit_ = 0;
  bool was_made_ = false;
  // The maps that may be there, oldest first; the first one is durable, the last one is current.
  std::vector<Map> states_ = {{}};
};

}  // namespace

std::unique_ptr<Subject> make_metadata_subject(const std::string& store, uint64_t /*seed*/,
                                               Random& random) {
  return std::make_unique<MetadataSubject>(store, random);
}

}  // namespace firn::campaign
