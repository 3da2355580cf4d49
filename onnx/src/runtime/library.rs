//! Finding and loading the ONNX Runtime shared library.
//!
//! The search, in this order:
//! 1. the path that the caller gives (a config key or a flag): a file, or a folder that holds one;
//! 2. the environment variable [`PATH_VARIABLE`] (`ORT_DYLIB_PATH`), read the same way;
//! 3. beside the running program: its own folder, then `../lib`;
//! 4. `.native/onnxruntime/lib` of a source checkout around the program or the current folder;
//! 5. the system's loader (`libonnxruntime.so`, then `libonnxruntime.so.1`).
//!
//! The first two are orders: if what they name does not work, that is the error. The others are
//! places to look: what does not work there is passed over, and reported if nothing else is found.
//!
//! Every candidate is opened and asked for its version here, before the binding touches it: the
//! binding reports some of these faults by panicking.

use std::ffi::{CStr, CString, OsStr, c_char, c_void};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

/// Environment variable that names the library file, or the folder that holds it.
pub const PATH_VARIABLE: &str = "ORT_DYLIB_PATH";

/// The oldest ONNX Runtime that has the API this crate is built for (1.17).
pub const WANTED_VERSION: &str = "1.17";

/// Where `cargo xtask setup` puts the library inside a source checkout.
const DEVELOPMENT_FOLDER: &str = ".native/onnxruntime/lib";

/// Who asked for a library file, or where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The caller's path.
    Given,
    /// The environment variable [`PATH_VARIABLE`].
    Variable,
    /// The program's folder or the `lib` folder beside it.
    Program,
    /// A source checkout's `.native` folder.
    Checkout,
    /// The system's loader.
    System,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "given path",
            Self::Variable => PATH_VARIABLE,
            Self::Program => "beside the program",
            Self::Checkout => "source checkout",
            Self::System => "system loader",
        })
    }
}

/// A library file that was opened, asked and found usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// The file; for [`Source::System`] the bare name that the loader resolves.
    pub path: PathBuf,
    /// What the library says its version is, for example `1.31.1`.
    pub version: String,
    /// How it was found.
    pub source: Source,
}

/// Why no ONNX Runtime could be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// Nothing was found anywhere.
    #[error(
        "no ONNX Runtime library found (wanted: version {WANTED_VERSION} or newer); looked at {}. \
         Run `cargo xtask setup`, set {PATH_VARIABLE} to libonnxruntime.so, or put the file beside the program",
        list(.searched)
    )]
    NotFound {
        /// Every place that was looked at, in order.
        searched: Vec<PathBuf>,
    },
    /// The path that was asked for does not exist, or is a folder without the library.
    #[error(
        "no ONNX Runtime library at {path} ({asked_by}); give the path of libonnxruntime.so, version {WANTED_VERSION} or newer",
        path = .path.display()
    )]
    Missing {
        /// The path that was asked for.
        path: PathBuf,
        /// Who asked for it.
        asked_by: Source,
    },
    /// The file exists but the loader refuses it: not a library, another architecture, a missing dependency.
    #[error(
        "{path} cannot be loaded as a library: {reason}; \
         check that it is a complete libonnxruntime.so for this processor ({arch})",
        path = .path.display(), arch = std::env::consts::ARCH
    )]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// The loader's words.
        reason: String,
    },
    /// A library, but not ONNX Runtime.
    #[error("{path} is a library but not ONNX Runtime (no OrtGetApiBase); give the path of libonnxruntime.so", path = .path.display())]
    NotOnnxRuntime {
        /// The file.
        path: PathBuf,
    },
    /// ONNX Runtime, but without the API version that is needed.
    #[error(
        "ONNX Runtime {found} at {path} is too old: version {WANTED_VERSION} or newer is wanted; \
         run `cargo xtask setup`, or set {PATH_VARIABLE} to a newer libonnxruntime.so",
        path = .path.display()
    )]
    TooOld {
        /// The file.
        path: PathBuf,
        /// What it says its version is.
        found: String,
    },
    /// A library is loaded already; a process holds only one.
    #[error(
        "ONNX Runtime {loaded} is loaded already, {path} cannot be loaded beside it; restart with the path that is wanted",
        loaded = .loaded.display(), path = .path.display()
    )]
    AlreadyLoaded {
        /// The library in use.
        loaded: PathBuf,
        /// The library that was asked for.
        path: PathBuf,
    },
    /// The library loads, but refuses to start.
    #[error("ONNX Runtime at {path} does not start: {reason}", path = .path.display())]
    Start {
        /// The file.
        path: PathBuf,
        /// ONNX Runtime's words.
        reason: String,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    shown.join(", ")
}

/// The loaded ONNX Runtime. There is one a process, and it stays until the process ends.
#[derive(Debug)]
pub struct Runtime {
    library: Library,
    environment: Environment,
}

impl Runtime {
    /// Which file is loaded, and its version.
    pub fn library(&self) -> &Library {
        &self.library
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

/// Finds and loads ONNX Runtime, or returns the one that is loaded already.
///
/// `given` is the path from a flag or a config key, if there is one; see the module's search order.
///
/// # Errors
/// [`LibraryError`] says which file is at fault, what was found in it and what to try.
pub fn load(given: Option<&Path>) -> Result<&'static Runtime, LibraryError> {
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = RUNTIME.get() {
        return match given {
            Some(path) if !same_file(path, &runtime.library.path) => Err(LibraryError::AlreadyLoaded {
                loaded: runtime.library.path.clone(),
                path: path.to_path_buf(),
            }),
            _ => Ok(runtime),
        };
    }
    let library = find(given)?;
    let environment = start(&library)?;
    tracing::info!(path = %library.path.display(), version = %library.version, source = %library.source, "ONNX Runtime loaded");
    Ok(RUNTIME.get_or_init(|| Runtime { library, environment }))
}

/// `given` may be a folder, or another spelling of the loaded file's path.
fn same_file(given: &Path, loaded: &Path) -> bool {
    let file = library_in(given).unwrap_or_else(|| given.to_path_buf());
    match (file.canonicalize(), loaded.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => file == loaded,
    }
}

fn start(library: &Library) -> Result<Environment, LibraryError> {
    let failed = |reason: String| LibraryError::Start {
        path: library.path.clone(),
        reason,
    };
    let environment = ort::init_from(&library.path)
        .map_err(|e| failed(e.to_string()))?
        .with_name("scanside")
        .with_telemetry(false)
        .build()
        .map_err(|e| failed(e.to_string()))?;
    // The binding asks for verbose messages and filters them on our side; formatting them costs time.
    environment.set_log_level(LogLevel::Error);
    Ok(environment)
}

/// Finds a usable library in the module's search order without starting it.
///
/// # Errors
/// As [`load`].
pub fn find(given: Option<&Path>) -> Result<Library, LibraryError> {
    let variable = std::env::var_os(PATH_VARIABLE).filter(|v| !v.is_empty());
    let program = std::env::current_exe().ok();
    let current = std::env::current_dir().ok();
    Search {
        given,
        variable: variable.as_deref().map(Path::new),
        program: program.as_deref().and_then(Path::parent),
        current: current.as_deref(),
        system: true,
    }
    .find()
}

/// The places of one search, so that a test can bring its own.
struct Search<'a> {
    given: Option<&'a Path>,
    variable: Option<&'a Path>,
    program: Option<&'a Path>,
    current: Option<&'a Path>,
    system: bool,
}

impl Search<'_> {
    fn find(&self) -> Result<Library, LibraryError> {
        for (path, source) in [(self.given, Source::Given), (self.variable, Source::Variable)] {
            if let Some(path) = path {
                return ordered(path, source);
            }
        }
        let mut searched = Vec::new();
        let mut first_fault = None;
        for (folder, source) in self.folders() {
            match library_in(&folder) {
                None => searched.push(folder),
                Some(file) => match probe(&file, source) {
                    Ok(library) => return Ok(library),
                    Err(fault) => first_fault = first_fault.or(Some(fault)),
                },
            }
        }
        for name in self.system_names() {
            match probe(&name, Source::System) {
                Ok(library) => return Ok(library),
                Err(LibraryError::NotALibrary { .. }) => searched.push(name),
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            }
        }
        Err(first_fault.unwrap_or(LibraryError::NotFound { searched }))
    }

    fn folders(&self) -> Vec<(PathBuf, Source)> {
        let mut folders = Vec::new();
        if let Some(program) = self.program {
            folders.push((program.to_path_buf(), Source::Program));
            folders.push((program.join("../lib"), Source::Program));
        }
        for start in [self.program, self.current].into_iter().flatten() {
            // Only a checkout: a program that is run in some folder must not pick up a library lying there.
            let checkouts = start
                .ancestors()
                .filter(|a| a.join("Cargo.toml").is_file() && a.join(DEVELOPMENT_FOLDER).is_dir());
            folders.extend(checkouts.map(|a| (a.join(DEVELOPMENT_FOLDER), Source::Checkout)));
        }
        folders
    }

    fn system_names(&self) -> Vec<PathBuf> {
        let name = file_name();
        match self.system {
            true => vec![PathBuf::from(&name), PathBuf::from(format!("{name}.1"))],
            false => Vec::new(),
        }
    }
}

fn file_name() -> String {
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}")
}

fn ordered(path: &Path, source: Source) -> Result<Library, LibraryError> {
    match library_in(path) {
        Some(file) => probe(&file, source),
        None => Err(LibraryError::Missing {
            path: path.to_path_buf(),
            asked_by: source,
        }),
    }
}

/// The library file that `path` names: the file itself, or the one in a folder. Of several versions
/// in a folder the plain name wins, then the one that sorts last.
fn library_in(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_path_buf());
    }
    let plain = path.join(file_name());
    if plain.is_file() {
        return Some(plain);
    }
    let versioned = format!("{}.", file_name());
    let entries = std::fs::read_dir(path).ok()?;
    let names = entries.flatten().map(|entry| entry.path());
    names
        .filter(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&versioned) && file.is_file()
        })
        .max_by_key(|file| version_key(file))
}

/// Numbers of a file name such as `libonnxruntime.so.1.31.1`, for ordering.
fn version_key(file: &Path) -> Vec<u32> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').filter_map(|part| part.parse().ok()).collect()
}

/// What `OrtGetApiBase` returns (the head of ONNX Runtime's stable C interface).
#[repr(C)]
struct ApiBase {
    get_api: Option<unsafe extern "C" fn(u32) -> *const c_void>,
    get_version: Option<unsafe extern "C" fn() -> *const c_char>,
}

/// Opens `path` and asks for its version. A bare file name goes to the system's loader.
fn probe(path: &Path, source: Source) -> Result<Library, LibraryError> {
    let path = match source {
        Source::System => path.to_path_buf(),
        // A name without a slash would make the loader search its own folders instead.
        _ => path.canonicalize().unwrap_or_else(|_| path.to_path_buf()),
    };
    let handle = Handle::open(&path)?;
    let not_onnx_runtime = || LibraryError::NotOnnxRuntime { path: path.clone() };
    let symbol = handle.symbol(c"OrtGetApiBase");
    if symbol.is_null() {
        return Err(not_onnx_runtime());
    }
    // SAFETY: ONNX Runtime's C interface declares this symbol as a function with this signature.
    let get_base: unsafe extern "C" fn() -> *const ApiBase = unsafe { std::mem::transmute(symbol) };
    // SAFETY: the function takes nothing and returns a pointer to a static table, or null.
    let base = unsafe { get_base().as_ref() }.ok_or_else(not_onnx_runtime)?;
    let (Some(get_api), Some(get_version)) = (base.get_api, base.get_version) else {
        return Err(not_onnx_runtime());
    };
    // SAFETY: returns a static string, or null.
    let version = unsafe { get_version() };
    if version.is_null() {
        return Err(not_onnx_runtime());
    }
    // SAFETY: checked for null, static and terminated.
    let version = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();
    // SAFETY: a library answers an API version that it does not have with null.
    let has_api = new_enough(&version) && !unsafe { get_api(ort::MINOR_VERSION) }.is_null();
    if !has_api {
        return Err(LibraryError::TooOld {
            path: path.clone(),
            found: version,
        });
    }
    handle.keep();
    Ok(Library { path, version, source })
}

/// `GetApi` of an old library prints to stderr when it is asked for a newer API, so the version is
/// compared first.
fn new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(1), Some(minor)) => minor >= ort::MINOR_VERSION,
        (Some(major), _) => major > 1,
        (None, _) => false,
    }
}

/// An open library; closed when dropped.
struct Handle(*mut c_void);

impl Handle {
    fn open(path: &Path) -> Result<Self, LibraryError> {
        let failed = |reason: String| LibraryError::NotALibrary {
            path: path.to_path_buf(),
            reason,
        };
        let name =
            CString::new(OsStr::as_bytes(path.as_os_str())).map_err(|_| failed("the path holds a zero byte".into()))?;
        // SAFETY: a terminated string; the library's own constructors are trusted as any plug-in's.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            return Err(failed(loader_message()));
        }
        Ok(Self(handle))
    }

    fn symbol(&self, name: &CStr) -> *mut c_void {
        // SAFETY: the handle is open.
        unsafe { libc::dlsym(self.0, name.as_ptr()) }
    }

    /// Leaves the library open: it is about to be used.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is open and nothing of the library is in use.
        unsafe { libc::dlclose(self.0) };
    }
}

fn loader_message() -> String {
    // SAFETY: dlerror returns a terminated string of this thread, or null.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return "unknown reason".into();
    }
    // SAFETY: as above.
    unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
