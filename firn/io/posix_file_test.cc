// SPDX-License-Identifier: Apache-2.0
#include "firn/io/posix_file.h"

#include <cerrno>
#include <string>
#include <vector>

#include <fcntl.h>

#include "firn/base/text.h"
#include "firn/base/units.h"
#include "testkit/matchers.h"
#include "testkit/system_calls.h"
#include "testkit/temporary_directory.h"

namespace firn::io {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testkit::FailsWith;

// What is written out: "OFFSET+SIZE".
class WriteOuts final : public testkit::SystemCallHook {
 public:
  std::vector<std::string> ranges;
  int failure = 0;  // errno of the next ones; 0: they go to the system

  int intercept(testkit::SystemCall call, const std::function<std::string()>& describe) override {
    if (call != testkit::SystemCall::write_out) return 0;
    const std::string text = describe();
    ranges.push_back(text.substr(text.rfind(' ') + 1));
    return failure;
  }
};

std::string range(uint64_t offset, uint64_t size) {
  return concat(offset, "+", size);
}

class PosixFileTest : public testing::Test {
 protected:
  PosixFileTest() { testkit::set_system_call_hook(&write_outs_); }
  ~PosixFileTest() override { testkit::set_system_call_hook(nullptr); }

  Status write(uint64_t offset) { return file_.write_at(offset, {{ByteSpan(piece_)}}); }

  WriteOuts write_outs_;
  testkit::TemporaryDirectory directory_;
  const Bytes piece_ = Bytes(3 * kMiB, std::byte{7});
  PosixFile file_{open_at(AT_FDCWD, directory_ / "file", O_RDWR | O_CREAT), "the file", true,
                  false};
};

TEST_F(PosixFileTest, GivenALongStream_WhenAppended_ThenItIsWrittenOutInSteps) {
  for (uint64_t i = 0; i < 6; ++i)
    ASSERT_OK(write(i * piece_.size()));

  EXPECT_THAT(write_outs_.ranges, ElementsAre(range(0, 9 * kMiB), range(9 * kMiB, 9 * kMiB)));
}

TEST_F(PosixFileTest, GivenWritesHereAndThere_WhenWritten_ThenNothingIsWrittenOut) {
  for (uint64_t i = 0; i < 6; ++i)
    ASSERT_OK(write(i % 2 * kGiB + i * piece_.size()));

  EXPECT_THAT(write_outs_.ranges, IsEmpty());
}

TEST_F(PosixFileTest, GivenADeviceThatFails_WhenAStreamIsWrittenOut_ThenTheWriteFails) {
  ASSERT_OK(write(0));
  ASSERT_OK(write(piece_.size()));
  write_outs_.failure = EIO;

  EXPECT_THAT(write(2 * piece_.size()), FailsWith(Errc::io));
}

TEST_F(PosixFileTest, GivenASystemWithoutTheCall_WhenAppended_ThenNothingFails) {
  write_outs_.failure = ENOSYS;

  for (uint64_t i = 0; i < 6; ++i)
    ASSERT_OK(write(i * piece_.size()));
  ASSERT_OK(file_.sync());
}

}  // namespace
}  // namespace firn::io
