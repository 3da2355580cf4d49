//! What leaves the appliance, seen by programs that are not ours: dciodvfy, dsrdump, highdicom, dcmtk's storescp,
//! Orthanc. The findings are those of a real, tiny model.

#[path = "../peers/mod.rs"]
mod peers;
#[path = "../support/mod.rs"]
mod support;

mod archives;
mod cases;
mod echo;
mod objects;
mod reports;
mod sending;
