//! What the models of the results say about themselves: labels, thresholds, where in an image they look. Screens and the
//! outbox need it for as long as the results are kept, also after another model serves.

use std::sync::Arc;

use bundle::Manifest;
use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, params};
use serde_json::json;

use super::audit::{self, Event};
use super::{Store, StoreError, millis};

impl Store {
    /// A model begins to serve: its manifest is kept by the digest of its bundle.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn note_model(&self, digest: &str, manifest: &Manifest, now: DateTime<Utc>) -> Result<(), StoreError> {
        let text = serde_json::to_string(manifest).map_err(|e| StoreError::Senseless {
            what: "manifest",
            found: e.to_string(),
        })?;
        self.change(|transaction| {
            let sql = "INSERT INTO models (digest, manifest, served) VALUES (?1, ?2, ?3) \
                       ON CONFLICT DO UPDATE SET manifest = ?2, served = ?3";
            transaction.execute(sql, params![digest, text, millis(now)])?;
            let detail = json!({
                "name": manifest.name,
                "version": manifest.version.to_string(),
                "digest": digest,
            });
            audit::append(transaction, now, Event::ModelServes, &manifest.role, &detail)
        })
    }

    /// What the model with this digest says about itself; `None` if it never served here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn model(&self, digest: &str) -> Result<Option<Arc<Manifest>>, StoreError> {
        let sql = "SELECT manifest FROM models WHERE digest = ?";
        let text: Option<String> = self
            .reading()
            .prepare_cached(sql)?
            .query_row([digest], |row| row.get(0))
            .optional()?;
        let parse = |text: String| {
            serde_json::from_str(&text).map_err(|e| StoreError::Senseless {
                what: "manifest",
                found: e.to_string(),
            })
        };
        Ok(text.map(parse).transpose()?.map(Arc::new))
    }
}
