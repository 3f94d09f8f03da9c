//! Key files: one line of text, `weir-stream-key-v1 SEED` or `weir-node-key-v1 SECRET`, in base32, for its owner only.

use super::base32;
use super::failure::Failure;
use super::short_file;
use ed25519_dalek::SigningKey;
use std::format;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::string::String;

const STREAM_LABEL: &str = "weir-stream-key-v1";
const NODE_LABEL: &str = "weir-node-key-v1";
/// The node's key inside its state directory.
const NODE_KEY_NAME: &str = "node.key";
/// A key file is far shorter; a wrong file may be endless.
const MAX_FILE_BYTES: usize = 4_096;

/// Makes a stream's key in a new file and returns the public half: base32 and a newline.
pub fn generate(file: &Path) -> Result<String, Failure> {
    let seed = random_key()?;
    create(file, STREAM_LABEL, &seed).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::usage(
            "--out",
            format!("{} exists and is not overwritten", file.display()),
        ),
        _ => Failure::runtime(
            "--out",
            format!("{} cannot be made: {error}", file.display()),
        ),
    })?;
    let public = SigningKey::from_bytes(&seed).verifying_key();
    Ok(base32::encode(public.as_bytes()) + "\n")
}

/// The text of a key file for a new stream.
pub fn new_stream_key() -> Result<String, Failure> {
    random_key().map(|seed| text(STREAM_LABEL, &seed))
}

/// The Ed25519 seed in a stream's key file; warns where others can read it.
pub fn load_stream_key(file: &Path) -> Result<[u8; 32], Failure> {
    load(file, STREAM_LABEL)
        .map_err(|what| Failure::usage("--key", format!("{} {what}", file.display())))
}

/// The node's X25519 secret: the one in `state`, made there at first start; one for this run only where there is no
/// directory, or none that works, which is worth a warning but no reason not to carry the stream.
pub fn node_key(state: Option<&Path>) -> Result<[u8; 32], Failure> {
    let Some(state) = state else {
        return random_key();
    };
    match kept_node_key(state) {
        Ok(secret) => Ok(secret),
        Err(what) => {
            log::warn!("--state: {what}; this run has a temporary node key");
            random_key()
        }
    }
}

fn kept_node_key(state: &Path) -> Result<[u8; 32], String> {
    let file = state.join(NODE_KEY_NAME);
    if file.exists() {
        return load(&file, NODE_LABEL).map_err(|what| format!("{} {what}", file.display()));
    }
    let secret = random_key().map_err(|failure| format!("{failure}"))?;
    fs::create_dir_all(state)
        .and_then(|()| create_whole(&file, NODE_LABEL, &secret))
        .map_err(|error| format!("{} cannot be made: {error}", file.display()))?;
    Ok(secret)
}

/// As [`create`], under its name only when it is complete: boxes lose their power at any time.
fn create_whole(file: &Path, label: &str, key: &[u8; 32]) -> io::Result<()> {
    let draft = file.with_extension("new");
    let _ = fs::remove_file(&draft);
    create(&draft, label, key)?;
    fs::rename(&draft, file)
}

/// Writes a new file that only its owner can read; an existing one, or one that cannot be finished, is not left changed.
fn create(file: &Path, label: &str, key: &[u8; 32]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut open = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    let written = open
        .write_all(text(label, key).as_bytes())
        .and_then(|()| open.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(file);
    }
    written
}

fn text(label: &str, key: &[u8; 32]) -> String {
    format!("{label} {}\n", base32::encode(key))
}

/// The key in `file`; the error completes a sentence that begins with the file's name.
fn load(file: &Path, label: &str) -> Result<[u8; 32], String> {
    let open = fs::File::open(file).map_err(|error| match error.kind() {
        ErrorKind::NotFound => String::from("does not exist"),
        _ => format!("cannot be read: {error}"),
    })?;
    let mode = open.metadata().map_or(0, |metadata| metadata.mode());
    let bytes = short_file::bytes(open, MAX_FILE_BYTES)
        .map_err(|error| format!("cannot be read: {error}"))?;
    let text = short_file::text(bytes).map_err(|_| not_a_key(label))?;
    if mode & 0o077 != 0 {
        let shown = file.display();
        log::warn!("{shown} can be read by others than its owner; chmod 600 {shown} mends that");
    }
    let mut words = text.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(found), Some(key), None) if found == label => {
            base32::decode_key(key).ok_or_else(|| not_a_key(label))
        }
        _ => Err(not_a_key(label)),
    }
}

fn not_a_key(label: &str) -> String {
    format!("is not a key file: one line, \"{label} KEY\", is expected")
}

fn random_key() -> Result<[u8; 32], Failure> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .map_err(|error| Failure::runtime("the system's random numbers", error))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::string::ToString;

    /// A directory of its own for one test, gone with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Self {
            let name = format!("weir-keyfile-{test}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_generated_key_loads_and_is_its_owners() {
        let scratch = Scratch::new("generate");
        let file = scratch.0.join("stream.key");
        let public = generate(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let seed = load_stream_key(&file).unwrap();
        let derived = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        assert_eq!(base32::decode_key(public.trim_end()), Some(derived));
        let before = fs::read(&file).unwrap();
        let refused = generate(&file).unwrap_err();
        assert_eq!(refused.exit_status(), 2);
        assert!(
            refused
                .to_string()
                .ends_with("exists and is not overwritten")
        );
        assert_eq!(fs::read(&file).unwrap(), before);
    }

    #[test]
    fn a_known_seed_has_its_published_public_key() {
        // RFC 8032 section 7.1, test 1.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let bytes = |hex: &str| -> [u8; 32] {
            core::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        };
        let scratch = Scratch::new("rfc8032");
        let file = scratch.0.join("stream.key");
        create(&file, STREAM_LABEL, &bytes(seed)).unwrap();
        let loaded = load_stream_key(&file).unwrap();
        assert_eq!(
            SigningKey::from_bytes(&loaded).verifying_key().to_bytes(),
            bytes(public)
        );
    }

    #[test]
    fn what_is_no_key_is_named() {
        let scratch = Scratch::new("wrong");
        let file = scratch.0.join("stream.key");
        let error = load_stream_key(&file).unwrap_err().to_string();
        assert!(
            error.starts_with("--key: ") && error.ends_with("does not exist"),
            "{error}"
        );
        let node_line = format!("{NODE_LABEL} {}", base32::encode(&[1; 32]));
        let wrong: [&[u8]; 6] = [
            b"",
            b"\xff\xfe",
            b"weir-stream-key-v1",
            b"weir-stream-key-v1 abc",
            node_line.as_bytes(),
            &[b'a'; 100_000],
        ];
        for bytes in wrong {
            fs::write(&file, bytes).unwrap();
            let failure = load_stream_key(&file).unwrap_err();
            assert_eq!(failure.exit_status(), 2);
            assert!(
                failure.to_string().contains("is not a key file"),
                "{failure}"
            );
        }
    }

    #[test]
    fn a_node_keeps_its_key_where_it_can() {
        let scratch = Scratch::new("node");
        let state = scratch.0.join("deep/state");
        let first = node_key(Some(&state)).unwrap();
        assert_eq!(node_key(Some(&state)), Ok(first));
        let file = state.join(NODE_KEY_NAME);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_ne!(node_key(None), node_key(None));
    }

    #[test]
    fn a_node_starts_with_a_state_directory_that_does_not_work() {
        let scratch = Scratch::new("broken");
        let no_directory = scratch.0.join("a-file");
        fs::write(&no_directory, "").unwrap();
        assert!(kept_node_key(&no_directory).is_err());
        assert!(node_key(Some(&no_directory)).is_ok());
        fs::write(scratch.0.join(NODE_KEY_NAME), "half a li").unwrap();
        assert!(
            kept_node_key(&scratch.0)
                .unwrap_err()
                .contains("is not a key file")
        );
        assert!(node_key(Some(&scratch.0)).is_ok());
    }
}
