use super::*;
use std::process::Command;

fn nowhere() -> Search<'static> {
    Search {
        given: None,
        variable: None,
        program: None,
        current: None,
        system: false,
    }
}

/// Compiles a tiny library from C source; None (with a line that says so) without a compiler.
fn compile(folder: &Path, name: &str, source: &str) -> Option<PathBuf> {
    let code = folder.join("fake.c");
    std::fs::write(&code, source).unwrap();
    let library = folder.join(name);
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&code)
        .status();
    match status {
        Ok(status) if status.success() => Some(library),
        other => {
            assert!(
                std::env::var_os("CI").is_none_or(|v| v != "true"),
                "cc failed: {other:?}"
            );
            eprintln!("skipped: no C compiler for the fake library");
            None
        }
    }
}

fn fake(version: &str) -> String {
    format!(
        "typedef struct {{ const void* (*api)(unsigned); const char* (*version)(void); }} Base;
         static const void* api(unsigned v) {{ return v <= 16 ? \"\" : 0; }}
         static const char* version(void) {{ return \"{version}\"; }}
         static const Base base = {{ api, version }};
         const Base* OrtGetApiBase(void) {{ return &base; }}"
    )
}

#[test]
fn nothing_anywhere_names_the_places() {
    let folder = tempfile::tempdir().unwrap();
    let search = Search {
        program: Some(folder.path()),
        ..nowhere()
    };
    let error = search.find().unwrap_err();
    assert!(matches!(error, LibraryError::NotFound { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&folder.path().display().to_string()), "{text}");
    assert!(text.contains("1.17") && text.contains("cargo xtask setup"), "{text}");
}

#[test]
fn a_missing_file_is_not_replaced_by_another() {
    let search = Search {
        given: Some(Path::new("/nowhere/libonnxruntime.so")),
        system: true,
        ..nowhere()
    };
    let error = search.find().unwrap_err();
    assert!(
        matches!(
            &error,
            LibraryError::Missing {
                asked_by: Source::Given,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("/nowhere/libonnxruntime.so"));
}

#[test]
fn a_text_file_is_not_a_library() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(file_name());
    std::fs::write(&file, "not a library").unwrap();
    let error = probe(&file, Source::Variable).unwrap_err();
    assert!(matches!(error, LibraryError::NotALibrary { .. }), "{error}");
    // The same through a folder, as a search meets it.
    let search = Search {
        program: Some(folder.path()),
        ..nowhere()
    };
    assert!(matches!(search.find(), Err(LibraryError::NotALibrary { .. })));
}

#[test]
fn another_library_is_not_onnx_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let Some(file) = compile(folder.path(), "other.so", "int answer(void) { return 42; }") else {
        return;
    };
    let error = probe(&file, Source::Given).unwrap_err();
    assert!(matches!(error, LibraryError::NotOnnxRuntime { .. }), "{error}");
}

#[test]
fn an_old_version_is_named_with_the_wanted_one() {
    let folder = tempfile::tempdir().unwrap();
    let Some(file) = compile(folder.path(), &file_name(), &fake("1.16.3")) else {
        return;
    };
    let error = probe(&file, Source::Given).unwrap_err();
    assert!(
        matches!(&error, LibraryError::TooOld { found, .. } if found == "1.16.3"),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("1.16.3") && text.contains("1.17"), "{text}");
}

#[test]
fn a_version_that_lies_is_caught_by_the_missing_api() {
    let folder = tempfile::tempdir().unwrap();
    let Some(file) = compile(folder.path(), &file_name(), &fake("1.99.0")) else {
        return;
    };
    assert!(matches!(probe(&file, Source::Given), Err(LibraryError::TooOld { .. })));
}

#[test]
fn a_checkout_is_searched_only_if_it_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("crate");
    std::fs::create_dir_all(folder.path().join(DEVELOPMENT_FOLDER)).unwrap();
    std::fs::create_dir_all(&inner).unwrap();
    let search = Search {
        current: Some(&inner),
        ..nowhere()
    };
    assert_eq!(search.folders(), []);
    std::fs::write(folder.path().join("Cargo.toml"), "").unwrap();
    assert_eq!(
        search.folders(),
        [(folder.path().join(DEVELOPMENT_FOLDER), Source::Checkout)]
    );
}

#[test]
fn the_newest_of_several_versions_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    for version in ["1.9.0", "1.31.1", "1.17.3"] {
        std::fs::write(folder.path().join(format!("{}.{version}", file_name())), "").unwrap();
    }
    let found = library_in(folder.path()).unwrap();
    assert!(found.to_string_lossy().ends_with("1.31.1"), "{found:?}");
}

#[test]
fn versions_compare_as_numbers() {
    assert!(new_enough("1.17.0") && new_enough("1.31.1") && new_enough("2.0.0"));
    assert!(!new_enough("1.16.3") && !new_enough("1.9") && !new_enough("") && !new_enough("x"));
}
