//! Compiles the C++ shim over what tch does not wrap, lets the trainer find libtorch without LD_LIBRARY_PATH, and takes
//! down the source revision.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SHIM: &str = "src/shim/shim.cpp";
const LIBRARY: &str = "scanside_shim";
/// Below the workspace root: what the program is made from.
const SOURCES: [&str; 5] = ["trainer", "onnx", "imaging", "bundle", "Cargo.lock"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={SHIM}");
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
    let version = fs::read_to_string(version).unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo:rustc-env=SCANSIDE_LIBTORCH_VERSION={}", version.trim());
    compile_shim(&root, version.trim());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if let Some(revision) = revision(&workspace) {
        println!("cargo:rustc-env=SCANSIDE_GIT_REVISION={revision}");
    }
}

/// Compiles the shim where it is not compiled yet: libtorch's headers take half a minute, and this script runs after
/// every change of a source, because the revision may have changed with it.
fn compile_shim(libtorch: &Path, version: &str) {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let source = fs::read_to_string(SHIM).expect("the shim's source");
    let made_from = format!("{} {version}\n{source}", libtorch.display());
    let stamp = out.join("shim.stamp");
    let archive = out.join(format!("lib{LIBRARY}.a"));
    if !archive.exists() || fs::read_to_string(&stamp).ok() != Some(made_from.clone()) {
        cc::Build::new()
            .cpp(true)
            .pic(true)
            .warnings(false)
            .cargo_metadata(false)
            .std("c++17")
            .define("_GLIBCXX_USE_CXX11_ABI", "1")
            .include(libtorch.join("include"))
            .include(libtorch.join("include/torch/csrc/api/include"))
            .file(SHIM)
            .compile(LIBRARY);
        fs::write(&stamp, made_from).expect("OUT_DIR may be written");
    }
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=static={LIBRARY}");
    println!("cargo:rustc-link-lib=stdc++");
}

/// The revision of the repository whose root is `workspace`, with `-dirty` if a source was changed since. None elsewhere:
/// unpacked below another repository, the sources are not of its revision.
fn revision(workspace: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(workspace)
            .args(arguments)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let root = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
    if root.canonicalize().ok()? != workspace.canonicalize().ok()? {
        return None;
    }
    for source in SOURCES.map(|source| match source {
        "Cargo.lock" => root.join(source),
        folder => root.join(folder).join("src"),
    }) {
        println!("cargo:rerun-if-changed={}", source.display());
    }
    // Every commit and checkout adds to the log of HEAD. Cargo would run this every time for a file that is absent.
    for file in ["HEAD", "logs/HEAD"] {
        let path = root.join(git(&["rev-parse", "--git-path", file])?);
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    let revision = git(&["rev-parse", "HEAD"])?;
    let status = ["status", "--porcelain", "--untracked-files=no", "--"];
    let changed = git(&[&status[..], &SOURCES[..]].concat())?;
    Some(match changed.is_empty() {
        true => revision,
        false => format!("{revision}-dirty"),
    })
}
