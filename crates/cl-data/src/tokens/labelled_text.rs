//! Sentences with a class, from files.

use super::TextError;
use crate::{Part, Purpose, Stream};
use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The largest text file that is read, 256 MiB.
pub const MAX_TEXT_FILE_BYTES: u64 = 256 << 20;

/// The file of CLINC150 as it is published (Larson et al. 2019).
pub const CLINC150_JSON: &str = "data_full.json";

/// Sentences with their classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledText {
    /// As they stand in the file.
    pub sentences: Vec<String>,
    /// In 0..K, an index into the names of classes.
    pub classes: Vec<usize>,
}

impl LabelledText {
    /// Number of sentences.
    pub fn len(&self) -> usize {
        self.sentences.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sentences.is_empty()
    }
}

/// Sentences to train on and sentences to test on, with the same classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSplits {
    /// To train on.
    pub train: LabelledText,
    /// To test on.
    pub test: LabelledText,
    /// In alphabetical order.
    pub class_names: Vec<String>,
}

impl TextSplits {
    /// SHA-256 over the sentences with their classes, 16 hexadecimal digits, of training and test.
    pub fn fingerprint(&self) -> [String; 2] {
        [&self.train, &self.test].map(|split| {
            let mut hash = Sha256::new();
            for (sentence, class) in split.sentences.iter().zip(&split.classes) {
                hash.update(self.class_names[*class].as_bytes());
                hash.update(b"\t");
                hash.update(sentence.as_bytes());
                hash.update(b"\n");
            }
            hex::encode(&hash.finalize()[..8])
        })
    }
}

/// Rows of a file: label and sentence.
type Rows = Vec<(String, String)>;

/// `train.tsv` and `test.tsv` in a folder, with a class and a sentence in each row, a tab between them.
///
/// Empty lines are skipped. Test rows of a class that training has not are refused.
///
/// # Errors
/// [`TextError`] naming file and line.
pub fn read_split_files(folder: &Path) -> Result<TextSplits, TextError> {
    let paths = ["train.tsv", "test.tsv"].map(|name| folder.join(name));
    let [train, test] = [read_rows(&paths[0])?, read_rows(&paths[1])?];
    splits(train, test, &paths[1])
}

/// CLINC150 in a folder: [`CLINC150_JSON`], or `clinc150-train.tsv` and `clinc150-test.tsv` with intent and sentence. Sentences out of scope and the
/// validation split are not used.
///
/// # Errors
/// [`TextError`] naming the file.
pub fn read_clinc150(folder: &Path) -> Result<TextSplits, TextError> {
    let json = folder.join(CLINC150_JSON);
    if !json.exists() {
        let paths = ["clinc150-train.tsv", "clinc150-test.tsv"].map(|name| folder.join(name));
        if !paths[0].exists() {
            let message = format!("there is neither {CLINC150_JSON} nor clinc150-train.tsv");
            return Err(TextError::Content { path: folder.into(), message });
        }
        let [train, test] = [read_rows(&paths[0])?, read_rows(&paths[1])?];
        return splits(train, test, &paths[1]);
    }
    let wrong = |message: String| TextError::Content { path: json.clone(), message };
    let parsed: BTreeMap<String, Vec<(String, String)>> =
        serde_json::from_str(&read_text(&json)?).map_err(|e| wrong(format!("it is not that of CLINC150: {e}")))?;
    let rows = |split: &str| -> Result<Rows, TextError> {
        let pairs = parsed.get(split).ok_or_else(|| wrong(format!("it has no {split:?}")))?;
        Ok(pairs.iter().map(|(sentence, intent)| (intent.clone(), sentence.clone())).collect())
    };
    splits(rows("train")?, rows("test")?, &json)
}

/// A folder of TSV files, one for each source: the class of a sentence is the file that it is in, and the label before it is not used. A share of the
/// sentences of every source, drawn once and for all, is for the test.
///
/// # Errors
/// [`TextError`] naming file and line, or the folder if it has fewer than two such files.
pub fn read_sources(folder: &Path, test_share: f64) -> Result<TextSplits, TextError> {
    let failed = |source| TextError::Io { path: folder.into(), source };
    let mut paths = Vec::<PathBuf>::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tsv")) {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.len() < 2 {
        let message = format!("it has {} files *.tsv; at least 2 are needed, one for each source", paths.len());
        return Err(TextError::Content { path: folder.into(), message });
    }
    let (mut train, mut test) = (Rows::new(), Rows::new());
    for (number, path) in paths.iter().enumerate() {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut rows = read_rows(path)?;
        rows.iter_mut().for_each(|row| row.0.clone_from(&name));
        let count = (rows.len() as f64 * test_share).round() as usize;
        if count == 0 || count == rows.len() {
            let message = format!("its {} sentences cannot be split with a test share of {test_share}", rows.len());
            return Err(TextError::Content { path: path.clone(), message });
        }
        rows.shuffle(&mut Stream::new(0, Purpose::TextSplits).rng(Part::Whole, number as u64));
        test.extend(rows.drain(..count));
        train.extend(rows);
    }
    splits(train, test, folder)
}

fn splits(train: Rows, test: Rows, of_test: &Path) -> Result<TextSplits, TextError> {
    let mut class_names: Vec<String> = train.iter().map(|(class, _)| class.clone()).collect();
    class_names.sort();
    class_names.dedup();
    let labelled = |rows: Rows| -> Result<LabelledText, TextError> {
        let mut text =
            LabelledText { sentences: Vec::with_capacity(rows.len()), classes: Vec::with_capacity(rows.len()) };
        for (class, sentence) in rows {
            let Ok(class) = class_names.binary_search(&class) else {
                let message = format!("it has the class {class:?}, which no training sentence has");
                return Err(TextError::Content { path: of_test.into(), message });
            };
            text.classes.push(class);
            text.sentences.push(sentence);
        }
        Ok(text)
    };
    let (train, test) = (labelled(train)?, labelled(test)?);
    Ok(TextSplits { train, test, class_names })
}

fn read_text(path: &Path) -> Result<String, TextError> {
    let failed = |source| TextError::Io { path: path.into(), source };
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > MAX_TEXT_FILE_BYTES {
        return Err(TextError::TooLarge { path: path.into(), bytes, most: MAX_TEXT_FILE_BYTES });
    }
    let bytes = fs::read(path).map_err(failed)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes);
    String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let line = 1 + e.as_bytes()[..valid].iter().filter(|b| **b == b'\n').count();
        TextError::Line { path: path.into(), line, message: "it is not UTF-8; convert the file".into() }
    })
}

/// Label and sentence of every row of a TSV file.
fn read_rows(path: &Path) -> Result<Rows, TextError> {
    let text = read_text(path)?;
    let mut rows = Rows::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |message: &str| TextError::Line { path: path.into(), line: number + 1, message: message.into() };
        if line.trim().is_empty() {
            continue;
        }
        let (label, sentence) =
            line.split_once('\t').ok_or_else(|| wrong("it has no tab; a row is label, tab, sentence"))?;
        let (label, sentence) = (label.trim(), sentence.trim());
        if label.is_empty() {
            return Err(wrong("it has no label before the tab"));
        }
        if sentence.is_empty() {
            return Err(wrong("it has no sentence behind the tab"));
        }
        if sentence.contains('\t') {
            return Err(wrong("it has more than one tab; a row is label, tab, sentence"));
        }
        rows.push((label.to_string(), sentence.to_string()));
    }
    if rows.is_empty() {
        return Err(TextError::Content {
            path: path.into(),
            message: "it has no rows; a row is label, tab, sentence".into(),
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let folder = TempDir::new().unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
        folder
    }

    #[test]
    fn rows_are_class_and_sentence() {
        let with = folder(&[
            ("train.tsv", "\u{feff}b\tgood day\r\na\tgo — now\n\nb\ttea".as_bytes()),
            ("test.tsv", b"a\tstop\n"),
        ]);
        let splits = read_split_files(with.path()).unwrap();
        assert_eq!(splits.class_names, ["a", "b"]);
        assert_eq!(splits.train.sentences, ["good day", "go — now", "tea"]);
        assert_eq!((splits.train.classes.clone(), splits.test.classes.clone()), (vec![1, 0, 1], vec![0]));
        assert_ne!(splits.fingerprint()[0], splits.fingerprint()[1]);
        assert!(!splits.test.is_empty() && splits.train.len() == 3);
    }

    #[test]
    fn wrong_rows_are_refused_by_file_and_line() {
        for (train, expected) in [
            (&b"a\tx\nno tab here\n"[..], "train.tsv, line 2: it has no tab"),
            (b"a\tx\n\ty\n", "train.tsv, line 2: it has no label"),
            (b"a\t \n", "train.tsv, line 1: it has no sentence"),
            (b"a\tx\ty\n", "train.tsv, line 1: it has more than one tab"),
            (b"a\tx\nb\t\xff\xfe\n", "train.tsv, line 2: it is not UTF-8"),
            (b"\n \n", "train.tsv: it has no rows"),
        ] {
            let with = folder(&[("train.tsv", train), ("test.tsv", b"a\tx\n")]);
            let error = read_split_files(with.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let with = folder(&[("train.tsv", b"a\tx\n"), ("test.tsv", b"c\tx\n")]);
        let error = read_split_files(with.path()).unwrap_err().to_string();
        assert!(error.contains("test.tsv: it has the class \"c\""), "{error}");
        assert!(read_split_files(Path::new("/nowhere")).unwrap_err().to_string().contains("/nowhere/train.tsv"));
    }

    #[test]
    fn sources_are_split_once_and_for_all() {
        let rows = |n: usize| (0..n).map(|i| format!("0.5\tsentence {i}\n")).collect::<String>();
        let with = folder(&[("films.tsv", rows(10).as_bytes()), ("news.tsv", rows(20).as_bytes()), ("notes.md", b"")]);
        let splits = read_sources(with.path(), 0.2).unwrap();
        assert_eq!((splits.train.len(), splits.test.len()), (24, 6));
        assert_eq!(splits.class_names, ["films", "news"]);
        assert_eq!(splits.test.classes, [0, 0, 1, 1, 1, 1]);
        assert_eq!(splits, read_sources(with.path(), 0.2).unwrap());
        let error = read_sources(with.path(), 0.01).unwrap_err().to_string();
        assert!(error.contains("films.tsv: its 10 sentences cannot be split"), "{error}");
        let one = folder(&[("films.tsv", b"1\tx\n")]);
        assert!(read_sources(one.path(), 0.2).unwrap_err().to_string().contains("it has 1 files *.tsv"));
    }

    #[test]
    fn clinc150_is_read_as_published_and_as_rows() {
        let json = br#"{"oos_train": [], "train": [["say fly in italian", "translate"], ["wake me", "alarm"]], "val": [], "test": [["wake me at six", "alarm"]]}"#;
        let published = folder(&[(CLINC150_JSON, json)]);
        let rows = folder(&[
            ("clinc150-train.tsv", b"translate\tsay fly in italian\nalarm\twake me\n"),
            ("clinc150-test.tsv", b"alarm\twake me at six\n"),
        ]);
        assert_eq!(read_clinc150(published.path()).unwrap(), read_clinc150(rows.path()).unwrap());
        let broken = folder(&[(CLINC150_JSON, b"{}")]);
        assert!(read_clinc150(broken.path()).unwrap_err().to_string().contains("it has no \"train\""));
        assert!(read_clinc150(folder(&[]).path()).unwrap_err().to_string().contains("there is neither"));
    }
}
