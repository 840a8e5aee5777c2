//! Where sentences come from: a generated language, or files that are read once and identified.

use crate::io::error::{SpecError, UserError};
use crate::io::fetch;
use cl_config::{Component, at_least, check};
use cl_data::tokens::{
    LabelledText, Sentences, TextError, TextSplits, TopicLanguage, TopicLanguageConfig, Vocabulary, read_clinc150,
    read_sources, read_split_files,
};
use cl_data::{Purpose, Stream};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// Where sentences come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextSource {
    /// A language whose topics and style are known, generated; nothing is read.
    TopicLanguage(TopicLanguageConfig),
    /// CLINC150: 150 intents (Larson et al. 2019).
    Clinc150(Words),
    /// `train.tsv` and `test.tsv` with class and sentence, in the folder that `--data-dir` names.
    SplitFiles(Words),
    /// A TSV file for each source, with label and sentence, in the folder that `--data-dir` names: the class is the source.
    Sources(Sources),
}

/// Which words are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// How often a word has to occur in the training sentences to be known, at least 1; not given with a tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_count: Option<usize>,
    /// The `tokenizer.json` of a pre-trained model, whose pieces are taken for words; words of the training sentences if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Words of a sentence that are used, from its beginning, at least 1.
    pub longest: usize,
}

/// A file for each source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// Which words are known.
    pub words: Words,
    /// Share of each source that is for the test, in (0, 1).
    pub test_share: f64,
}

/// The text that a run was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Fingerprints of training and test sentences, see [`TextSplits::fingerprint`].
    pub fingerprint: [String; 2],
    /// Training sentences.
    pub train: usize,
    /// Test sentences.
    pub test: usize,
    /// Classes.
    pub classes: usize,
    /// `V`, known words and the unknown one.
    pub vocabulary: usize,
    /// Words of the longest sentence.
    pub longest: usize,
    /// SHA-256 of the tokenizer, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
}

/// Text from files, as words and as numbers.
#[derive(Debug)]
pub struct Text {
    /// As it was read.
    pub splits: TextSplits,
    /// Training and test sentences as numbers of words.
    pub encoded: [Sentences; 2],
    /// What it is.
    pub content: Content,
}

/// The sentences of a seed.
#[derive(Debug, Clone)]
pub enum Corpus {
    /// Drawn from the seed's language.
    Generated(TopicLanguage),
    /// From files, the same for all seeds.
    Read(Arc<Text>),
}

impl Corpus {
    /// The language, where it is known.
    pub fn language(&self) -> Option<&TopicLanguage> {
        match self {
            Self::Generated(language) => Some(language),
            Self::Read(_) => None,
        }
    }
}

impl TextSource {
    /// Whether nothing is read.
    pub fn is_generated(&self) -> bool {
        matches!(self, Self::TopicLanguage(_))
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`SpecError`] naming key, value and what would be right.
    pub fn check(&mut self, section: &str) -> Result<(), SpecError> {
        let (name, words) = match self {
            Self::TopicLanguage(config) => {
                *config = config.checked().map_err(|e| e.below(&format!("{section}.topic_language")))?;
                return Ok(());
            }
            Self::Clinc150(words) => ("clinc150", words),
            Self::SplitFiles(words) => ("split_files", words),
            Self::Sources(sources) => {
                let share = sources.test_share;
                check(
                    share > 0.0 && share < 1.0,
                    &format!("{section}.sources.test_share"),
                    share,
                    "above 0 and below 1",
                )?;
                ("sources.words", &mut sources.words)
            }
        };
        let key = format!("{section}.{name}.least_count");
        match (words.least_count, &words.tokenizer) {
            (Some(count), None) => at_least(&key, count as u64, 1)?,
            (None, Some(_)) => {}
            (None, None) => check(false, &key, "nothing", "given, or a tokenizer")?,
            (Some(count), Some(_)) => check(false, &key, count, "left out where a tokenizer is given")?,
        }
        if words.tokenizer.is_some() && !cfg!(feature = "tokenizers") {
            let message = format!(
                "{section}.{name}.tokenizer: this program was built without the feature tokenizers: cargo build --release --features tokenizers"
            );
            return Err(SpecError::Parse { message });
        }
        Ok(at_least(&format!("{section}.{name}.longest"), words.longest as u64, 1)?)
    }

    fn words(&self) -> Option<&Words> {
        match self {
            Self::TopicLanguage(_) => None,
            Self::Clinc150(words) | Self::SplitFiles(words) => Some(words),
            Self::Sources(sources) => Some(&sources.words),
        }
    }
}

/// The sentences of a seed; those of files are read once per process.
///
/// # Errors
/// [`UserError`] when they cannot be found or read.
pub fn corpus(source: &TextSource, seed: u64, data_dir: Option<&Path>) -> Result<Corpus, UserError> {
    if let TextSource::TopicLanguage(config) = source {
        let language = TopicLanguage::random(*config, Stream::new(seed, Purpose::Dictionary));
        return Ok(Corpus::Generated(language.expect("the specification has been checked")));
    }
    let text = load(source, data_dir)?;
    Ok(Corpus::Read(text.expect("whatever is not generated is read")))
}

/// The text of a source, read once per process; `None` for a generated language.
///
/// # Errors
/// [`UserError`] when it cannot be found or read.
pub fn load(source: &TextSource, data_dir: Option<&Path>) -> Result<Option<Arc<Text>>, UserError> {
    type Loaded = HashMap<(String, Option<PathBuf>), Arc<Text>>;
    static LOADED: OnceLock<Mutex<Loaded>> = OnceLock::new();
    let Some(words) = source.words() else { return Ok(None) };
    let key = (format!("{source:?}"), data_dir.map(Path::to_path_buf));
    let loaded = LOADED.get_or_init(Mutex::default);
    if let Some(found) = loaded.lock().ok().and_then(|l| l.get(&key).cloned()) {
        return Ok(Some(found));
    }
    let text = Arc::new(encoded(read(source, data_dir)?, words)?);
    if let Ok(mut loaded) = loaded.lock() {
        loaded.insert(key, text.clone());
    }
    Ok(Some(text))
}

fn read(source: &TextSource, data_dir: Option<&Path>) -> Result<TextSplits, UserError> {
    let failed = |e: TextError| UserError::Run(e.to_string());
    let folder = |what: &str| {
        data_dir.ok_or_else(|| {
            UserError::Argument(format!("a folder of text is needed: give --data-dir with {what} in it"))
        })
    };
    match source {
        TextSource::TopicLanguage(_) => unreachable!("it is not read"),
        TextSource::Clinc150(_) => read_clinc150(&fetch::data_folder("clinc150", data_dir)?).map_err(failed),
        TextSource::SplitFiles(_) => read_split_files(folder("train.tsv and test.tsv")?).map_err(failed),
        TextSource::Sources(sources) => {
            read_sources(folder("one TSV file for each source")?, sources.test_share).map_err(failed)
        }
    }
}

fn encoded(splits: TextSplits, words: &Words) -> Result<Text, UserError> {
    let splitter = Splitter::of(words, &splits)?;
    let encode = |split: &LabelledText| -> Result<Sentences, UserError> {
        let mut sentences = Sentences::new();
        for sentence in &split.sentences {
            let mut numbers = splitter.encode(sentence)?;
            numbers.truncate(words.longest);
            sentences.push(numbers);
        }
        Ok(sentences)
    };
    let encoded = [encode(&splits.train)?, encode(&splits.test)?];
    let content = Content {
        fingerprint: splits.fingerprint(),
        train: splits.train.len(),
        test: splits.test.len(),
        classes: splits.class_names.len(),
        vocabulary: splitter.vocabulary(),
        longest: encoded.iter().map(Sentences::longest).max().unwrap_or(0),
        tokenizer: words.tokenizer.as_deref().map(sha256_of).transpose()?,
    };
    Ok(Text { splits, encoded, content })
}

fn sha256_of(path: &Path) -> Result<String, UserError> {
    let bytes = std::fs::read(path).map_err(|e| UserError::file(path, format!("it cannot be read: {e}")))?;
    Ok(hex::encode(Sha256::digest(bytes)))
}

/// What makes numbers of a sentence.
enum Splitter {
    Words(Vocabulary),
    #[cfg(feature = "tokenizers")]
    Pieces(PathBuf, Box<cl_data::tokens::PretrainedTokenizer>),
}

impl Splitter {
    fn of(words: &Words, splits: &TextSplits) -> Result<Self, UserError> {
        #[cfg(feature = "tokenizers")]
        if let Some(path) = &words.tokenizer {
            let tokenizer = cl_data::tokens::PretrainedTokenizer::read(path);
            let pieces = |tokenizer| Self::Pieces(path.clone(), Box::new(tokenizer));
            return tokenizer.map(pieces).map_err(|e| UserError::Run(e.to_string()));
        }
        let sentences = splits.train.sentences.iter().map(String::as_str);
        Ok(Self::Words(Vocabulary::of(sentences, words.least_count.unwrap_or(1))))
    }

    fn encode(&self, sentence: &str) -> Result<Vec<u32>, UserError> {
        match self {
            Self::Words(vocabulary) => Ok(vocabulary.encode(sentence)),
            #[cfg(feature = "tokenizers")]
            Self::Pieces(path, tokenizer) => {
                let failed = |e: String| UserError::file(path, format!("{sentence:?} cannot be split: {e}"));
                let pieces = tokenizer.encode(sentence).map_err(failed)?;
                // A sentence without any piece is one of the first, whatever that is.
                Ok(if pieces.is_empty() { vec![0] } else { pieces })
            }
        }
    }

    fn vocabulary(&self) -> usize {
        match self {
            Self::Words(vocabulary) => vocabulary.len(),
            #[cfg(feature = "tokenizers")]
            Self::Pieces(_, tokenizer) => tokenizer.len(),
        }
    }
}
