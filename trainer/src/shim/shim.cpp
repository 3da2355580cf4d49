// The few calls of libtorch that tch does not wrap. Nothing here may let an exception cross into Rust.

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <dlfcn.h>

namespace {
at::DeviceType device_type(int cuda) { return cuda ? at::kCUDA : at::kCPU; }
} // namespace

extern "C" {

// Registers the CUDA kernels of libtorch, where the library is there. To be called before the first torch call:
// the dispatcher's tables are filled by static initialisers of the library. Returns 1 where it was loaded.
int scanside_load_cuda() { return dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr; }

// Opens a region of automatic mixed precision in bfloat16. Returns 0 on success.
int scanside_autocast_begin(int cuda) {
  try {
    at::autocast::set_autocast_dtype(device_type(cuda), at::kBFloat16);
    at::autocast::set_autocast_enabled(device_type(cuda), true);
    at::autocast::increment_nesting();
    return 0;
  } catch (...) {
    return 1;
  }
}

// Closes the region; the casts of weights that were kept for the region's length are dropped at the outermost one.
void scanside_autocast_end(int cuda) {
  try {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_type(cuda), false);
  } catch (...) {
  }
}

// Deterministic kernels only where libtorch has them, and TensorFloat-32 on or off for CUDA.
int scanside_numerics(int deterministic, int tf32) {
  try {
    at::globalContext().setDeterministicAlgorithms(deterministic != 0, /*warn_only=*/true);
    at::globalContext().setDeterministicCuDNN(deterministic != 0);
    at::globalContext().setBenchmarkCuDNN(deterministic == 0);
    at::globalContext().setAllowTF32CuBLAS(tf32 != 0);
    at::globalContext().setAllowTF32CuDNN(tf32 != 0);
    return 0;
  } catch (...) {
    return 1;
  }
}

} // extern "C"
