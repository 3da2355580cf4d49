//! Which model an image goes to: the first in the order of the roles whose intended use has its modality and body part.
//!
//! What an image does not say is no reason against a model; a PNG says nothing and goes to the first. Age and view do
//! not choose: an image outside them is examined, and its result is uncertain with the reason. Only views from the side
//! go to no model that is for others: of a study in two views the frontal one counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use bundle::Manifest;
use bundle::manifest::IntendedUse;

/// View Positions from the side (PS3.3 C.8.1.1, C.8.11.5): left and right lateral, lying, oblique.
const LATERAL: [&str; 9] = ["LL", "RL", "LAT", "LLD", "RLD", "LLO", "RLO", "LATERAL", "SIDE"];
/// Value 3 of Image Type of a scout image (PS3.3 C.8.2.1.1.1).
const LOCALIZER: &str = "LOCALIZER";

/// What an image says of itself; upper case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kind<'a> {
    /// DICOM Modality.
    pub modality: Option<&'a str>,
    /// DICOM Body Part Examined.
    pub body_part: Option<&'a str>,
    /// DICOM View Position.
    pub view: Option<&'a str>,
    /// DICOM Image Type, its values apart by `\`.
    pub image_type: Option<&'a str>,
}

/// Where an image goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To the model of this role.
    Role(u32),
    /// To none: no model is for this kind of image.
    Nowhere,
    /// To none of those that serve; a role without a model may be for it.
    Unserved,
    /// To none yet: no model serves.
    NotYet,
}

/// Finds the model for an image among those that serve, by role; there are `roles` of them.
#[must_use]
pub fn route(kind: Kind<'_>, serving: &BTreeMap<u32, Arc<Manifest>>, roles: usize) -> Route {
    if serving.is_empty() {
        return Route::NotYet;
    }
    let wants = |(_, manifest): &(&u32, &Arc<Manifest>)| wants(kind, &manifest.intended_use);
    match serving.iter().find(wants) {
        Some((role, _)) => Route::Role(*role),
        None if serving.len() < roles => Route::Unserved,
        None => Route::Nowhere,
    }
}

fn wants(kind: Kind<'_>, intended: &IntendedUse) -> bool {
    let is_scout = kind
        .image_type
        .is_some_and(|values| values.split('\\').any(|value| value.trim() == LOCALIZER));
    let is_lateral = kind.view.is_some_and(|view| LATERAL.contains(&view.trim()));
    allows(&intended.modalities, kind.modality)
        && allows(&intended.body_parts, kind.body_part)
        && (!is_lateral || allows(&intended.views, kind.view))
        && !is_scout
}

/// An empty list allows everything, and what is not said is allowed.
fn allows(allowed: &[String], found: Option<&str>) -> bool {
    let found = found.map(str::trim).filter(|found| !found.is_empty());
    found.is_none_or(|found| allowed.is_empty() || allowed.iter().any(|a| a.trim().eq_ignore_ascii_case(found)))
}

#[cfg(test)]
mod tests {
    use bundle::example;

    use super::*;

    fn manifest(modalities: &[&str], body_parts: &[&str], views: &[&str]) -> Arc<Manifest> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let mut manifest = example::manifest();
        manifest.intended_use.modalities = owned(modalities);
        manifest.intended_use.body_parts = owned(body_parts);
        manifest.intended_use.views = owned(views);
        Arc::new(manifest)
    }

    fn serving() -> BTreeMap<u32, Arc<Manifest>> {
        BTreeMap::from([
            (0, manifest(&["CR", "DX"], &["CHEST"], &["PA"])),
            (1, manifest(&["CT"], &["CHEST", "LUNG"], &[])),
        ])
    }

    fn goes(modality: &str, body_part: &str, view: &str, image_type: &str) -> Route {
        let said = |text| Some(text).filter(|text: &&str| !text.is_empty());
        let kind = Kind {
            modality: said(modality),
            body_part: said(body_part),
            view: said(view),
            image_type: said(image_type),
        };
        route(kind, &serving(), 2)
    }

    #[test]
    fn modality_and_body_part_choose_the_model() {
        assert_eq!(goes("DX", "CHEST", "PA", ""), Route::Role(0));
        assert_eq!(goes("CT", "LUNG", "", "ORIGINAL\\PRIMARY\\AXIAL"), Route::Role(1));
        assert_eq!(goes("CT", "", "", ""), Route::Role(1));
        assert_eq!(
            goes("", "", "", ""),
            Route::Role(0),
            "who says nothing goes to the first"
        );
        for nowhere in [("CT", "HEAD"), ("MR", "CHEST"), ("DX", "KNEE"), ("OT", "")] {
            assert_eq!(goes(nowhere.0, nowhere.1, "", ""), Route::Nowhere, "{nowhere:?}");
        }
    }

    #[test]
    fn a_frontal_view_of_another_kind_is_examined_and_a_lateral_one_is_not() {
        assert_eq!(goes("DX", "CHEST", "AP", ""), Route::Role(0));
        assert_eq!(goes("DX", "CHEST", "LL", ""), Route::Nowhere);
        let any_view = BTreeMap::from([(0, manifest(&["DX"], &[], &[]))]);
        let lateral = Kind {
            modality: Some("DX"),
            view: Some("LL"),
            ..Kind::default()
        };
        assert_eq!(route(lateral, &any_view, 1), Route::Role(0));
    }

    #[test]
    fn a_scout_is_no_slice_and_without_models_everything_waits() {
        assert_eq!(goes("CT", "CHEST", "", "ORIGINAL\\PRIMARY\\LOCALIZER"), Route::Nowhere);
        assert_eq!(route(Kind::default(), &BTreeMap::new(), 2), Route::NotYet);
    }

    #[test]
    fn an_image_of_a_role_without_a_model_is_not_one_that_no_model_is_for() {
        let rays = BTreeMap::from([(0, manifest(&["CR", "DX"], &[], &[]))]);
        let slice = Kind {
            modality: Some("CT"),
            ..Kind::default()
        };
        assert_eq!(route(slice, &rays, 2), Route::Unserved);
        assert_eq!(route(slice, &rays, 1), Route::Nowhere);
    }
}
