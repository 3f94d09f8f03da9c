//! Short files, read whole: with room for all they may have at once, since a text that grows is there twice for a moment, and never
//! more than that, whatever the file is.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::string::String;
use std::vec;
use std::vec::Vec;

/// The text of a file, so many bytes of it at most.
pub fn read(path: &Path, most_bytes: usize) -> io::Result<String> {
    text(bytes(File::open(path)?, most_bytes)?)
}

/// What follows in an open file, so many bytes of it at most.
pub fn bytes(mut file: File, most_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most_bytes];
    let mut len = 0;
    loop {
        match file.read(bytes.get_mut(len..).unwrap_or(&mut []))? {
            0 => break,
            read => len += read,
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

/// Bytes as text.
pub fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, fs};

    #[test]
    fn a_file_is_read_whole_or_up_to_its_most() {
        let path = std::env::temp_dir().join(format!("weir-short-{}", std::process::id()));
        assert_eq!(read(&path, 9).unwrap_err().kind(), ErrorKind::NotFound);
        for (bytes, most, text) in [
            (&b"abc"[..], 9, Some("abc")),
            (b"abc", 3, Some("abc")),
            (b"abc", 2, Some("ab")),
            (b"", 9, Some("")),
            (b"a\xff", 9, None),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(read(&path, most).ok().as_deref(), text);
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(read(Path::new("/dev/zero"), 5).unwrap(), "\0\0\0\0\0");
        assert!(read(Path::new("/"), 5).is_err());
    }
}
