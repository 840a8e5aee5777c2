//! Commands in a form that a user can paste into a shell.

use std::ffi::OsStr;

/// Joins words with spaces, quoting those that a shell would split or interpret.
pub fn join(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    words.into_iter().map(|word| quote(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A word, quoted if a shell would split or interpret it. A word that is not valid text, or that contains control
/// characters, is written in the `$'…'` syntax of bash and zsh.
pub fn quote(word: &OsStr) -> String {
    match word.to_str() {
        Some(text) if !text.contains(char::is_control) => {
            shlex::try_quote(text).expect("only a zero byte cannot be quoted").into_owned()
        }
        _ => {
            let byte = |byte: &u8| match byte {
                b'\'' | b'\\' => format!("\\{}", *byte as char),
                b' '..=b'~' => (*byte as char).to_string(),
                _ => format!("\\x{byte:02x}"),
            };
            format!("$'{}'", word.as_encoded_bytes().iter().map(byte).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_shell_takes_apart_are_quoted() {
        assert_eq!(join(["--runs", "mes essais", "a'b", "plain-1.0/x"]), "--runs 'mes essais' \"a'b\" plain-1.0/x");
        assert_eq!(quote(OsStr::new("a\nb")), r"$'a\x0ab'");
        assert_eq!(quote(OsStr::new("")), "''");
    }

    #[test]
    #[cfg(unix)]
    fn what_is_not_text_is_written_byte_by_byte() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(quote(OsStr::from_bytes(b"caf\xe9 'x'")), r"$'caf\xe9 \'x\''");
    }
}
