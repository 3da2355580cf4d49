//! The self-test on demand, and its report `doctor.json`.

use std::fs;
use std::path::Path;
use std::time::Instant;

use hardware::smp::{OutcomeKind, Problem};
use serde::Serialize;

use super::models::{Models, ServeError};
use super::shared::Shared;
use crate::golden::GoldenResult;

/// The report of a self-test.
#[derive(Debug, Serialize)]
struct Report {
    time: String,
    image: u32,
    healthy: bool,
    problem: Option<String>,
    golden: Vec<GoldenResult>,
    /// What else is wrong with the appliance.
    problems: Vec<String>,
}

/// Runs the golden cases of a role's model; the board tells how it came out, and `path` gets the report.
pub fn run(shared: &Shared, models: &mut Models, image: u32, path: &Path) {
    let tested = models.self_test(image);
    let (kind, reason) = match &tested {
        Ok(results) => (
            OutcomeKind::Passed,
            format!("self-test: {} golden cases agree", results.len()),
        ),
        Err(error) => (OutcomeKind::Failed, error.to_string()),
    };
    tracing::info!(image, "{reason}");
    // Whoever sees that it is over fetches the report.
    write_report(shared, image, tested, path);
    shared.board().conclude_self_test(image, kind, reason, Instant::now());
}

fn write_report(shared: &Shared, image: u32, tested: Result<Vec<GoldenResult>, ServeError>, path: &Path) {
    let problems: Vec<String> = shared.board().problems().into_iter().map(words).collect();
    let report = Report {
        time: shared.now().to_rfc3339(),
        image,
        healthy: tested.is_ok() && problems.is_empty(),
        problem: tested.as_ref().err().map(ToString::to_string),
        golden: tested.unwrap_or_default(),
        problems,
    };
    let written = serde_json::to_vec_pretty(&report).map(|text| fs::write(path, text));
    if let Ok(Err(error)) = written {
        tracing::error!("the report of the self-test cannot be written: {error}");
    }
}

/// With the number of its image, if it has one.
fn words(Problem { image, problem }: Problem) -> String {
    match image {
        Some(image) => format!("image {image}: {problem}"),
        None => problem,
    }
}
