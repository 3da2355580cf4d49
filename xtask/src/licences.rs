//! Refuses a dependency whose licence does not let a clinic or vendor ship the appliance.

use anyhow::{Context, Result, bail};
use cargo_metadata::{MetadataCommand, Package};

use crate::command::{heading, root};

/// Permissive licences, and those whose terms end at their own files.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "BlueOak-1.0.0",
    "CC0-1.0",
    "IJG",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OFL-1.1",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
    "NCSA",
    "LicenseRef-UFL-1.0",
];

/// Checks every package that the workspace's lock file holds.
///
/// # Errors
/// Names each package without a usable licence, and its expression.
pub fn check() -> Result<()> {
    heading("licences of the dependencies");
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .exec()
        .context("cannot read the dependencies")?;
    let refused: Vec<String> = metadata.packages.iter().filter_map(refusal).collect();
    if !refused.is_empty() {
        bail!(
            "these licences are not on the list in xtask/src/licences.rs:\n  {}",
            refused.join("\n  ")
        );
    }
    eprintln!("{} packages, all under an allowed licence", metadata.packages.len());
    Ok(())
}

fn refusal(package: &Package) -> Option<String> {
    match package.license.as_deref() {
        None => Some(format!("{} {}: states no licence", package.name, package.version)),
        Some(expression) if allowed(expression) => None,
        Some(expression) => Some(format!("{} {}: {expression}", package.name, package.version)),
    }
}

fn allowed(expression: &str) -> bool {
    // Old manifests write MIT/Apache-2.0 for MIT OR Apache-2.0.
    spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX).is_ok_and(|parsed| {
        parsed.evaluate(|requirement| {
            let name = requirement.license.to_string();
            ALLOWED.contains(&name.as_str())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn permissive_choices_pass_and_copyleft_does_not() {
        assert!(allowed("MIT OR Apache-2.0"));
        assert!(allowed("MIT/Apache-2.0"));
        assert!(allowed("GPL-3.0-only OR MIT"));
        assert!(!allowed("GPL-3.0-only"));
        assert!(!allowed("MIT AND GPL-3.0-only"));
        assert!(!allowed("no such licence"));
    }
}
