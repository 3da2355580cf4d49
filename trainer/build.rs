//! Compiles the C++ shim over what tch does not wrap, and lets the trainer find libtorch without LD_LIBRARY_PATH.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=src/shim/shim.cpp");
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    // torch-sys says where the library lies; its headers stand beside it.
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys names the library folder of libtorch");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    let root = std::env::var_os("LIBTORCH_INCLUDE")
        .map(PathBuf::from)
        .or_else(|| PathBuf::from(&lib).parent().map(PathBuf::from))
        .expect("the library folder of libtorch has a parent");
    let version = root.join("build-version");
    println!("cargo:rerun-if-changed={}", version.display());
    let version = std::fs::read_to_string(version).unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo:rustc-env=SCANSIDE_LIBTORCH_VERSION={}", version.trim());
    cc::Build::new()
        .cpp(true)
        .pic(true)
        .warnings(false)
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include(root.join("include"))
        .include(root.join("include/torch/csrc/api/include"))
        .file("src/shim/shim.cpp")
        .compile("scanside_shim");
}
