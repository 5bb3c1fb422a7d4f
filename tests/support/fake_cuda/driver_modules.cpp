// The driver API: modules, functions and launches.
#include <cstring>

#include "tests/support/fake_cuda/driver.h"
#include "tests/support/fake_cuda/module_images.h"

namespace jllm::cuda {

using namespace fake;

Status cuModuleLoadData(Module* out, const void* image) {
  ENTRY(cuModuleLoadData);
  NEEDS_CONTEXT();
  std::string problem;
  std::unique_ptr<LoadedModule> module = load_image(image, books().capability, &problem);
  if (module == nullptr) {
    return problem.empty() ? kErrorNoBinaryForGpu
                           : call.wrong(kInvalidImage, "%s", problem.c_str());
  }
  const Lock lock(books().mutex);
  LoadedModule* const address = module.get();
  books().modules[address] = std::move(module);
  *out = reinterpret_cast<Module>(address);
  return kSuccess;
}
Status cuModuleUnload(Module module) {
  ENTRY(cuModuleUnload);
  queue().wait_for_all();
  const Lock lock(books().mutex);
  const auto it = books().modules.find(module);
  if (it == books().modules.end()) return call.wrong(kInvalidHandle, "no module");
  for (const auto& [name, kernel] : it->second->functions) books().kernels.erase(kernel.get());
  books().modules.erase(it);  // the library stays: it is loaded again and again
  return call.done();
}
Status cuModuleGetFunction(Function* out, Module module, const char* name) {
  ENTRY(cuModuleGetFunction);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  const auto it = books().modules.find(module);
  if (it == books().modules.end()) return call.wrong(kInvalidHandle, "no module");
  const Kernel* kernel = find_function(*it->second, name);
  if (kernel == nullptr) return kNotFound;
  books().kernels.insert(kernel);
  *out = reinterpret_cast<Function>(const_cast<Kernel*>(kernel));
  return kSuccess;
}

Status cuFuncSetAttribute(Function function, unsigned attribute, int value) {
  ENTRY(cuFuncSetAttribute);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  if (books().kernels.count(function) == 0) return call.wrong(kInvalidHandle, "no function");
  auto* kernel = reinterpret_cast<Kernel*>(function);
  const auto fixed = static_cast<int>(kernel->code.shared_end - kernel->code.shared);
  if (attribute == kFunctionMaxDynamicSharedSizeBytes) {
    if (value < 0 || value + fixed > static_cast<int>(most_shared())) {
      return call.wrong(kInvalidValue, "%d + %d bytes of shared memory, the device has %u", value,
                        fixed, most_shared());
    }
    kernel->most_dynamic_shared = value;
  } else if (attribute != kFunctionPreferredSharedMemoryCarveout) {
    return call.wrong(kInvalidValue, "attribute %u cannot be set", attribute);
  }
  return kSuccess;
}
Status cuFuncGetAttribute(int* value, unsigned attribute, Function function) {
  ENTRY(cuFuncGetAttribute);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  if (books().kernels.count(function) == 0) return call.wrong(kInvalidHandle, "no function");
  const SimtKernel& code = reinterpret_cast<const Kernel*>(function)->code;
  switch (attribute) {
    case kFunctionMaxThreadsPerBlock:
      *value = code.most_threads != 0 ? static_cast<int>(code.most_threads) : 1024;
      break;
    case kFunctionSharedSizeBytes:
      *value = static_cast<int>(code.shared_end - code.shared);
      break;
    case kFunctionLocalSizeBytes:
      *value = 0;
      break;
    case kFunctionNumRegs:
      *value = 32;
      break;
    default:
      return call.wrong(kInvalidValue, "attribute %u", attribute);
  }
  return kSuccess;
}

static Status launch(Call& call, Function function, uint3 grid, uint3 block, unsigned shared_bytes,
                     Stream stream, void** arguments, void** extra) {
  NEEDS_STREAM(stream);
  const auto* kernel = reinterpret_cast<const Kernel*>(function);
  {
    const Lock lock(books().mutex);
    if (books().kernels.count(function) == 0) return call.wrong(kInvalidHandle, "no function");
  }
  const SimtKernel& code = kernel->code;
  const char* const name = kernel->name.c_str();
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const uint64_t most = code.most_threads != 0 ? code.most_threads : 1024;
  if (threads == 0 || threads > most || block.z > 64) {
    return call.wrong(kInvalidValue, "%s: a block of %u x %u x %u, at most %u threads", name,
                      block.x, block.y, block.z, static_cast<unsigned>(most));
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 ||
      grid.z > 65535) {
    return call.wrong(kInvalidValue, "%s: a grid of %u x %u x %u", name, grid.x, grid.y, grid.z);
  }
  const auto fixed = static_cast<unsigned>(code.shared_end - code.shared);
  if (shared_bytes > static_cast<unsigned>(kernel->most_dynamic_shared) ||
      (kernel->most_dynamic_shared <= 48 << 10 && shared_bytes + fixed > 48 << 10)) {
    return call.wrong(kInvalidValue, "%s: %u + %u bytes of shared memory, %d were asked for", name,
                      shared_bytes, fixed, kernel->most_dynamic_shared);
  }
  if (extra != nullptr || code.argument_count > kMaxArguments) {
    return call.wrong(kInvalidValue, "%s: arguments in a form that is not known", name);
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kLaunch;
  operation.kernel = kernel;
  operation.grid = grid;
  operation.block = block;
  operation.shared_bytes = shared_bytes;
  for (unsigned i = 0; i < code.argument_count; ++i) {
    if (arguments[i] == nullptr) return call.wrong(kInvalidValue, "%s: argument %u", name, i);
    std::memcpy(&operation.arguments[i], arguments[i], code.argument_bytes[i]);
    if (!code.argument_is_pointer[i]) continue;
    const uint64_t pointer = operation.arguments[i];
    const Lock lock(books().mutex);
    if (pointer != 0 && (books().find(pointer, 0, false) == nullptr || pointer % 16 != 0)) {
      return call.wrong(kInvalidValue, "%s: argument %u, %llx, is not allocated or not aligned",
                        name, i, static_cast<unsigned long long>(pointer));
    }
  }
  put(stream, operation);
  return kSuccess;
}

Status cuLaunchKernel(Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                      unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                      Stream stream, void** arguments, void** extra) {
  ENTRY(cuLaunchKernel);
  return launch(call, function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes,
                stream, arguments, extra);
}
Status cuLaunchKernelEx(const LaunchConfig* c, Function function, void** arguments, void** extra) {
  ENTRY(cuLaunchKernelEx);
  for (unsigned i = 0; i < c->attribute_count; ++i) {
    if (c->attributes[i].id != kLaunchProgrammaticStreamSerialization) {
      return call.wrong(kInvalidValue, "launch attribute %u", c->attributes[i].id);
    }
    if (books().capability < 90) return call.wrong(801, "programmatic launches need sm_90");
  }
  return launch(call, function, {c->grid_x, c->grid_y, c->grid_z},
                {c->block_x, c->block_y, c->block_z}, c->shared_bytes, c->stream, arguments, extra);
}

}  // namespace jllm::cuda
