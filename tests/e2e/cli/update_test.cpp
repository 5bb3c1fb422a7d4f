// The way of an update as docs/updates.md tells it, typed: split, signed, verified, installed,
// taken back; and the exit codes of what goes wrong.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/e2e/cli/process.h"
#include "tests/support/tiny_plan.h"
#include "tools/plan_file/signature.h"

namespace jllm {
namespace {

using test::expect_failure;
using test::jllm;
using test::jllmc;
using test::ProcessResult;

class Update : public testing::Test {
 protected:
  Update() { test::make_model(test::tiny_model(), file("model.gguf")); }

  std::string file(const std::string& name) const { return dir_.file(name); }
  ProcessResult compile(const std::string& name, const std::string& context) const {
    return done(jllmc({"compile", file("model.gguf"), "-o", file(name), "--split-weights",
                       "--context", context}));
  }
  ProcessResult run(const std::string& plan, std::vector<std::string> more = {}) const {
    std::vector<std::string> words = {"run", file(plan), "-p", "a",         "-n",
                                      "4",   "-t",       "0",  "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return jllm(words);
  }
  static ProcessResult done(const ProcessResult& result) {
    EXPECT_EQ(result.code, 0) << result.err;
    return result;
  }

  test::TempDir dir_;
};

TEST_F(Update, SplitSignedInstalledAndBack) {
  if (!tool::can_sign()) GTEST_SKIP() << "built without libsodium";
  EXPECT_EQ(compile("a.jllm", "64").err.find("nothing written"), std::string::npos);
  EXPECT_NE(compile("b.jllm", "128").err.find("nothing written"), std::string::npos);
  done(jllmc({"keygen", file("maker")}));
  for (const char* name : {"a.jllm", "b.jllm"}) {
    done(jllmc({"sign", file(name), "--key", file("maker.key")}));
    done(jllm(
        {"install", file(name), "--to", file("current.jllm"), "--trusted-key", file("maker.pub")}));
  }
  const std::vector<uint8_t> b = test::read_file(file("b.jllm"));
  EXPECT_EQ(test::read_file(file("current.jllm")), b);
  EXPECT_EQ(done(run("current.jllm", {"--trusted-key", file("maker.pub")})).out,
            done(run("b.jllm")).out);
  done(jllm({"install", file("current.jllm"), "--rollback"}));
  EXPECT_EQ(test::read_file(file("current.jllm")), test::read_file(file("a.jllm")));
}

TEST_F(Update, VerifyTellsWhatItFound) {
  compile("a.jllm", "64");
  const std::string out = done(jllm({"verify", file("a.jllm"), "--json"})).out;
  const auto document = nlohmann::json::parse(out, nullptr, false);
  ASSERT_TRUE(document.is_object()) << out;
  EXPECT_EQ(document.value("signed", true), false);
  EXPECT_EQ(document.value("plan_bytes", uint64_t{0}), test::read_file(file("a.jllm")).size());
  const std::string weights = document.value("weight_file", "");
  std::vector<uint8_t> bytes = test::read_file(weights);
  EXPECT_EQ(document.value("weight_file_bytes", uint64_t{0}), bytes.size());
  done(jllmc({"inspect", file("a.jllm"), "--verify"}));
  bytes.back() ^= 1;
  bytes[bytes.size() / 2] ^= 1;
  test::write_file(weights, bytes.data(), bytes.size());
  expect_failure(jllm({"verify", file("a.jllm")}), 4, {"SHA-256", ".jllmw"});
  expect_failure(jllmc({"inspect", file("a.jllm"), "--verify"}), 4, {"SHA-256", ".jllmw"});
  expect_failure(jllm({"install", file("a.jllm"), "--to", file("b.jllm")}), 4, {"SHA-256"});
}

TEST_F(Update, WhatIsMissingIsNamed) {
  expect_failure(jllm({"install", file("a.jllm")}), 2, {"--to CURRENT.jllm"});
  expect_failure(jllm({"install", file("a.jllm"), "--rollback", "--to", "b"}), 2, {"alone"});
  expect_failure(jllm({"install", file("a.jllm"), "--to", file("b.jllm")}), 1, {"No such file"});
  expect_failure(jllmc({"sign", file("a.jllm")}), 2, {"--key"});
}

TEST_F(Update, EveryCommandRefusesWhatIsNotSigned) {
  if (!tool::can_sign()) GTEST_SKIP() << "built without libsodium";
  compile("a.jllm", "64");
  done(jllmc({"keygen", file("maker")}));
  for (const char* command : {"run", "chat", "bench", "eval", "tokenize", "verify"}) {
    expect_failure(jllm({command, file("a.jllm"), "--trusted-key", file("maker.pub")}), 4,
                   {"not signed"});
  }
}

}  // namespace
}  // namespace jllm
