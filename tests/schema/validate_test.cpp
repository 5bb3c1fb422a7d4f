// One damaged plan per rule of validate_plan(), with the error and the message that the user reads,
// and the largest value that the rule still allows where it has an edge.
#include <gtest/gtest.h>

#include <functional>

#include "schema/step_state.h"
#include "tests/support/edited_plan.h"

namespace jllm {
namespace {

using fbedit::PlanT;
using test::EditedPlan;
using test::Opened;

using Edit = std::function<void(EditedPlan*)>;

Opened open_edited(const Edit& edit) {
  EditedPlan plan;
  edit(&plan);
  return test::open_head(plan.head());
}

template <typename Kind, typename List>
auto& first_of(Kind kind, List& list) {
  for (auto& item : list) {
    if (item->kind == kind) return *item;
  }
  ADD_FAILURE() << "the plan has no such entry";
  return *list.front();
}

fbedit::ArenaT& arena(EditedPlan* plan, fbedit::ArenaKind kind) {
  return first_of(kind, plan->tables.arenas);
}

fbedit::SegmentT& weights(EditedPlan* plan) {
  return first_of(fbedit::SegmentKind::Weights, plan->tables.segments);
}

fbedit::GraphT& decode(EditedPlan* plan) {
  return first_of(fbedit::GraphKind::Decode, plan->tables.graphs);
}

fbedit::GraphT& verify(EditedPlan* plan) {
  return first_of(fbedit::GraphKind::Verify, plan->tables.graphs);
}

// The same plan as one that makes embeddings: its vector lies where the logits were.
void become_embedding(EditedPlan* plan) {
  for (auto& graph : plan->tables.graphs) {
    if (graph->kind != fbedit::GraphKind::Head) graph->kind = fbedit::GraphKind::Prefill;
  }
  plan->tables.bindings->embedding = plan->tables.model->embedding_length;
}

fbedit::LaunchT& launch(EditedPlan* plan) { return *decode(plan).launches.front(); }

fbedit::KernelT& kernel(EditedPlan* plan) { return *plan->tables.kernels.front(); }

// The first argument of the decode graph's first launch that is a pointer (or is none).
fbedit::Arg& argument(EditedPlan* plan, fbedit::ArgKind kind) {
  for (fbedit::Arg& arg : launch(plan).args) {
    if (arg.kind() == kind) return arg;
  }
  ADD_FAILURE() << "the launch has no such argument";
  return launch(plan).args.front();
}

fbedit::Arg& pointer(EditedPlan* plan) { return argument(plan, fbedit::ArgKind::Pointer); }

uint64_t arena_size(EditedPlan* plan, uint32_t index) { return plan->tables.arenas[index]->size; }

TEST(Validate, PlansThatWereTakenApartAndPutTogetherOpen) {
  const Opened same = open_edited([](EditedPlan*) {});
  EXPECT_EQ(same.error, Error::kOk) << same.message;
  const Opened cuda = open_edited([](EditedPlan* p) { p->become_cuda(); });
  EXPECT_EQ(cuda.error, Error::kOk) << cuda.message;
}

struct Damage {
  const char* name;
  Edit edit;
  const char* message;  // starts with this
};

void PrintTo(const Damage& damage, std::ostream* os) { *os << damage.name; }

class Damaged : public testing::TestWithParam<Damage> {};

TEST_P(Damaged, IsRefused) {
  const Opened opened = open_edited(GetParam().edit);
  EXPECT_EQ(opened.error, Error::kPlanInvalid);
  EXPECT_EQ(opened.message.substr(0, std::string(GetParam().message).size()), GetParam().message);
}

const char* damage_name(const Damage& damage) { return damage.name; }

const Damage kArenas[] = {
    {"TooMany",
     [](EditedPlan* p) {
       while (p->tables.arenas.size() <= 64) {
         p->tables.arenas.push_back(std::make_unique<fbedit::ArenaT>(*p->tables.arenas[0]));
       }
     },
     "plan: too many arenas"},
    {"UnknownKind",
     [](EditedPlan* p) { p->tables.arenas[0]->kind = static_cast<fbedit::ArenaKind>(5); },
     "plan: unknown arena kind"},
    {"Huge", [](EditedPlan* p) { p->tables.arenas[0]->size = (1ull << 40) + 1; },
     "plan: an arena is larger than 1 TiB"},
    {"NoAlignment", [](EditedPlan* p) { p->tables.arenas[0]->alignment = 0; },
     "plan: arena alignment 0 is not a power of two up to 4096"},
    {"OddAlignment", [](EditedPlan* p) { p->tables.arenas[0]->alignment = 48; },
     "plan: arena alignment 48 is not a power of two up to 4096"},
    {"HugeAlignment", [](EditedPlan* p) { p->tables.arenas[0]->alignment = 8192; },
     "plan: arena alignment 8192 is not a power of two up to 4096"},
};

const Damage kSegments[] = {
    {"UnknownKind",
     [](EditedPlan* p) { p->tables.segments[0]->kind = static_cast<fbedit::SegmentKind>(6); },
     "plan: unknown segment kind"},
    {"Unaligned", [](EditedPlan* p) { p->tables.segments[0]->offset += 64; },
     "plan: a segment at "},
    {"OverTheTables", [](EditedPlan* p) { p->tables.segments[0]->offset = 0; },
     "plan: a segment at 0 lies outside the file or over another"},
    {"OverAnother",
     [](EditedPlan* p) { p->tables.segments[1]->offset = p->tables.segments[0]->offset; },
     "plan: a segment at "},
    {"BehindTheEnd",
     [](EditedPlan* p) {
       p->tables.segments.back()->offset = p->prefix.file_size + kSegmentAlignment;
     },
     "plan: a segment at "},
    {"SizeBehindTheEnd",
     [](EditedPlan* p) {
       fbedit::SegmentT& last = *p->tables.segments.back();
       last.size = p->prefix.file_size - last.offset + 1;
     },
     "plan: a segment at "},
    {"SizeWraps", [](EditedPlan* p) { p->tables.segments.back()->size = UINT64_MAX; },
     "plan: a segment at "},
    {"ShortDigest", [](EditedPlan* p) { p->tables.segments[0]->sha256.pop_back(); },
     "plan: a segment has no SHA-256"},
    {"NoDigest", [](EditedPlan* p) { p->tables.segments[0]->sha256.clear(); },
     "plan: a segment has no SHA-256"},
    {"NoSuchArena", [](EditedPlan* p) { weights(p).dest_arena = 0xffff; },
     "plan: a weights segment does not fit its arena"},
    {"LargerThanItsArena", [](EditedPlan* p) { weights(p).dest_offset = 4; },
     "plan: a weights segment does not fit its arena"},
    {"DestinationWraps", [](EditedPlan* p) { weights(p).dest_offset = UINT64_MAX; },
     "plan: a weights segment does not fit its arena"},
    {"WeightsIntoTheKvCache",
     [](EditedPlan* p) { arena(p, fbedit::ArenaKind::Weights).kind = fbedit::ArenaKind::Kv; },
     "plan: a weights segment does not fit its arena"},
};

const Damage kBuffers[] = {
    {"NoSuchArena", [](EditedPlan* p) { p->tables.buffers[0]->arena = 64; },
     "plan: buffer first_buffer lies outside its arena"},
    {"OffsetOutside",
     [](EditedPlan* p) {
       fbedit::BufferT& buffer = *p->tables.buffers[0];
       buffer.offset = arena_size(p, buffer.arena) - buffer.size + 1;
     },
     "plan: buffer first_buffer lies outside its arena"},
    {"SizeWraps", [](EditedPlan* p) { p->tables.buffers[0]->size = UINT64_MAX; },
     "plan: buffer first_buffer lies outside its arena"},
    {"NoSuchGraph",
     [](EditedPlan* p) {
       p->tables.buffers[0]->graph = static_cast<int32_t>(p->tables.graphs.size());
     },
     "plan: buffer first_buffer has an impossible lifetime"},
    {"NegativeGraph", [](EditedPlan* p) { p->tables.buffers[0]->graph = -2; },
     "plan: buffer first_buffer has an impossible lifetime"},
    {"EndsBeforeItStarts",
     [](EditedPlan* p) {
       p->tables.buffers[0]->first_use = 3;
       p->tables.buffers[0]->last_use = 2;
     },
     "plan: buffer first_buffer has an impossible lifetime"},
    {"LongNamesAreCutInTheMessage",
     [](EditedPlan* p) {
       p->tables.buffers[0]->name = std::string(1000, 'x');
       p->tables.buffers[0]->arena = 64;
     },
     "plan: buffer xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx lies outside"},
};

const Damage kKernels[] = {
    {"UnknownBackend",
     [](EditedPlan* p) { p->tables.target->backend = static_cast<fbedit::Backend>(2); },
     "plan: unknown backend"},
    {"HostKernelInAModule", [](EditedPlan* p) { kernel(p).module_segment = 0; },
     "plan: kernel embed has no module"},
    {"CudaKernelWithoutAModule",
     [](EditedPlan* p) {
       p->become_cuda();
       kernel(p).module_segment = -1;
     },
     "plan: kernel embed has no module"},
    {"ModuleIndexOutOfRange",
     [](EditedPlan* p) {
       p->become_cuda();
       kernel(p).module_segment = static_cast<int32_t>(p->tables.segments.size());
     },
     "plan: kernel embed has no module"},
    {"ModuleIsAnotherSegment",
     [](EditedPlan* p) {
       p->become_cuda();
       kernel(p).module_segment = 1;
     },
     "plan: kernel embed has no module"},
    {"NoThreads", [](EditedPlan* p) { kernel(p).block_y = 0; },
     "plan: kernel embed has impossible launch limits"},
    {"TooManyThreads",
     [](EditedPlan* p) {
       kernel(p).block_x = 512;
       kernel(p).block_y = 3;
     },
     "plan: kernel embed has impossible launch limits"},
    {"TooDeepABlock", [](EditedPlan* p) { kernel(p).block_z = 65; },
     "plan: kernel embed has impossible launch limits"},
    {"ThreadCountWraps",
     [](EditedPlan* p) {
       kernel(p).block_x = 1u << 31;
       kernel(p).block_y = 1u << 31;
       kernel(p).block_z = 4;
     },
     "plan: kernel embed has impossible launch limits"},
    {"TooMuchSharedMemory", [](EditedPlan* p) { kernel(p).shared_bytes = (256u << 10) + 1; },
     "plan: kernel embed has impossible launch limits"},
    {"TooManyArguments", [](EditedPlan* p) { kernel(p).arg_count = 33; },
     "plan: kernel embed has impossible launch limits"},
};

const Damage kLaunches[] = {
    {"NoSuchKernel",
     [](EditedPlan* p) { launch(p).kernel = static_cast<uint32_t>(p->tables.kernels.size()); },
     "plan: launch first_launch names no kernel"},
    {"OneArgumentLess", [](EditedPlan* p) { launch(p).args.pop_back(); },
     "plan: launch first_launch has the wrong number of arguments"},
    {"OneArgumentMore", [](EditedPlan* p) { launch(p).args.push_back(launch(p).args[0]); },
     "plan: launch first_launch has the wrong number of arguments"},
    {"EmptyGrid", [](EditedPlan* p) { launch(p).grid_x = 0; },
     "plan: launch first_launch has an impossible grid"},
    {"TooWideAGrid", [](EditedPlan* p) { launch(p).grid_x = 0x80000000; },
     "plan: launch first_launch has an impossible grid"},
    {"TooHighAGrid", [](EditedPlan* p) { launch(p).grid_y = 65536; },
     "plan: launch first_launch has an impossible grid"},
    {"TooDeepAGrid", [](EditedPlan* p) { launch(p).grid_z = 65536; },
     "plan: launch first_launch has an impossible grid"},
    {"UnknownArgumentKind",
     [](EditedPlan* p) { pointer(p).mutate_kind(static_cast<fbedit::ArgKind>(2)); },
     "plan: launch first_launch: unknown argument"},
    {"NoSuchArena", [](EditedPlan* p) { pointer(p).mutate_arena(64); },
     "plan: launch first_launch points outside its arena"},
    {"PointerBehindItsArena",
     [](EditedPlan* p) {
       fbedit::Arg& arg = pointer(p);
       arg.mutate_value(arena_size(p, arg.arena()) - arg.bytes() + 4);
     },
     "plan: launch first_launch points outside its arena"},
    {"RangeWraps", [](EditedPlan* p) { pointer(p).mutate_bytes(UINT64_MAX); },
     "plan: launch first_launch points outside its arena"},
    {"UnalignedPointer",
     [](EditedPlan* p) {
       pointer(p).mutate_value(pointer(p).value() + 2);
       pointer(p).mutate_bytes(4);
     },
     "plan: launch first_launch points outside its arena"},
};

const Damage kGraphs[] = {
    {"UnknownKind", [](EditedPlan* p) { decode(p).kind = static_cast<fbedit::GraphKind>(5); },
     "plan: odd graph"},
    {"NoRows", [](EditedPlan* p) { decode(p).rows = 0; }, "plan: odd graph"},
    {"NoDecodeGraph", [](EditedPlan* p) { decode(p).kind = fbedit::GraphKind::Head; },
     "plan: a needed graph is missing"},
    {"NoHeadGraph",
     [](EditedPlan* p) {
       first_of(fbedit::GraphKind::Head, p->tables.graphs).kind = fbedit::GraphKind::Decode;
     },
     "plan: a needed graph is missing"},
    {"NoGraphs",
     [](EditedPlan* p) {
       p->tables.graphs.clear();
       p->tables.buffers.clear();
     },
     "plan: a needed graph is missing"},
};

constexpr const char* kBadVerify =
    "plan: a verify graph has odd rows, or its logits or draft lie outside";

const Damage kVerify[] = {
    {"OneRow", [](EditedPlan* p) { verify(p).rows = 1; }, kBadVerify},
    {"TooManyRows", [](EditedPlan* p) { verify(p).rows = kMaxVerifyRows + 1; }, kBadVerify},
    {"RowCountWraps", [](EditedPlan* p) { verify(p).rows = UINT32_MAX; }, kBadVerify},
    {"NoSuchLogitsArena", [](EditedPlan* p) { verify(p).logits_arena = 64; }, kBadVerify},
    {"LogitsBehindTheirArena",
     [](EditedPlan* p) {
       fbedit::GraphT& graph = verify(p);
       const uint64_t bytes = uint64_t{4} * graph.rows * p->tables.model->vocab_size;
       graph.logits = arena_size(p, graph.logits_arena) - bytes + 16;
     },
     kBadVerify},
    {"LogitsOffsetWraps", [](EditedPlan* p) { verify(p).logits = UINT64_MAX - 15; }, kBadVerify},
    {"UnalignedLogits", [](EditedPlan* p) { verify(p).logits += 4; }, kBadVerify},
    {"NoSuchDraftArena", [](EditedPlan* p) { p->tables.bindings->draft_arena = 64; }, kBadVerify},
    {"DraftBehindItsArena",
     [](EditedPlan* p) {
       fbedit::BindingsT& b = *p->tables.bindings;
       b.draft = arena_size(p, b.draft_arena) / 16 * 16;
     },
     kBadVerify},
    {"UnalignedDraft", [](EditedPlan* p) { p->tables.bindings->draft += 4; }, kBadVerify},
    {"DraftOutsidePinnedArenas",
     [](EditedPlan* p) {
       fbedit::BindingsT& b = *p->tables.bindings;
       b.draft_arena = b.state_arena;
       b.draft = 0;
     },
     kBadVerify},
};

constexpr const char* kBadBinding = "plan: a binding lies outside its arena";

const Damage kBindings[] = {
    {"NoSuchStateArena", [](EditedPlan* p) { p->tables.bindings->state_arena = 64; }, kBadBinding},
    {"NoSuchLogitsArena", [](EditedPlan* p) { p->tables.bindings->logits_arena = 64; },
     kBadBinding},
    {"NoSuchRingArena", [](EditedPlan* p) { p->tables.bindings->ring_arena = 64; }, kBadBinding},
    {"StateBehindItsArena",
     [](EditedPlan* p) {
       fbedit::BindingsT& b = *p->tables.bindings;
       b.step_state = arena_size(p, b.state_arena) - sizeof(StepState) + 16;
     },
     kBadBinding},
    {"TokensBehindTheirArena",
     [](EditedPlan* p) {
       fbedit::BindingsT& b = *p->tables.bindings;
       b.tokens = arena_size(p, b.state_arena) - uint64_t{4} * p->tables.model->context + 16;
     },
     kBadBinding},
    {"LogitsBehindTheirArena",
     [](EditedPlan* p) {
       fbedit::BindingsT& b = *p->tables.bindings;
       b.logits = arena_size(p, b.logits_arena) - uint64_t{4} * p->tables.model->vocab_size + 16;
     },
     kBadBinding},
    {"RingBehindItsArena",
     [](EditedPlan* p) {
       fbedit::BindingsT& b = *p->tables.bindings;
       b.ring = arena_size(p, b.ring_arena) - kRingSlots * sizeof(RingSlot) + 16;
     },
     kBadBinding},
    {"OffsetWraps", [](EditedPlan* p) { p->tables.bindings->tokens = UINT64_MAX - 15; },
     kBadBinding},
    {"StateOutsideStateArenas",
     [](EditedPlan* p) { arena(p, fbedit::ArenaKind::State).kind = fbedit::ArenaKind::Scratch; },
     kBadBinding},
    {"RingOutsidePinnedArenas",
     [](EditedPlan* p) {
       arena(p, fbedit::ArenaKind::HostPinned).kind = fbedit::ArenaKind::Scratch;
     },
     kBadBinding},
    {"UnalignedState", [](EditedPlan* p) { p->tables.bindings->step_state += 4; }, kBadBinding},
    // The larger sequence would not fit the tokens that the compiler made room for.
    {"LongerContext", [](EditedPlan* p) { p->tables.model->context = 1u << 31; }, kBadBinding},
    {"LargerVocabulary", [](EditedPlan* p) { p->tables.model->vocab_size = 1u << 31; },
     kBadBinding},
};

// Where a vector ends with its arena.
uint64_t last_place(EditedPlan* plan) {
  const fbedit::BindingsT& b = *plan->tables.bindings;
  return arena_size(plan, b.logits_arena) - uint64_t{4} * b.embedding;
}

const Damage kEmbeddings[] = {
    {"VectorBehindItsArena",
     [](EditedPlan* p) {
       become_embedding(p);
       p->tables.bindings->logits = last_place(p) + 16;
     },
     kBadBinding},
    {"VectorOffsetWraps",
     [](EditedPlan* p) {
       become_embedding(p);
       p->tables.bindings->logits = UINT64_MAX - 15;
     },
     kBadBinding},
    {"UnalignedVector",
     [](EditedPlan* p) {
       become_embedding(p);
       p->tables.bindings->logits += 4;
     },
     kBadBinding},
    {"LongerVector",
     [](EditedPlan* p) {
       become_embedding(p);
       p->tables.bindings->embedding = UINT32_MAX;
     },
     kBadBinding},
    {"NoHeadGraph",
     [](EditedPlan* p) {
       become_embedding(p);
       first_of(fbedit::GraphKind::Head, p->tables.graphs).kind = fbedit::GraphKind::Prefill;
     },
     "plan: a needed graph is missing"},
    {"NoPrefillGraph",
     [](EditedPlan* p) {
       become_embedding(p);
       for (auto& graph : p->tables.graphs) graph->kind = fbedit::GraphKind::Head;
     },
     "plan: a needed graph is missing"},
};

const Damage kModel[] = {
    {"EmptyContext", [](EditedPlan* p) { p->tables.model->context = 0; },
     "plan: empty context or vocabulary"},
    {"EmptyVocabulary", [](EditedPlan* p) { p->tables.model->vocab_size = 0; },
     "plan: empty context or vocabulary"},
    {"TooManyEndTokens", [](EditedPlan* p) { p->tables.end_tokens.assign(kMaxEndTokens + 1, 0); },
     "plan: too many end tokens"},
    {"EndTokenOutside", [](EditedPlan* p) { p->tables.end_tokens.assign(1, 512); },
     "plan: end token 512 is not in the vocabulary"},
};

#define JLLM_DAMAGE(group)                                              \
  INSTANTIATE_TEST_SUITE_P(group, Damaged, testing::ValuesIn(k##group), \
                           [](const auto& test) { return damage_name(test.param); })
JLLM_DAMAGE(Arenas);
JLLM_DAMAGE(Segments);
JLLM_DAMAGE(Buffers);
JLLM_DAMAGE(Kernels);
JLLM_DAMAGE(Launches);
JLLM_DAMAGE(Graphs);
JLLM_DAMAGE(Verify);
JLLM_DAMAGE(Bindings);
JLLM_DAMAGE(Embeddings);
JLLM_DAMAGE(Model);
#undef JLLM_DAMAGE

struct Edge {
  const char* name;
  Edit edit;
};

void PrintTo(const Edge& edge, std::ostream* os) { *os << edge.name; }

class AllowedEdge : public testing::TestWithParam<Edge> {};

TEST_P(AllowedEdge, Opens) {
  const Opened opened = open_edited(GetParam().edit);
  EXPECT_EQ(opened.error, Error::kOk) << opened.message;
}

const Edge kEdges[] = {
    {"LargestAlignment", [](EditedPlan* p) { p->tables.arenas[0]->alignment = 4096; }},
    {"LargestArena", [](EditedPlan* p) { p->tables.arenas[0]->size = 1ull << 40; }},
    {"PointerUpToTheArenasEnd",
     [](EditedPlan* p) {
       fbedit::Arg& arg = pointer(p);
       arg.mutate_value(arena_size(p, arg.arena()) - arg.bytes());
     }},
    {"ImmediatesAreNoPointers",
     [](EditedPlan* p) {
       argument(p, fbedit::ArgKind::Immediate).mutate_value(UINT64_MAX);
       argument(p, fbedit::ArgKind::Immediate).mutate_arena(64);
     }},
    {"LargestBlock", [](EditedPlan* p) { kernel(p).block_x = 1024; }},
    {"LargestGrid",
     [](EditedPlan* p) {
       launch(p).grid_x = 0x7fffffff;
       launch(p).grid_y = 65535;
       launch(p).grid_z = 65535;
     }},
    {"MostEndTokens", [](EditedPlan* p) { p->tables.end_tokens.assign(kMaxEndTokens, 511); }},
    {"NoEndTokens", [](EditedPlan* p) { p->tables.end_tokens.clear(); }},
    {"LogitsOfAVerifyGraphUpToTheArenasEnd",
     [](EditedPlan* p) {
       fbedit::GraphT& graph = verify(p);
       const uint64_t bytes = uint64_t{4} * graph.rows * p->tables.model->vocab_size;
       graph.logits = arena_size(p, graph.logits_arena) - bytes;
     }},
    {"FormatOneDotZero",  // it knew no verify graphs
     [](EditedPlan* p) {
       p->prefix.minor = 0;
       for (auto& graph : p->tables.graphs) {
         if (graph->kind == fbedit::GraphKind::Verify) graph->kind = fbedit::GraphKind::Prefill;
       }
       p->tables.bindings->draft_arena = 0;
       p->tables.bindings->draft = 0;
     }},
    {"VectorUpToTheArenasEnd",
     [](EditedPlan* p) {
       become_embedding(p);
       p->tables.bindings->logits = last_place(p);
     }},
    {"SegmentUpToTheFilesEnd",
     [](EditedPlan* p) {
       fbedit::SegmentT& last = *p->tables.segments.back();
       last.size = p->prefix.file_size - last.offset;
     }},
};

INSTANTIATE_TEST_SUITE_P(All, AllowedEdge, testing::ValuesIn(kEdges),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace jllm
