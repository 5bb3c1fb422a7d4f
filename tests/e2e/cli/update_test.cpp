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
  if (!tool::can_sign()) GTEST_SKIP() << "built with JLLM_SIGNATURES=OFF";
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
  if (!tool::can_sign()) GTEST_SKIP() << "built with JLLM_SIGNATURES=OFF";
  compile("a.jllm", "64");
  done(jllmc({"keygen", file("maker")}));
  for (const char* command : {"run", "chat", "bench", "eval", "tokenize", "verify", "selftest"}) {
    std::vector<std::string> words = {command, file("a.jllm"), "--trusted-key", file("maker.pub")};
    if (words[0] == "eval") words.insert(words.end(), {"-f", "text"});
    expect_failure(jllm(words), 4, {"not signed"});
  }
}

nlohmann::json self_test(const std::string& plan, int code,
                         const test::ProcessOptions& options = {}) {
  const ProcessResult result = jllm({"selftest", plan, "--json"}, options);
  EXPECT_EQ(result.code, code) << result.err;
  return nlohmann::json::parse(result.out, nullptr, false);
}

TEST_F(Update, SelfTestOfTheBundledModel) {
  const std::string model = JLLM_MODELS_DIR "/tiny-workshop-5m.q4_k_m.gguf";
  done(jllmc({"compile", model, "-o", file("a.jllm"), "--context", "128"}));
  EXPECT_EQ(self_test(file("a.jllm"), 0).value("exact", false), true);
  EXPECT_NE(done(jllm({"selftest", file("a.jllm")})).out.find("self-test passed"),
            std::string::npos);
  // Half of the weights' bytes wrong: the model is another.
  std::vector<uint8_t> bytes = test::read_file(file("a.jllm"));
  for (size_t i = bytes.size() / 4; i < bytes.size() / 2; ++i) bytes[i] ^= 0x11;
  test::write_file(file("a.jllm"), bytes.data(), bytes.size());
  EXPECT_EQ(self_test(file("a.jllm"), 1).value("passed", true), false);
  EXPECT_NE(jllm({"selftest", file("a.jllm")}).out.find("self-test FAILED"), std::string::npos);
}

TEST_F(Update, NoSelfTestIsCode5) {
  done(jllmc({"compile", file("model.gguf"), "-o", file("a.jllm"), "--selftest", "never"}));
  expect_failure(jllm({"selftest", file("a.jllm")}), 5, {"no self-test", "--selftest always"});
  expect_failure(jllmc({"compile", file("model.gguf"), "-o", file("a.jllm"), "--selftest", "some"}),
                 2, {"auto, always or never"});
}

// The workstation's CPU made the test, the kernels pass it, executed by the fake driver: one way of
// computing vouches for the other. Split and signed, as an update would come.
TEST_F(Update, KernelsPassTheHostsSelfTest) {
  if (!tool::can_sign()) GTEST_SKIP() << "built with JLLM_SIGNATURES=OFF";
  done(jllmc({"compile", file("model.gguf"), "-o", file("a.jllm"), "--target", "orin-nano-8gb",
              "--context", "64", "--speculate", "0", "--prefill-chunk", "16", "--split-weights",
              "--no-cache", "--nvrtc", JLLM_FAKE_CUDA "/nvrtc", "--selftest", "always"}));
  done(jllmc({"keygen", file("maker")}));
  done(jllmc({"sign", file("a.jllm"), "--key", file("maker.key")}));
  test::ProcessOptions device;
  device.environment = {"LD_LIBRARY_PATH=" JLLM_FAKE_CUDA};
  const ProcessResult result =
      jllm({"selftest", file("a.jllm"), "--json", "--trusted-key", file("maker.pub")}, device);
  EXPECT_EQ(result.code, 0) << result.err;
  const auto document = nlohmann::json::parse(result.out, nullptr, false);
  ASSERT_TRUE(document.is_object()) << result.out;
  EXPECT_EQ(document.value("passed", false), true);
  EXPECT_EQ(document.value("missed", 1u), 0u);
  EXPECT_EQ(document.value("exact", true), false) << "kernels add up in another order";
  // Code that was altered never reaches the driver.
  std::vector<uint8_t> bytes = test::read_file(file("a.jllm"));
  bytes[bytes.size() / 2] ^= 1;
  test::write_file(file("a.jllm"), bytes.data(), bytes.size());
  expect_failure(jllm({"selftest", file("a.jllm"), "--trusted-key", file("maker.pub")}, device), 4,
                 {"a.jllm"});
}

}  // namespace
}  // namespace jllm
