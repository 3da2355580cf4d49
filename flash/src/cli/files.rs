//! `logs` and `results`: files from the device.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use mcumgr_toolkit::MCUmgrClient;
use mcumgr_toolkit::client::MCUmgrClientError;
use mcumgr_toolkit::commands::fs::FileChecksumData;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Context;
use crate::exit::{Exit, Failure};
use crate::refusal;
use crate::scanside::{self, FileEntry};
use crate::session::Session;

/// How often a file is fetched whose digest does not fit.
const ATTEMPTS: u32 = 3;
/// The longest part of a file that a device hashes at once, in bytes.
const HASHED_BYTES: u64 = hardware::smp::files::HASHED_BYTES;

/// Arguments of `logs` and `results`.
#[derive(Debug, Args)]
pub struct FilesArgs {
    /// Files to fetch, with or without the folder in front [default: list them]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Where to write what is fetched: all files if none is named [default: the named ones to the standard output]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub fn run(context: &Context<'_>, args: &FilesArgs, folder: &str) -> Result<(), Failure> {
    let session = context.session()?;
    if args.names.is_empty() && args.out.is_none() {
        return tell(context, &list(&session, folder)?);
    }
    let wanted: Vec<String> = match args.names.as_slice() {
        [] => list(&session, folder)?.into_iter().map(|file| file.name).collect(),
        names => names.iter().map(|name| below(folder, name)).collect(),
    };
    let mut failures = Vec::new();
    for name in &wanted {
        match fetch(&session, name) {
            Ok(bytes) => deliver(context, args.out.as_deref(), name, &bytes)?,
            // One that cannot be had keeps nobody from the others; a device that is gone does.
            Err(failure) if wanted.len() > 1 && session.client.check_connection().is_ok() => {
                context.reporter.failure(&failure);
                failures.push(failure);
            }
            Err(failure) => return Err(failure),
        }
    }
    match failures.iter().map(|failure| failure.exit).max() {
        None => Ok(()),
        Some(worst) => {
            let message = format!("{} of {} files could not be fetched", failures.len(), wanted.len());
            Err(Failure::new(
                worst,
                message,
                "fetch those that were named above once more",
            ))
        }
    }
}

/// A file's name with its folder, which may be left out.
fn below(folder: &str, name: &str) -> String {
    match name.starts_with(folder) {
        true => name.to_owned(),
        false => format!("{folder}{name}"),
    }
}

fn tell(context: &Context<'_>, files: &[FileEntry]) -> Result<(), Failure> {
    let lines: Vec<String> = files
        .iter()
        .map(|file| format!("{:>10}  {}", file.bytes, file.name))
        .collect();
    let text = if lines.is_empty() {
        "no files".to_owned()
    } else {
        lines.join("\n")
    };
    context.result("files", json!({ "files": files }), &text)
}

/// The files that may leave the device and whose names begin with `below`.
///
/// # Errors
/// What the device or the line says.
pub fn list(session: &Session, below: &str) -> Result<Vec<FileEntry>, Failure> {
    let mut files = Vec::new();
    let mut next = Some(String::new());
    while let Some(after) = next {
        let part = session.ask("cannot list the device's files", &scanside::files(below, &after))?;
        // A list that does not go on would be asked for for ever.
        next = part.next.filter(|next| *next > after);
        files.extend(part.files);
    }
    Ok(files)
}

/// Fetches a file, again if its digest does not fit.
///
/// # Errors
/// What the device or the line says; a digest that never fits.
pub fn fetch(session: &Session, name: &str) -> Result<Vec<u8>, Failure> {
    let what = format!("cannot fetch {name}");
    session.reporter.stage(&format!("fetching {name}"), "");
    for _ in 0..ATTEMPTS {
        let bytes = session.insist(&what, |client| {
            let mut bytes = Vec::new();
            let mut progress = |done, total| {
                session.reporter.progress(done, total);
                true
            };
            client
                .fs_file_download(name, &mut bytes, Some(&mut progress))
                .map(|()| bytes)
        })?;
        let whole = is_whole(session, name, &bytes).map_err(|error| refusal::failure(&what, &error))?;
        if whole {
            return Ok(bytes);
        }
    }
    let message = format!("{what}: what arrives does not have the digest that the device tells");
    Err(Failure::new(
        Exit::Unverified,
        message,
        "try --framing console; a file that changes meanwhile needs another try",
    ))
}

/// Whether the device's digest of as many bytes as arrived fits them; a file may have grown behind them meanwhile.
fn is_whole(session: &Session, name: &str, bytes: &[u8]) -> Result<bool, MCUmgrClientError> {
    let mut from = 0;
    for part in bytes.chunks(usize::try_from(HASHED_BYTES).unwrap_or(usize::MAX)) {
        let length = part.len() as u64;
        let ask = |client: &MCUmgrClient| client.fs_file_checksum(name, Some("sha256"), from, Some(length));
        if !fits(session.persist(ask).map(|answer| answer.output), part)? {
            return Ok(false);
        }
        from += length;
    }
    Ok(true)
}

/// Whether a device's answer vouches for these bytes. One that has no such digests leaves it at that; any other refusal says
/// that the file is not what it was.
fn fits(answer: Result<FileChecksumData, MCUmgrClientError>, bytes: &[u8]) -> Result<bool, MCUmgrClientError> {
    match answer {
        Ok(FileChecksumData::Hash(hash)) => Ok(*hash == *Sha256::digest(bytes)),
        Ok(FileChecksumData::Checksum(_)) => Ok(false),
        Err(error) if refusal::not_supported(&error) || refusal::no_such_digest(&error) => Ok(true),
        Err(error) if refusal::refuses(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn deliver(context: &Context<'_>, out: Option<&Path>, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let Some(folder) = out else {
        if context.reporter.json() {
            let text = String::from_utf8_lossy(bytes);
            return context.result("file", json!({ "name": name, "bytes": bytes.len(), "text": text }), "");
        }
        return std::io::stdout()
            .lock()
            .write_all(bytes)
            .map_err(|error| super::output_failed(&error));
    };
    let path = folder.join(local(name));
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(|error| Failure::file(parent, &error))?;
    fs::write(&path, bytes).map_err(|error| Failure::file(&path, &error))?;
    let text = format!("{} ({} bytes)", path.display(), bytes.len());
    context.done(
        "file",
        json!({ "name": name, "path": path, "bytes": bytes.len() }),
        &text,
    )
}

/// A device's name for a file as a path below a folder: nothing in it may lead elsewhere.
fn local(name: &str) -> PathBuf {
    let plain = |part: &&str| !part.is_empty() && *part != "." && *part != "..";
    let clean = |part: &str| part.replace(['\\', ':', '\0'], "_");
    name.split('/').filter(plain).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use mcumgr_toolkit::connection::ExecuteError;
    use mcumgr_toolkit::smp_errors::DeviceError;
    use mcumgr_toolkit::transport::ReceiveError;

    use super::*;

    #[test]
    fn a_devices_name_leads_nowhere_else() {
        assert_eq!(local("logs/a.log"), Path::new("logs/a.log"));
        assert_eq!(local("/etc/../passwd"), Path::new("etc/passwd"));
        assert_eq!(local("..\\a:b"), Path::new(".._a_b"));
    }

    #[test]
    fn a_file_is_meant_with_and_without_its_folder() {
        assert_eq!(below("logs/", "a.log"), "logs/a.log");
        assert_eq!(below("logs/", "logs/a.log"), "logs/a.log");
    }

    #[test]
    fn only_a_device_without_digests_is_believed_without_one() {
        let refused = |refusal| Err(MCUmgrClientError::ExecuteError(ExecuteError::ErrorResponse(refusal)));
        let of_files = |rc| refused(DeviceError::V2 { group: 8, rc });
        assert!(fits(Ok(FileChecksumData::Hash(Sha256::digest(b"ab").to_vec().into())), b"ab").unwrap());
        assert!(!fits(Ok(FileChecksumData::Hash(Box::new([0; 32]))), b"ab").unwrap());
        assert!(!fits(Ok(FileChecksumData::Checksum(1)), b"ab").unwrap());
        assert!(fits(refused(DeviceError::V1 { rc: 8, rsn: None }), b"ab").unwrap());
        assert!(fits(of_files(13), b"ab").unwrap());
        // It cannot be read any more, has become shorter, or is empty.
        for rc in [7, 12, 16] {
            assert!(!fits(of_files(rc), b"ab").unwrap(), "{rc}");
        }
        let silent = ExecuteError::ReceiveFailed(ReceiveError::Timeout);
        assert!(fits(Err(MCUmgrClientError::ExecuteError(silent)), b"ab").is_err());
    }
}
