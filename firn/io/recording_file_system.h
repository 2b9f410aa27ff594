// SPDX-License-Identifier: Apache-2.0
//
// For tests of this folder: a FileSystem that lists the calls it passes on, and fails those that a
// test names. create_file is taken apart (the default of FileSystem), so that its steps show.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/base/text.h"
#include "firn/io/file_system.h"

namespace firn::io {

class RecordingFileSystem final : public FileSystem {
 public:
  explicit RecordingFileSystem(FileSystem& inner) : inner_(inner) {}

  // Calls since the last take, as "sync index/01"; reads and sizes are not listed.
  [[nodiscard]] std::vector<std::string> take_calls() { return std::exchange(calls_, {}); }

  // Every later call listed as `call` fails with `code`; std::nullopt: none does.
  void fail_calls(std::optional<std::string> call, Errc code = Errc::io) {
    failing_ = std::move(call);
    code_ = code;
  }

  [[nodiscard]] Result<std::unique_ptr<File>> open(std::string_view directory,
                                                   std::string_view name, FileMode mode) override {
    const std::string file = path(directory, name);
    const std::string_view verb = mode == FileMode::create_exclusive ? "create " : "open ";
    TRY(record(concat(verb, file)));
    TRY_INTO(auto opened, inner_.open(directory, name, mode));
    return std::make_unique<RecordingFile>(*this, std::move(opened), file);
  }
  [[nodiscard]] Status make_directory(std::string_view directory) override {
    TRY(record(concat("make_directory ", directory)));
    return inner_.make_directory(directory);
  }
  [[nodiscard]] Status remove_file(std::string_view directory, std::string_view name) override {
    TRY(record(concat("remove ", path(directory, name))));
    return inner_.remove_file(directory, name);
  }
  [[nodiscard]] Status remove_directory(std::string_view directory) override {
    TRY(record(concat("remove_directory ", directory)));
    return inner_.remove_directory(directory);
  }
  [[nodiscard]] Result<std::vector<DirectoryEntry>> list(std::string_view directory) override {
    TRY(record(concat("list /", directory)));
    return inner_.list(directory);
  }
  [[nodiscard]] Status sync_directory(std::string_view directory) override {
    TRY(record(concat("sync_directory /", directory)));
    return inner_.sync_directory(directory);
  }
  [[nodiscard]] Result<std::unique_ptr<StorageLock>> lock(LockMode mode) override {
    return inner_.lock(mode);
  }
  [[nodiscard]] Result<std::optional<StorageWriter>> find_writer() override {
    return inner_.find_writer();
  }
  [[nodiscard]] uint64_t random_seed() override { return inner_.random_seed(); }
  [[nodiscard]] std::string description() const override { return "recorded"; }

 private:
  class RecordingFile final : public File {
   public:
    RecordingFile(RecordingFileSystem& system, std::unique_ptr<File> inner, std::string name)
        : system_(system), inner_(std::move(inner)), name_(std::move(name)) {}

    [[nodiscard]] Result<uint64_t> size() override { return inner_->size(); }
    [[nodiscard]] Status read_at(uint64_t offset, MutableByteSpan out) override {
      return inner_->read_at(offset, out);
    }
    [[nodiscard]] Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override {
      size_t size = 0;
      for (const ByteSpan buffer : buffers)
        size += buffer.size();
      TRY(system_.record(concat("write ", name_, " ", offset, "+", size)));
      return inner_->write_at(offset, buffers);
    }
    [[nodiscard]] Status resize(uint64_t size) override {
      TRY(system_.record(concat("resize ", name_, " ", size)));
      return inner_->resize(size);
    }
    [[nodiscard]] Status sync() override {
      TRY(system_.record(concat("sync ", name_)));
      return inner_->sync();
    }

   private:
    RecordingFileSystem& system_;
    const std::unique_ptr<File> inner_;
    const std::string name_;
  };

  static std::string path(std::string_view directory, std::string_view name) {
    return concat(directory, "/", name);
  }
  [[nodiscard]] Status record(const std::string& call) {
    calls_.push_back(call);
    if (failing_ != call) return {};
    return fail(code_, concat("injected failure of ", call));
  }

  FileSystem& inner_;
  std::vector<std::string> calls_;
  std::optional<std::string> failing_;
  Errc code_ = Errc::io;
};

}  // namespace firn::io
