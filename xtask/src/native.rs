//! The native libraries: libtorch for the trainer, ONNX Runtime for everything that infers.
//!
//! Both come out of PyPI wheels, pinned by version and SHA-256, unpacked once into a cache that
//! all clones share. `.native/` in the clone holds links into that cache.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::command::{heading, root, run};

/// Arguments of `setup`.
#[derive(clap::Args)]
pub struct Args {
    /// Only ONNX Runtime: enough for the appliance, without the trainer's 500 MB
    #[arg(long)]
    edge_only: bool,
}

/// One library: the wheels that hold it and the files to take from them.
struct Library {
    name: &'static str,
    version: &'static str,
    /// pip requirement lines, each with its hash.
    requirements: &'static [&'static str],
    /// Values of pip's `--platform`.
    platforms: &'static [&'static str],
    /// Path in the wheel, or its beginning when it ends in `/`, and where it lands.
    files: &'static [(&'static str, &'static str)],
    /// A stub `libtorch.so` and the version file that torch-sys looks for are made beside it.
    torch_layout: bool,
}

const LIBTORCH: Library = Library {
    name: "libtorch",
    version: "2.11.0",
    requirements: &[
        "torch==2.11.0 --hash=sha256:7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
        "nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        "nvidia-cuda-cupti==13.0.85 --hash=sha256:4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    ],
    platforms: &[
        "manylinux_2_28_x86_64",
        "manylinux_2_25_x86_64",
        "manylinux_2_17_x86_64",
    ],
    files: &[
        ("torch/include/", "torch/include/"),
        ("torch/lib/libtorch_cpu.so", "torch/lib/libtorch_cpu.so"),
        ("torch/lib/libc10.so", "torch/lib/libc10.so"),
        ("torch/lib/libgomp.so.1", "torch/lib/libgomp.so.1"),
        ("nvidia/cu13/lib/libcudart.so.13", "nvidia/cu13/lib/libcudart.so.13"),
        ("nvidia/cu13/lib/libcupti.so.13", "nvidia/cu13/lib/libcupti.so.13"),
    ],
    torch_layout: true,
};

#[cfg(target_arch = "x86_64")]
const ONNXRUNTIME: Library = Library {
    name: "onnxruntime",
    version: "1.31.1",
    requirements: &[
        "onnxruntime==1.31.1 --hash=sha256:5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
    ],
    platforms: &["manylinux_2_28_x86_64", "manylinux_2_27_x86_64"],
    files: &[(
        "onnxruntime/capi/libonnxruntime.so.1.31.1",
        "lib/libonnxruntime.so.1.31.1",
    )],
    torch_layout: false,
};

#[cfg(target_arch = "aarch64")]
const ONNXRUNTIME: Library = Library {
    name: "onnxruntime",
    version: "1.31.1",
    requirements: &[
        "onnxruntime==1.31.1 --hash=sha256:da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
    ],
    platforms: &["manylinux_2_28_aarch64", "manylinux_2_27_aarch64"],
    files: &[(
        "onnxruntime/capi/libonnxruntime.so.1.31.1",
        "lib/libonnxruntime.so.1.31.1",
    )],
    torch_layout: false,
};

/// Fetches what is missing and links it into `.native/`.
///
/// # Errors
/// When python3 or pip is absent, a download fails or does not match its hash, or the cache
/// cannot be written.
pub fn setup(args: &Args) -> Result<()> {
    provide(&ONNXRUNTIME)?;
    if !args.edge_only {
        if !cfg!(target_arch = "x86_64") {
            bail!(
                "libtorch is pinned for x86_64 only; run `cargo xtask setup --edge-only` here, \
                 or set LIBTORCH to your own libtorch {}",
                LIBTORCH.version
            );
        }
        provide(&LIBTORCH)?;
    }
    Ok(())
}

/// Everything that the whole workspace needs.
///
/// # Errors
/// As [`setup`].
pub fn setup_all() -> Result<()> {
    setup(&Args { edge_only: false })
}

fn provide(library: &Library) -> Result<()> {
    let kept = cache_folder()?.join(library.cache_name());
    if !kept.is_dir() {
        heading(&format!("fetching {} {}", library.name, library.version));
        fetch(library, &kept)?;
    }
    link(&kept, &root().join(".native").join(library.name))
}

impl Library {
    /// Changes with every pin, so that an old cache entry is never taken for a new one.
    fn cache_name(&self) -> String {
        let mut hash = Sha256::new();
        for part in self.requirements.iter().chain(self.platforms) {
            hash.update(part.as_bytes());
        }
        for (from, to) in self.files {
            hash.update(from.as_bytes());
            hash.update(to.as_bytes());
        }
        let digest: String = hash
            .finalize()
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{}-{}-{digest}", self.name, self.version)
    }
}

/// `SCANSIDE_CACHE`, else `XDG_CACHE_HOME/scanside`, else `~/.cache/scanside`.
fn cache_folder() -> Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("SCANSIDE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("scanside")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/scanside")))
        .context("no cache folder: set SCANSIDE_CACHE to a folder with 1 GB of room")
}

/// Downloads and unpacks beside `kept`, then renames: an interrupted fetch leaves nothing half done.
fn fetch(library: &Library, kept: &Path) -> Result<()> {
    let cache = kept.parent().context("the cache has no parent folder")?;
    fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let work = tempfile::tempdir_in(cache).with_context(|| format!("cannot write in {}", cache.display()))?;
    let wheels = work.path().join("wheels");
    download(library, work.path(), &wheels)?;
    let unpacked = work.path().join("unpacked");
    for wheel in fs::read_dir(&wheels)? {
        unpack(library, &wheel?.path(), &unpacked)?;
    }
    check_complete(library, &unpacked)?;
    if library.torch_layout {
        complete_torch(library, &unpacked)?;
    }
    match fs::rename(&unpacked, kept) {
        // Another clone was faster; its copy has the same hash.
        Err(_) if kept.is_dir() => Ok(()),
        renamed => renamed.with_context(|| format!("cannot keep {}", kept.display())),
    }
}

fn download(library: &Library, work: &Path, wheels: &Path) -> Result<()> {
    let pins = work.join("requirements.txt");
    fs::write(&pins, library.requirements.join("\n") + "\n")?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
    ]);
    pip.args([
        "--implementation",
        "cp",
        "--python-version",
        "3.11",
        "--abi",
        "cp311",
        "--abi",
        "none",
    ]);
    for platform in library.platforms {
        pip.args(["--platform", platform]);
    }
    pip.arg("--dest").arg(wheels).arg("--requirement").arg(&pins);
    run(&mut pip).context("python3 with pip is needed to fetch the native libraries, and a package index it can reach")
}

/// Takes the wanted files of one wheel.
fn unpack(library: &Library, wheel: &Path, into: &Path) -> Result<()> {
    let file = fs::File::open(wheel)?;
    let mut archive =
        zip::ZipArchive::new(io::BufReader::new(file)).with_context(|| format!("cannot read {}", wheel.display()))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let Some(target) = library.target_of(&entry.name()?) else {
            continue;
        };
        let path = into.join(target);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut out = fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        io::copy(&mut entry, &mut out)?;
    }
    Ok(())
}

impl Library {
    /// Where the wheel's `name` lands, if it is wanted.
    fn target_of(&self, name: &str) -> Option<String> {
        if name.ends_with('/') || name.split('/').any(|part| part == "..") {
            return None;
        }
        self.files.iter().find_map(|(from, to)| match from.strip_suffix('/') {
            Some(_) => name.strip_prefix(from).map(|rest| format!("{to}{rest}")),
            None => (name == *from).then(|| (*to).to_owned()),
        })
    }
}

fn check_complete(library: &Library, unpacked: &Path) -> Result<()> {
    for (from, to) in library.files {
        if !unpacked.join(to).exists() {
            bail!("the wheels of {} {} hold no {from}", library.name, library.version);
        }
    }
    Ok(())
}

/// torch-sys links `libtorch`; the wheel's own drags CUDA in, an empty one does not.
fn complete_torch(library: &Library, unpacked: &Path) -> Result<()> {
    let torch = unpacked.join("torch");
    fs::write(torch.join("build-version"), format!("{}\n", library.version))?;
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut stub = Command::new(compiler);
    stub.args(["-shared", "-nostdlib", "-Wl,-soname,libtorch.so", "-o"])
        .arg(torch.join("lib/libtorch.so"))
        .args(["-x", "c", "/dev/null"]);
    run(&mut stub).context("a C compiler is needed")
}

/// Points `link` at `kept`, replacing an older link.
fn link(kept: &Path, link: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|target| target == kept) {
        return Ok(());
    }
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent)?;
    }
    if link.symlink_metadata().is_ok() {
        if !link.is_symlink() {
            bail!(
                "{} is not a link that setup made; move it away and run setup again",
                link.display()
            );
        }
        fs::remove_file(link)?;
    }
    std::os::unix::fs::symlink(kept, link)
        .with_context(|| format!("cannot link {} to {}", link.display(), kept.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_files_are_taken() {
        assert_eq!(
            LIBTORCH.target_of("torch/include/ATen/ATen.h").as_deref(),
            Some("torch/include/ATen/ATen.h")
        );
        assert_eq!(LIBTORCH.target_of("torch/lib/libtorch_cuda.so"), None);
        assert_eq!(LIBTORCH.target_of("torch/include/../../etc"), None);
        assert_eq!(
            ONNXRUNTIME
                .target_of("onnxruntime/capi/libonnxruntime.so.1.31.1")
                .as_deref(),
            Some("lib/libonnxruntime.so.1.31.1")
        );
    }

    #[test]
    fn a_changed_pin_changes_the_cache_entry() {
        let changed = Library {
            platforms: &["other"],
            ..LIBTORCH
        };
        assert_ne!(changed.cache_name(), LIBTORCH.cache_name());
    }
}
