// SPDX-License-Identifier: Apache-2.0
#include "firn/io/posix_file.h"

#include <cerrno>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "firn/base/units.h"
#include "testkit/matchers.h"
#include "testkit/temporary_directory.h"

namespace {

struct WriteOut {
  off_t offset;
  off_t size;
  bool operator==(const WriteOut&) const = default;
};

std::vector<WriteOut> write_outs;
int write_out_failure = 0;  // errno of the next calls; 0: they go to the system

}  // namespace

// Takes the place of the system's function in this program.
extern "C" int sync_file_range(int fd, off_t offset, off_t size, unsigned flags) {
  write_outs.push_back({offset, size});
  if (write_out_failure == 0)
    return static_cast<int>(::syscall(SYS_sync_file_range, fd, offset, size, flags));
  errno = write_out_failure;
  return -1;
}

namespace firn::io {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testkit::FailsWith;

class PosixFileTest : public testing::Test {
 protected:
  PosixFileTest() {
    write_outs.clear();
    write_out_failure = 0;
  }

  Status write(uint64_t offset) { return file_.write_at(offset, {{ByteSpan(piece_)}}); }

  testkit::TemporaryDirectory directory_;
  const Bytes piece_ = Bytes(3 * kMiB, std::byte{7});
  PosixFile file_{open_at(AT_FDCWD, directory_ / "file", O_RDWR | O_CREAT), "the file", true,
                  false};
};

TEST_F(PosixFileTest, GivenALongStream_WhenAppended_ThenItIsWrittenOutInSteps) {
  for (uint64_t i = 0; i < 6; ++i)
    ASSERT_OK(write(i * piece_.size()));

  EXPECT_THAT(write_outs, ElementsAre(WriteOut{0, 9 * kMiB}, WriteOut{9 * kMiB, 9 * kMiB}));
}

TEST_F(PosixFileTest, GivenWritesHereAndThere_WhenWritten_ThenNothingIsWrittenOut) {
  for (uint64_t i = 0; i < 6; ++i)
    ASSERT_OK(write(i % 2 * kGiB + i * piece_.size()));

  EXPECT_THAT(write_outs, IsEmpty());
}

TEST_F(PosixFileTest, GivenADeviceThatFails_WhenAStreamIsWrittenOut_ThenTheWriteFails) {
  ASSERT_OK(write(0));
  ASSERT_OK(write(piece_.size()));
  write_out_failure = EIO;

  EXPECT_THAT(write(2 * piece_.size()), FailsWith(Errc::io));
}

TEST_F(PosixFileTest, GivenASystemWithoutTheCall_WhenAppended_ThenNothingFails) {
  write_out_failure = ENOSYS;

  for (uint64_t i = 0; i < 6; ++i)
    ASSERT_OK(write(i * piece_.size()));
  ASSERT_OK(file_.sync());
}

}  // namespace
}  // namespace firn::io
