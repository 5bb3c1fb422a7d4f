// docs/models.md is complete: every architecture, every weight type, no figure beyond its bound.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "compiler/gguf/type_mix.h"
#include "compiler/model/model.h"
#include "tests/e2e/arch/figures.h"
#include "tests/e2e/arch/models.h"
#include "tests/support/files.h"

namespace jllm::arch {
namespace {

const std::string kFigures = JLLM_GOLDEN_DIR "/arch_errors/";
const char kAdvice[] = "run build/tests/measure_archs host";

TEST(ModelsPage, IsMadeOfTheFigures) {
  EXPECT_EQ(test::read_text(JLLM_GOLDEN_DIR "/../../docs/models.md"),
            models_page(read_figures(kFigures + "host.json"), read_figures(kFigures + "cuda.json")))
      << kAdvice;
}

TEST(ModelsPage, HasEveryArchitectureAndType) {
  const Measured host = read_figures(kFigures + "host.json");
  std::set<std::string> architectures;
  for (const ArchModel& model : arch_models()) {
    ASSERT_EQ(host.models.count(model.name), 1u) << model.name << ": " << kAdvice;
    const Figures& figures = host.models.at(model.name);
    architectures.insert(figures.architecture);
    EXPECT_EQ(figures.like, model.model.like) << kAdvice;
    for (const std::string& type : weight_types()) {
      EXPECT_EQ(figures.nmse.count(type), 1u) << model.name << " " << type << ": " << kAdvice;
    }
  }
  EXPECT_EQ(host.models.size(), arch_models().size()) << "a model is gone: " << kAdvice << " --all";
  for (const std::string& name : model::architecture_names()) {
    EXPECT_EQ(architectures.count(name), 1u) << name << " has no model in arch_models()";
  }
}

TEST(ModelsPage, NoFigureIsBeyondItsBound) {
  for (const bool cuda : {false, true}) {
    for (const auto& [name, figures] :
         read_figures(kFigures + (cuda ? "cuda.json" : "host.json")).models) {
      for (const auto& [type, nmse] : figures.nmse) {
        EXPECT_LT(nmse, bound_of(name, type, cuda)) << name << " " << type;
      }
    }
  }
}

// The figures of a type are of that type: a widened model has it in most of its matrices.
TEST(ModelsPage, WidenedModelsTakeEveryType) {
  for (const std::string& type : weight_types()) {
    ASSERT_NE(gguf::find_type_mix(type), nullptr) << type << " cannot be made";
  }
  for (const ArchModel& model : arch_models()) {
    for (const std::string& type : weight_types()) {
      ArchModel typed = {model.name, widened(model.model)};
      typed.model.type = type;
      typed.model.header_only = true;
      const test::TempDir folder;
      write_model(typed, folder.file("model.gguf"));
      const gguf::File file =
          llvm::cantFail(gguf::File::open(folder.file("model.gguf"), gguf::OpenOptions{true}));
      size_t matrices = 0, of_type = 0;
      for (const gguf::TensorInfo& tensor : file.tensors()) {
        if (tensor.shape.size() < 2) continue;
        ++matrices;
        of_type += weight_type_name(tensor.type()) == type;
      }
      EXPECT_GT(2 * of_type, matrices) << model.name << " " << type;
    }
  }
}

}  // namespace
}  // namespace jllm::arch
