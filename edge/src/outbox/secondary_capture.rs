//! A case as a Secondary Capture image (PS3.3 A.8.1): the result screen as a picture that any viewer shows.

use bundle::Manifest;
use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use embedded_graphics::geometry::{OriginDimensions, Size};
use hardware::display::Canvas;

use super::dataset::{file, put, put_bytes, put_items, put_number};
use super::structured_report::Reference;
use super::{BuildError, Common, Kind};
use crate::examination::Examination;
use crate::outbox::structured_report::codes::dcm;
use crate::presentation::{headline, result_view};
use crate::screens::ResultScreen;
use crate::text::words::Language;

/// Number of the series of captures: far from those of scanners.
const SERIES_NUMBER: &str = "9901";
/// Width of the picture, and its least and largest height, in pixels.
const WIDTH: u32 = 1440;
const HEIGHTS: [u32; 2] = [810, 1620];
/// The height grows by this until every sentence has room.
const HEIGHT_STEP: u32 = 90;
/// Digits of the bundle's digest that stand in the picture.
const DIGEST_DIGITS: usize = 16;

/// The capture as a DICOM file. `source` is the image that it shows.
///
/// # Errors
/// [`BuildError::Encode`].
pub fn build(
    common: &Common<'_>,
    examination: &Examination,
    manifest: &Manifest,
    source: &Reference,
) -> Result<Vec<u8>, BuildError> {
    let mut object = InMemDicomObject::new_empty();
    common.put(&mut object, Kind::SecondaryCapture);
    let finding = &examination.finding;
    let model = format!("{} {}", finding.model.name, finding.model.version);
    let texts = [
        (tags::MODALITY, VR::CS, "OT".to_owned()),
        (tags::SERIES_NUMBER, VR::IS, SERIES_NUMBER.to_owned()),
        (tags::SERIES_DESCRIPTION, VR::LO, format!("Triage picture: {model}")),
        (tags::CONVERSION_TYPE, VR::CS, "WSD".to_owned()),
        (tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY".to_owned()),
        (tags::PATIENT_ORIENTATION, VR::CS, String::new()),
        (tags::BURNED_IN_ANNOTATION, VR::CS, "YES".to_owned()),
        (
            tags::IMAGE_COMMENTS,
            VR::LT,
            format!(
                "{}. {}.",
                headline(finding, Some(manifest), Language::English.words()),
                finding.notice
            ),
        ),
        (
            tags::DERIVATION_DESCRIPTION,
            VR::ST,
            format!(
                "Original beside the overlay of where the model looked (Grad-CAM), drawn at screen size. Model {model}, \
                 bundle sha256:{}. {}.",
                finding.model.digest, finding.notice
            ),
        ),
    ];
    for (tag, vr, text) in texts {
        put(&mut object, tag, vr, &text);
    }
    common.put_time(
        &mut object,
        tags::DATE_OF_SECONDARY_CAPTURE,
        tags::TIME_OF_SECONDARY_CAPTURE,
    );
    // Laterality is of type 2C, for parts that there are two of: it is unknown where the part is.
    if !common.original.put_copy(&mut object, tags::BODY_PART_EXAMINED) {
        put(&mut object, tags::LATERALITY, VR::CS, "");
    }
    put_items(&mut object, tags::SOURCE_IMAGE_SEQUENCE, vec![source_item(source)]);
    put_lossy(&mut object, common);
    put_pixels(&mut object, picture(examination, manifest, &common.words_of_time()));
    let instance = common.instance(Kind::SecondaryCapture);
    file(object, uids::SECONDARY_CAPTURE_IMAGE_STORAGE, &instance)
}

fn source_item(source: &Reference) -> InMemDicomObject {
    let mut item = source.item(true);
    put(&mut item, tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "NO");
    let purpose = dcm("121322", "Source image for image processing operation");
    put_items(
        &mut item,
        tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
        vec![purpose.item()],
    );
    item
}

/// What was lost once stays lost (PS3.3 C.7.6.1.1.5).
fn put_lossy(object: &mut InMemDicomObject, common: &Common<'_>) {
    let Some(method) = common.original.lossy() else {
        put(object, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
        return;
    };
    put(object, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
    common.original.put_copy(object, tags::LOSSY_IMAGE_COMPRESSION_RATIO);
    let copied = common.original.put_copy(object, tags::LOSSY_IMAGE_COMPRESSION_METHOD);
    if let Some(method) = method.filter(|_| !copied) {
        put(object, tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, method);
    }
}

/// The result screen as a document: without what an appliance says of itself at that moment.
fn picture(examination: &Examination, manifest: &Manifest, time: &str) -> Canvas {
    let mut view = result_view(examination, manifest, Language::English.words(), time);
    view.edges.status = String::new();
    let digest = &examination.finding.model.digest;
    view.source = format!("Bundle {}", &digest[..digest.len().min(DIGEST_DIGITS)]);
    let screen = ResultScreen::new();
    let [least, most] = HEIGHTS;
    let heights = (least..=most).step_by(HEIGHT_STEP as usize);
    let mut sizes = heights.map(|height| Size::new(WIDTH, height));
    let whole = sizes.find(|size| screen.pages(&view, *size).len() == 1);
    let mut canvas = Canvas::new(whole.unwrap_or(Size::new(WIDTH, most)));
    let Ok(()) = screen.draw(&view, &mut canvas);
    canvas
}

fn put_pixels(object: &mut InMemDicomObject, canvas: Canvas) {
    let Size { width, height } = canvas.size();
    put(object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
    let numbers = [
        (tags::SAMPLES_PER_PIXEL, 3),
        (tags::PLANAR_CONFIGURATION, 0),
        // The constants above are far below 65536.
        (tags::ROWS, height as u16),
        (tags::COLUMNS, width as u16),
        (tags::BITS_ALLOCATED, 8),
        (tags::BITS_STORED, 8),
        (tags::HIGH_BIT, 7),
        (tags::PIXEL_REPRESENTATION, 0),
    ];
    for (tag, number) in numbers {
        put_number(object, tag, number);
    }
    put_bytes(object, tags::PIXEL_DATA, VR::OB, canvas.rgb().to_vec());
}
