//! What the screens say of the stable codes.

use super::Words;
use crate::codes::FEW_SLICES;

impl Words {
    /// Why an image with this code is not readable, in one sentence; `None` for a code that needs more than its name.
    #[must_use]
    pub fn why(&self, code: &str) -> Option<&'static str> {
        let why = &self.reasons;
        Some(match code {
            "too-small" => why.too_small,
            "elongated" => why.elongated,
            "under-exposed" => why.under_exposed,
            "over-exposed" => why.over_exposed,
            "low-contrast" => why.low_contrast,
            "blurred" => why.blurred,
            "noise" => why.noise,
            "framed" => why.framed,
            "io" => why.io,
            "not-an-image" => why.not_an_image,
            "truncated" => why.truncated,
            "too-large" => why.too_large,
            "damaged" => why.damaged,
            "no-pixels" => why.no_pixels,
            "colour-photograph" => why.colour_photograph,
            "colour-image" => why.colour_image,
            "lossy-12-bit" => why.lossy_12_bit,
            "video" => why.video,
            "unsupported-transfer-syntax" => why.unsupported_transfer_syntax,
            "unsupported" => why.unsupported,
            "no-such-frame" => why.no_such_frame,
            "out-of-distribution" => why.unlike_training,
            FEW_SLICES => why.few_slices,
            _ => return None,
        })
    }

    /// What to do about an image that is not readable for this code.
    #[must_use]
    pub fn step(&self, code: &str) -> &'static str {
        let steps = &self.steps;
        match code {
            "under-exposed" | "over-exposed" => steps.exposure,
            "low-contrast" => steps.window,
            "blurred" => steps.motion,
            "noise" => steps.detector,
            "framed" => steps.not_a_screen,
            "too-small" | "elongated" => steps.whole,
            "truncated" | "damaged" => steps.again,
            "colour-photograph" | "colour-image" => steps.radiograph,
            "not-an-image" | "no-pixels" | "video" => steps.format,
            "lossy-12-bit" | "unsupported-transfer-syntax" | "unsupported" => steps.coding,
            _ => steps.file,
        }
    }
}

#[cfg(test)]
mod tests {
    use imaging::quality::QualityReason;

    use crate::text::words::Language;

    /// The codes that `docs/finding.schema.json` gives for images that are not readable.
    fn documented() -> Vec<String> {
        let schema = include_str!("../../../../docs/finding.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).expect("JSON");
        let mut codes = Vec::new();
        collect(&schema, &mut codes);
        codes
    }

    fn collect(value: &serde_json::Value, codes: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                let about = fields.get("description").and_then(|text| text.as_str());
                if about.is_some_and(|text| text.starts_with("Not readable: the")) {
                    let listed = fields.get("enum").and_then(|list| list.as_array()).expect("codes");
                    codes.extend(listed.iter().filter_map(|code| code.as_str().map(str::to_owned)));
                }
                fields.values().for_each(|value| collect(value, codes));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, codes)),
            _ => {}
        }
    }

    #[test]
    fn every_documented_code_has_a_sentence_and_a_step_in_every_language() {
        let codes = documented();
        assert_eq!(codes.len(), 21);
        for language in Language::ALL {
            let words = language.words();
            for code in &codes {
                assert!(words.why(code).is_some(), "{language:?} {code}");
            }
            let plain = codes.iter().filter(|code| words.step(code) == words.steps.file).count();
            assert_eq!(
                plain, 3,
                "only these have no step of their own: io, too-large, no-such-frame"
            );
        }
    }

    #[test]
    fn the_screens_say_what_the_json_says() {
        let english = Language::English.words();
        for reason in QualityReason::ALL {
            assert_eq!(english.why(reason.code()), Some(reason.message()));
        }
    }
}
