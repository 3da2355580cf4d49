//! What a reader does with fields of the manifest that it does not know, as `docs/bundle-format.md` says.

use scanside_bundle::{Manifest, example};
use serde_json::{Value, json};

/// The example's manifest with a field more in the object at `pointer`.
fn with_field_in(pointer: &str) -> Value {
    let mut manifest = serde_json::to_value(example::manifest_with_files()).expect("a manifest is JSON");
    let object = manifest.pointer_mut(pointer).expect("an object of the manifest");
    object["from_the_future"] = json!(1);
    manifest
}

#[test]
fn most_unknown_fields_are_ignored() {
    for pointer in [
        "",
        "/labels/0",
        "/model",
        "/operating_points/0",
        "/provenance",
        "/intended_use",
    ] {
        let manifest: Manifest = serde_json::from_value(with_field_in(pointer)).expect(pointer);
        assert_eq!(manifest, example::manifest_with_files());
    }
}

#[test]
fn unknown_steps_before_the_network_are_refused() {
    for pointer in ["/preprocess", "/preprocess/crop", "/preprocess/grey", "/quality"] {
        let error = serde_json::from_value::<Manifest>(with_field_in(pointer)).expect_err(pointer);
        assert!(error.to_string().contains("from_the_future"), "{pointer}: {error}");
    }
}
