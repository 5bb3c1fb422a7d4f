// Clocks and temperature while a bench runs, from where they can be read without linking NVML:
// sysfs on a Jetson and for the CPU, nvidia-smi for a graphics card. What cannot be read stays
// empty.
#pragma once

#include <optional>
#include <string>

namespace jllm::tool {

struct Health {
  std::optional<double> clock_mhz;         // of the GPU, or of the first CPU for host plans
  std::optional<double> memory_clock_mhz;  // graphics cards
  std::optional<double> temperature_c;
  std::optional<double> power_w;  // graphics cards
};

// The CPU's, from files below `root` ("" outside tests).
Health cpu_health(const std::string& root);
// A Jetson's GPU, likewise.
Health jetson_health(const std::string& root);
// A graphics card's from `nvidia-smi`, asked by its PCI address ("0000:3b:00.0").
Health card_health(const std::string& pci_address);
// What `nvidia-smi --query-gpu=clocks.sm,clocks.mem,temperature.gpu,power.draw` printed.
Health parse_card_health(const std::string& line);

}  // namespace jllm::tool
