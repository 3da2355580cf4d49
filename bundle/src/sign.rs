//! minisign keys and signatures (Ed25519 over BLAKE2b-512): the one place where trust is decided.
//!
//! Keys and signatures are minisign's own files, so a bundle's header can be checked with Debian's `minisign -V`.
//! A signature stands in a bundle in one canonical form; minisign would let the untrusted comment and white space
//! vary, and then a flipped bit in them would pass.

use std::fs;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use minisign::{KeyPair, PublicKeyBox, SecretKeyBox, SignatureBox};

pub use minisign::{PublicKey, SecretKey};

/// The longest signature text that a bundle may hold, in bytes.
pub const MAX_SIGNATURE_BYTES: usize = 1024;
/// The first line of every signature, behind minisign's prefix.
const UNTRUSTED_COMMENT: &str = "signature of a Scanside bundle header";
/// The longest key file that is read, in bytes; a minisign key has under 400.
const MAX_KEY_FILE_BYTES: u64 = 4096;
/// Base64 of 2 bytes algorithm, 8 bytes key id, 64 bytes signature.
const SIGNATURE_LINE_BYTES: usize = 100;
/// Base64 of the 64-byte signature over signature and trusted comment.
const GLOBAL_LINE_BYTES: usize = 88;

/// Why a key or a signature was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// A key file or folder cannot be read or written.
    #[error("key {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no minisign key of the wanted kind.
    #[error("{path} is not a minisign {kind} key: {reason}")]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// "public" or "secret".
        kind: &'static str,
        /// What minisign said.
        reason: String,
    },
    /// The file holds a secret key where a public one is wanted.
    #[error(
        "{path} is a secret key; give the public key that belongs to it (a file that ends in .pub), and keep the secret \
         one where bundles are signed"
    )]
    SecretGiven {
        /// The file.
        path: PathBuf,
    },
    /// The password does not open the secret key.
    #[error("{path}: wrong password for this secret key")]
    WrongPassword {
        /// The file.
        path: PathBuf,
    },
    /// A folder of trusted keys holds none.
    #[error("{path} holds no public key (files that end in .pub); without one no bundle can be trusted")]
    NoKeys {
        /// The folder.
        path: PathBuf,
    },
    /// The signature was made with a key that is not trusted here.
    #[error("signed with the unknown key {key_id}; trusted here: {trusted}")]
    UnknownKey {
        /// Key id in the signature.
        key_id: String,
        /// Key ids that would be accepted.
        trusted: String,
    },
    /// The signature is not in the one form that a bundle has.
    #[error("the signature is malformed: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// The signature does not fit the header.
    #[error("the signature of key {key_id} does not fit the header: the header was changed after signing")]
    Invalid {
        /// Key id in the signature.
        key_id: String,
    },
    /// The system gave no random numbers, or the key cannot sign.
    #[error("cannot sign: {reason}")]
    CannotSign {
        /// What minisign said.
        reason: String,
    },
}

/// A new key pair; without a password the secret key is stored as it is.
///
/// # Errors
/// [`SignError::CannotSign`] if the system gives no random numbers.
pub fn generate(password: Option<&str>) -> Result<NewKeys, SignError> {
    let pair = match password {
        Some(password) => KeyPair::generate_encrypted_keypair(Some(password.to_owned())),
        None => KeyPair::generate_unencrypted_keypair(),
    };
    let pair = pair.map_err(cannot_sign)?;
    let comment = match password {
        Some(_) => "Scanside secret key, protected by a password",
        None => "Scanside secret key, NOT protected by a password",
    };
    let public_file = pair.pk.to_box().map_err(cannot_sign)?.into_string();
    let secret_file = pair.sk.to_box(Some(comment)).map_err(cannot_sign)?.into_string();
    Ok(NewKeys {
        public_file,
        secret_file,
        public: pair.pk,
    })
}

/// A new key pair as the texts of its two files.
#[derive(Debug, Clone)]
pub struct NewKeys {
    /// Content of the `.pub` file.
    pub public_file: String,
    /// Content of the `.key` file: a secret.
    pub secret_file: String,
    /// The public key.
    pub public: PublicKey,
}

/// Content of the `.pub` file that belongs to a secret key.
///
/// # Errors
/// [`SignError::CannotSign`] if the key cannot be written as text.
pub fn public_file(secret: &SecretKey) -> Result<String, SignError> {
    let public = PublicKey::from_secret_key(secret).and_then(|key| key.to_box());
    Ok(public.map_err(cannot_sign)?.into_string())
}

/// The key id as minisign prints it: 16 hexadecimal digits.
#[must_use]
pub fn key_id(keynum: &[u8]) -> String {
    keynum.iter().rev().map(|b| format!("{b:02X}")).collect()
}

/// Reads a `.pub` file.
///
/// # Errors
/// [`SignError::Io`] or [`SignError::NotAKey`].
pub fn load_public(path: &Path) -> Result<PublicKey, SignError> {
    public_from(&read_key_file(path)?, path)
}

/// Reads a `.key` file; `password` is asked only if the key is protected by one.
///
/// # Errors
/// [`SignError::Io`] (also for a failed prompt), [`SignError::NotAKey`], [`SignError::WrongPassword`].
pub fn load_secret(path: &Path, password: impl FnOnce() -> io::Result<String>) -> Result<SecretKey, SignError> {
    let text = read_key_file(path)?;
    let file = SecretKeyBox::from_string(&text).map_err(|e| not_a_key(path, "secret", &e))?;
    if !is_protected(&text) {
        return file
            .into_unencrypted_secret_key()
            .map_err(|e| not_a_key(path, "secret", &e));
    }
    let password = password().map_err(|source| io_error(path, source))?;
    file.into_secret_key(Some(password)).map_err(|e| match e.kind() {
        minisign::ErrorKind::Verify => SignError::WrongPassword {
            path: path.to_path_buf(),
        },
        _ => not_a_key(path, "secret", &e),
    })
}

/// Reads the text of a public key file.
///
/// # Errors
/// [`SignError::NotAKey`].
pub fn parse_public(key_file: &str) -> Result<PublicKey, SignError> {
    public_from(key_file, Path::new("(text)"))
}

fn public_from(key_file: &str, path: &Path) -> Result<PublicKey, SignError> {
    if is_secret(key_file) {
        return Err(SignError::SecretGiven {
            path: path.to_path_buf(),
        });
    }
    PublicKeyBox::from_string(key_file)
        .and_then(PublicKeyBox::into_public_key)
        .map_err(|e| not_a_key(path, "public", &e))
}

/// Reads the text of a secret key file that no password protects.
///
/// # Errors
/// [`SignError::NotAKey`], also for a protected key.
pub fn parse_secret(key_file: &str) -> Result<SecretKey, SignError> {
    SecretKeyBox::from_string(key_file)
        .and_then(SecretKeyBox::into_unencrypted_secret_key)
        .map_err(|e| not_a_key(Path::new("(text)"), "secret", &e))
}

/// A minisign secret key begins with its algorithm `Ed` and the key derivation: `Sc`, or two zeros for none.
fn is_protected(key_file: &str) -> bool {
    let second = key_file.lines().nth(1).unwrap_or_default();
    !second.starts_with("RWQAA")
}

/// A public key has 42 bytes, 56 letters in base64, a secret one 158 bytes, 212 letters.
fn is_secret(key_file: &str) -> bool {
    let second = key_file.lines().nth(1).unwrap_or_default();
    second.trim_end().len() == 212 && second.starts_with("RW")
}

/// Signs `header`; the trusted comment is covered by the signature and says what was signed.
///
/// # Errors
/// [`SignError::CannotSign`].
pub fn sign(secret: &SecretKey, header: &[u8], trusted_comment: &str) -> Result<String, SignError> {
    let signature = minisign::sign(
        None,
        secret,
        Cursor::new(header),
        Some(trusted_comment),
        Some(UNTRUSTED_COMMENT),
    )
    .map_err(cannot_sign)?;
    Ok(signature.into_string())
}

/// The public keys whose bundles are accepted.
#[derive(Debug, Clone, Default)]
pub struct TrustedKeys {
    keys: Vec<PublicKey>,
}

impl TrustedKeys {
    /// Trusts the given keys.
    #[must_use]
    pub fn new(keys: Vec<PublicKey>) -> Self {
        Self { keys }
    }

    /// Trusts the keys of the given `.pub` files.
    ///
    /// # Errors
    /// [`SignError::Io`] or [`SignError::NotAKey`].
    pub fn from_files<P: AsRef<Path>>(paths: &[P]) -> Result<Self, SignError> {
        let keys = paths
            .iter()
            .map(|p| load_public(p.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// Trusts every `.pub` file of a folder; one that is no key is an error, so that a damaged key is noticed.
    ///
    /// # Errors
    /// [`SignError::Io`], [`SignError::NotAKey`], or [`SignError::NoKeys`] for a folder without any.
    pub fn from_folder(folder: &Path) -> Result<Self, SignError> {
        let entries = fs::read_dir(folder).map_err(|source| io_error(folder, source))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|source| io_error(folder, source))?.path();
            if path.extension().is_some_and(|e| e == "pub") {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            return Err(SignError::NoKeys {
                path: folder.to_path_buf(),
            });
        }
        paths.sort();
        Self::from_files(&paths)
    }

    /// The trusted keys.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Checks that `signature` is a trusted key's signature over `header`.
    ///
    /// # Errors
    /// [`SignError::Malformed`], [`SignError::UnknownKey`], or [`SignError::Invalid`].
    pub fn verify(&self, header: &[u8], signature: &str) -> Result<Signed, SignError> {
        let parsed = parse_canonical(signature)?;
        let key_id = key_id(parsed.keynum());
        let mut named = self.keys.iter().filter(|k| k.keynum() == parsed.keynum()).peekable();
        if named.peek().is_none() {
            let trusted: Vec<String> = self.keys.iter().map(|k| self::key_id(k.keynum())).collect();
            let trusted = if trusted.is_empty() {
                "none".to_owned()
            } else {
                trusted.join(", ")
            };
            return Err(SignError::UnknownKey { key_id, trusted });
        }
        let fits = |key: &PublicKey| minisign::verify(key, &parsed, Cursor::new(header), true, false, false).is_ok();
        if !named.any(fits) {
            return Err(SignError::Invalid { key_id });
        }
        let comment = parsed.trusted_comment().map_err(|e| malformed(e.to_string()))?;
        Ok(Signed { key_id, comment })
    }
}

/// A signature that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Id of the key that signed.
    pub key_id: String,
    /// The trusted comment, covered by the signature.
    pub comment: String,
}

/// Parses a signature and insists on the very bytes that [`sign`] writes.
fn parse_canonical(text: &str) -> Result<SignatureBox, SignError> {
    let lines: Vec<&str> = text.split('\n').collect();
    let [_, signature, _, global, ""] = lines[..] else {
        return Err(malformed(format!(
            "{} lines instead of 4",
            lines.len().saturating_sub(1)
        )));
    };
    // The lengths come first: the crate indexes into a decoded signature of any length.
    if signature.len() != SIGNATURE_LINE_BYTES || global.len() != GLOBAL_LINE_BYTES {
        return Err(malformed("a base64 line of the wrong length".to_owned()));
    }
    let parsed = SignatureBox::from_string(text).map_err(|e| malformed(e.to_string()))?;
    if !parsed.is_prehashed() {
        return Err(malformed("not prehashed (algorithm Ed instead of ED)".to_owned()));
    }
    let comment = parsed.untrusted_comment().map_err(|e| malformed(e.to_string()))?;
    if comment != UNTRUSTED_COMMENT || parsed.to_string() != text {
        return Err(malformed("not in the form that the packer writes".to_owned()));
    }
    Ok(parsed)
}

fn read_key_file(path: &Path) -> Result<String, SignError> {
    let length = fs::metadata(path).map_err(|source| io_error(path, source))?.len();
    if length > MAX_KEY_FILE_BYTES {
        return Err(io_error(
            path,
            io::Error::other(format!("{length} bytes are too many for a key")),
        ));
    }
    fs::read_to_string(path).map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: io::Error) -> SignError {
    SignError::Io {
        path: path.to_path_buf(),
        source,
    }
}

fn not_a_key(path: &Path, kind: &'static str, error: &minisign::PError) -> SignError {
    SignError::NotAKey {
        path: path.to_path_buf(),
        kind,
        reason: error.to_string(),
    }
}

/// The refusal of a signature that is not even text.
pub(crate) fn not_text() -> SignError {
    malformed("not a text".to_owned())
}

fn malformed(reason: String) -> SignError {
    SignError::Malformed { reason }
}

fn cannot_sign(error: minisign::PError) -> SignError {
    SignError::CannotSign {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(password: Option<&str>, folder: &Path) -> (SecretKey, PublicKey) {
        let new = generate(password).unwrap();
        fs::write(folder.join("a.key"), &new.secret_file).unwrap();
        fs::write(folder.join("a.pub"), &new.public_file).unwrap();
        let secret = load_secret(&folder.join("a.key"), || {
            password
                .map(str::to_owned)
                .ok_or_else(|| io::Error::other("asked for a password"))
        });
        (secret.unwrap(), load_public(&folder.join("a.pub")).unwrap())
    }

    #[test]
    fn keys_with_and_without_password_sign() {
        for password in [None, Some("correct horse")] {
            let folder = tempfile::tempdir().unwrap();
            let (secret, public) = keys(password, folder.path());
            let signature = sign(&secret, b"header", "chest 1.0.0").unwrap();
            let trusted = TrustedKeys::from_folder(folder.path()).unwrap();
            let signed = trusted.verify(b"header", &signature).unwrap();
            assert_eq!(signed.comment, "chest 1.0.0");
            assert_eq!(signed.key_id, key_id(public.keynum()));
            assert!(matches!(
                trusted.verify(b"Header", &signature),
                Err(SignError::Invalid { .. })
            ));
        }
    }

    #[test]
    fn a_secret_key_that_is_given_as_a_public_one_is_told() {
        for password in [None, Some("right")] {
            let folder = tempfile::tempdir().unwrap();
            keys(password, folder.path());
            let error = load_public(&folder.path().join("a.key")).unwrap_err();
            assert!(matches!(error, SignError::SecretGiven { .. }), "{error}");
            assert!(error.to_string().contains("a.key is a secret key"), "{error}");
        }
    }

    #[test]
    fn the_key_id_is_the_one_in_the_file() {
        let new = generate(None).unwrap();
        assert!(
            new.public_file.contains(&key_id(new.public.keynum())),
            "{}",
            new.public_file
        );
    }

    #[test]
    fn a_wrong_password_has_its_own_message() {
        let folder = tempfile::tempdir().unwrap();
        keys(Some("right"), folder.path());
        let error = load_secret(&folder.path().join("a.key"), || Ok("wrong".to_owned())).unwrap_err();
        assert!(matches!(error, SignError::WrongPassword { .. }), "{error}");
    }

    #[test]
    fn another_key_is_unknown_and_a_forged_id_is_invalid() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, public) = keys(None, folder.path());
        let signature = sign(&secret, b"header", "c").unwrap();
        let other = generate(None).unwrap().public;
        let error = TrustedKeys::new(vec![other.clone()])
            .verify(b"header", &signature)
            .unwrap_err();
        assert!(matches!(error, SignError::UnknownKey { .. }), "{error}");
        assert!(error.to_string().contains(&key_id(other.keynum())));
        let mut forged = other.to_bytes();
        forged[2..10].copy_from_slice(public.keynum());
        let forged = PublicKey::from_bytes(&forged).unwrap();
        let both = TrustedKeys::new(vec![forged.clone(), public]);
        assert!(both.verify(b"header", &signature).is_ok(), "two keys may share an id");
        let error = TrustedKeys::new(vec![forged])
            .verify(b"header", &signature)
            .unwrap_err();
        assert!(matches!(error, SignError::Invalid { .. }), "{error}");
    }

    #[test]
    fn no_bit_of_a_signature_may_change() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, public) = keys(None, folder.path());
        let trusted = TrustedKeys::new(vec![public]);
        let good = sign(&secret, b"header", "chest 1.0.0").unwrap();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(text) = String::from_utf8(bytes) else { continue };
            assert!(trusted.verify(b"header", &text).is_err(), "bit {bit}");
        }
        for cut in 0..good.len() {
            assert!(trusted.verify(b"header", &good[..cut]).is_err(), "cut at {cut}");
        }
        assert!(trusted.verify(b"header", &good.replace('\n', "\r\n")).is_err());
    }

    #[test]
    fn an_empty_folder_trusts_nobody() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            TrustedKeys::from_folder(folder.path()),
            Err(SignError::NoKeys { .. })
        ));
        fs::write(folder.path().join("bad.pub"), "no key").unwrap();
        assert!(matches!(
            TrustedKeys::from_folder(folder.path()),
            Err(SignError::NotAKey { .. })
        ));
    }
}
