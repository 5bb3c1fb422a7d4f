// The commands of jllm; each takes the words behind its name and returns an exit code.
#pragma once

namespace jllm::tool {

int run_command(int argc, char** argv);
int chat_command(int argc, char** argv);
int bench_command(int argc, char** argv);
int doctor_command(int argc, char** argv);
int embed_command(int argc, char** argv);
int eval_command(int argc, char** argv);
int health_command(int argc, char** argv);  // where built with JLLM_SERVE
int install_command(int argc, char** argv);
int selftest_command(int argc, char** argv);
int serve_command(int argc, char** argv);  // where built with JLLM_SERVE
int tokenize_command(int argc, char** argv);
int vector_command(int argc, char** argv);
int verify_command(int argc, char** argv);

}  // namespace jllm::tool
