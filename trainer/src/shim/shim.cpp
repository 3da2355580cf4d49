// The few calls of libtorch that tch does not wrap. Nothing here may let an exception cross into Rust.

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/leaky_relu.h>
#include <dlfcn.h>

#include <exception>
#include <optional>
#include <string>
#include <vector>

namespace {
at::DeviceType device_type(int cuda) { return cuda ? at::kCUDA : at::kCPU; }

thread_local std::string last_error;

std::vector<at::Tensor> list(at::Tensor *const *tensors, int count) {
  std::vector<at::Tensor> copies;
  copies.reserve(count);
  for (int i = 0; i < count; i++) copies.push_back(*tensors[i]);
  return copies;
}

std::optional<at::Tensor> optional(const at::Tensor *tensor) {
  return tensor ? std::optional<at::Tensor>(*tensor) : std::nullopt;
}

template <typename F> int guarded(F call) {
  try {
    call();
    return 0;
  } catch (const std::exception &error) {
    last_error = error.what();
  } catch (...) {
    last_error = "unknown error in libtorch";
  }
  return 1;
}
} // namespace

extern "C" {

// Registers the CUDA kernels of libtorch, where the library is there. To be called before the first torch call:
// the dispatcher's tables are filled by static initialisers of the library. Returns 1 where it was loaded.
int scanside_load_cuda() { return dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr; }

// The message of this thread's last failed call, until the next one fails.
const char *scanside_last_error() { return last_error.c_str(); }

// Opens a region of automatic mixed precision in bfloat16. Returns 0 on success.
int scanside_autocast_begin(int cuda) {
  return guarded([&] {
    at::autocast::set_autocast_dtype(device_type(cuda), at::kBFloat16);
    at::autocast::set_autocast_enabled(device_type(cuda), true);
    at::autocast::increment_nesting();
  });
}

// Closes the region; the casts of weights that were kept for the region's length are dropped at the outermost one.
void scanside_autocast_end(int cuda) {
  guarded([&] {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_type(cuda), false);
  });
}

// CUDA: cuDNN's deterministic kernels or its fastest, and TensorFloat-32 on or off.
int scanside_cuda_numerics(int deterministic, int tf32) {
  return guarded([&] {
    at::globalContext().setDeterministicCuDNN(deterministic != 0);
    at::globalContext().setBenchmarkCuDNN(deterministic == 0);
    at::globalContext().setAllowTF32CuBLAS(tf32 != 0);
    at::globalContext().setAllowTF32CuDNN(tf32 != 0);
  });
}

// One step of AdamW over `count` parameters. `steps` are scalars that the caller has counted up; gradients are divided
// by the scalar `scale` where it is given.
int scanside_fused_adamw(at::Tensor *const *parameters, at::Tensor *const *gradients, at::Tensor *const *first,
                         at::Tensor *const *second, at::Tensor *const *steps, int count, double rate, double beta1,
                         double beta2, double decay, double epsilon, const at::Tensor *scale) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    at::_fused_adamw_(list(parameters, count), list(gradients, count), list(first, count), list(second, count), {},
                      list(steps, count), rate, beta1, beta2, decay, epsilon, /*amsgrad=*/false, /*maximize=*/false,
                      optional(scale), std::nullopt);
  });
}

// One step of SGD with Nesterov momentum (plain where momentum is 0); buffers start at zero.
int scanside_fused_sgd(at::Tensor *const *parameters, at::Tensor *const *gradients, at::Tensor *const *buffers,
                       int count, double rate, double momentum, double decay, const at::Tensor *scale) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    // Without momentum libtorch wants no buffers.
    const auto kept = momentum > 0 ? list(buffers, count) : std::vector<at::Tensor>{};
    at::_fused_sgd_(list(parameters, count), list(gradients, count), kept, decay, momentum, rate,
                    /*dampening=*/0.0, /*nesterov=*/momentum > 0, /*maximize=*/false, /*is_first_step=*/false,
                    optional(scale), std::nullopt);
  });
}

// x, or slope x where negative: a new tensor that the caller owns, or null. tch wraps it without the slope.
at::Tensor *scanside_leaky_relu(const at::Tensor *x, double slope) {
  at::Tensor *result = nullptr;
  guarded([&] { result = new at::Tensor(at::leaky_relu(*x, slope)); });
  return result;
}

} // extern "C"
