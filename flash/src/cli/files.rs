//! `logs` and `results`: files from the device.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use mcumgr_toolkit::commands::fs::FileChecksumData;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Context;
use crate::exit::{Exit, Failure};
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
    let mut files = list(&session)?;
    files.retain(|file| file.name.starts_with(folder));
    if args.names.is_empty() && args.out.is_none() {
        return tell(context, &files);
    }
    let wanted = match args.names.as_slice() {
        [] => files,
        names => names
            .iter()
            .map(|name| find(&files, name, folder))
            .collect::<Result<_, _>>()?,
    };
    for file in &wanted {
        let bytes = fetch(&session, file)?;
        deliver(context, args.out.as_deref(), file, &bytes)?;
    }
    Ok(())
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

fn find(files: &[FileEntry], name: &str, folder: &str) -> Result<FileEntry, Failure> {
    let fits = |file: &&FileEntry| file.name == name || file.name.strip_prefix(folder) == Some(name);
    files.iter().find(fits).cloned().ok_or_else(|| {
        let message = format!("the device has no file {name} below {folder}");
        Failure::new(Exit::InputRefused, message, "list the files by leaving the name out")
    })
}

/// All files that may leave the device.
///
/// # Errors
/// What the device or the line says.
pub fn list(session: &Session) -> Result<Vec<FileEntry>, Failure> {
    let mut files = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        let part = session.ask("cannot list the device's files", &scanside::files(from))?;
        // A list that does not go on would be asked for for ever.
        next = part.next.filter(|next| *next > from);
        files.extend(part.files);
    }
    Ok(files)
}

/// Fetches a file, again if its digest does not fit.
///
/// # Errors
/// What the device or the line says; a digest that never fits.
pub fn fetch(session: &Session, file: &FileEntry) -> Result<Vec<u8>, Failure> {
    let what = format!("cannot fetch {}", file.name);
    session.reporter.stage(&format!("fetching {}", file.name), "");
    for _ in 0..ATTEMPTS {
        let bytes = session.insist(&what, |client| {
            let mut bytes = Vec::new();
            let mut progress = |done, total| {
                session.reporter.progress(done, total);
                true
            };
            client
                .fs_file_download(&file.name, &mut bytes, Some(&mut progress))
                .map(|()| bytes)
        })?;
        if bytes.is_empty() || is_whole(session, &file.name, &bytes) {
            return Ok(bytes);
        }
    }
    let message = format!("{what}: what arrives does not have the digest that the device tells");
    Err(Failure::new(
        Exit::Unverified,
        message,
        "try --framing console; a file that grows meanwhile needs another try",
    ))
}

/// Whether the device's digest of as many bytes as arrived fits them; a file may have grown behind them meanwhile. A
/// device that tells no digests leaves it at that.
fn is_whole(session: &Session, name: &str, bytes: &[u8]) -> bool {
    let mut from = 0;
    for part in bytes.chunks(usize::try_from(HASHED_BYTES).unwrap_or(usize::MAX)) {
        let length = part.len() as u64;
        let answer = session
            .client
            .fs_file_checksum(name, Some("sha256"), from, Some(length));
        match answer.map(|answer| answer.output) {
            Ok(FileChecksumData::Hash(hash)) if *hash != *Sha256::digest(part) => return false,
            _ => {}
        }
        from += length;
    }
    true
}

fn deliver(context: &Context<'_>, out: Option<&Path>, file: &FileEntry, bytes: &[u8]) -> Result<(), Failure> {
    let Some(folder) = out else {
        if context.reporter.json() {
            let text = String::from_utf8_lossy(bytes);
            return context.result(
                "file",
                json!({ "name": file.name, "bytes": bytes.len(), "text": text }),
                "",
            );
        }
        return std::io::stdout()
            .lock()
            .write_all(bytes)
            .map_err(|error| super::output_failed(&error));
    };
    let path = folder.join(local(&file.name));
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(|error| Failure::file(parent, &error))?;
    fs::write(&path, bytes).map_err(|error| Failure::file(&path, &error))?;
    let text = format!("{} ({} bytes)", path.display(), bytes.len());
    context.done(
        "file",
        json!({ "name": file.name, "path": path, "bytes": bytes.len() }),
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
    use super::*;

    #[test]
    fn a_devices_name_leads_nowhere_else() {
        assert_eq!(local("logs/a.log"), Path::new("logs/a.log"));
        assert_eq!(local("/etc/../passwd"), Path::new("etc/passwd"));
        assert_eq!(local("..\\a:b"), Path::new(".._a_b"));
    }

    #[test]
    fn a_file_is_found_with_and_without_its_folder() {
        let file = FileEntry {
            name: "logs/a.log".to_owned(),
            bytes: 3,
        };
        let files = [file.clone()];
        assert_eq!(find(&files, "a.log", "logs/").unwrap(), file);
        assert_eq!(find(&files, "logs/a.log", "logs/").unwrap(), file);
        assert_eq!(find(&files, "b.log", "logs/").unwrap_err().exit, Exit::InputRefused);
    }
}
