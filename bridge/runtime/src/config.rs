//! Configuration files (design §5): [`k2p_config`]'s reader over the machine's files and
//! the process' environment.
use std::path::Path;

pub use k2p_config::*;

/// The largest configuration file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// Reads and parses a file, with the process' environment and the machine's files
/// behind `${…}`. What is wrong (also: no such file) is kept in the document and
/// comes out of [`Reader::finish`] with everything else.
pub fn load(path: &Path) -> Document {
    let name = path.display().to_string();
    let env = |name: &str| std::env::var(name).ok();
    let read = |path: &str| read_small(Path::new(path));
    match read_small(path) {
        Ok(text) => Document::parse(&name, &text, &env, &read),
        Err(error) => Document::unreadable(&name, &error),
    }
}

/// Reads a text file of at most [`MAX_FILE_BYTES`].
fn read_small(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read};
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::new(ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_loaded_with_its_real_surroundings() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "hunter2\n").unwrap();
        let path = dir.path().join("k2p.yaml");
        std::fs::write(&path, format!("a: ${{file:{}}}\n", secret.display())).unwrap();
        let reader = Reader::new(load(&path));
        assert_eq!(reader.root().string("a"), Some("hunter2".to_owned()));
        reader.finish().unwrap();

        let missing = dir.path().join("none.yaml");
        let reader = Reader::new(load(&missing));
        assert_eq!(reader.root().string("a"), None);
        let error = reader.finish().unwrap_err().to_string();
        let start = format!("{}: cannot be read: ", missing.display());
        assert!(error.starts_with(&start), "{error}");

        std::fs::write(&path, vec![b' '; 5 << 20]).unwrap();
        let error = Reader::new(load(&path)).finish().unwrap_err().to_string();
        assert!(error.contains("larger than 4 MiB"), "{error}");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(Reader::new(load(&path)).finish().is_err());
    }
}
