// The byte images of activations (kernels/device/activations.cuh), made and read on the host, and
// the error that they bring into a dot product.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/catalogue.h"

namespace jllm::test {

using kernels::Activations;

constexpr Activations kAllModes[] = {Activations::kExact, Activations::kInt8,
                                     Activations::kInt8Pair};

// The step of each group of 32: what one unit of the image's integers stands for.
std::vector<double> image_steps(Activations mode, std::span<const float> values);

std::vector<uint8_t> make_image(Activations mode, std::span<const float> values);

// The values that an image stands for; a failure is reported where a sum is not that of the
// integers.
std::vector<float> read_image(Activations mode, std::span<const uint8_t> image, size_t count);

// For each row of weight [n][k]: eight standard deviations of the error that rounding in[k] to the
// image's steps, evenly within half a step, brings into its product.
std::vector<double> rounding_tolerance(Activations mode, std::span<const float> in,
                                       std::span<const float> weight, size_t k);

}  // namespace jllm::test
